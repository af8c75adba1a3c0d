//! The trusted computing base: the kernel and all that it is built from by path, beside the same of the commit before. The protocol is not
//! counted by lines: it says what can be said, and does nothing; what of it ends up in ring 0 is [`crate::linked`]'s figure.

use crate::Error;
use crate::before::Before;
use crate::count::{Count, Tally};
use crate::findings::Findings;
use crate::modules::Crates;
use crate::workspace::Workspace;

/// Most lines of code, formatted as rustfmt does by itself.
const LINES: usize = 10_000;
/// Most unsafe blocks.
const UNSAFE_BLOCKS: usize = 150;
/// Features that are counted apart: research instruments, in no build that runs guests.
const INSTRUMENTS: [&str; 4] = ["digest", "fault-injection", "tlb_model", "tracing"];

/// What runs in ring 0, by package.
#[derive(Debug, Default)]
struct Measured {
    /// Each package's name and what it amounts to.
    packages: Vec<(String, Tally)>,
}

impl Measured {
    fn of(kernel: &[Crates]) -> Self {
        let packages = kernel.iter().map(|crates| {
            let mut tally = Tally::default();
            for file in crates.files() {
                tally.add(file);
            }
            (crates.package.clone(), tally)
        });
        Self {
            packages: packages.collect(),
        }
    }

    fn lines(&self) -> usize {
        let counts = self.packages.iter().map(|(_, tally)| shipped(tally));
        counts.map(|count| count.lines).sum()
    }

    fn lines_of(&self, package: &str) -> usize {
        let found = self.packages.iter().find(|(name, _)| name == package);
        found.map_or(0, |(_, tally)| shipped(tally).lines)
    }
}

/// What is in builds that run guests: everything but the instruments.
fn shipped(tally: &Tally) -> Count {
    let mut count = tally.always.clone();
    for (feature, apart) in &tally.features {
        if !INSTRUMENTS.contains(&feature.as_str()) {
            count.add(apart);
        }
    }
    count
}

/// Counts, and holds the counts against the bars and beside those of the commit before.
pub(crate) fn check(
    workspace: &Workspace,
    kernel: &[Crates],
    findings: &mut Findings,
) -> Result<(), Error> {
    let now = Measured::of(kernel);
    let before = Before::of(workspace)?;
    let then = match &before {
        Some(before) => Some(Measured::of(&before.workspace()?.kernel()?)),
        None => None,
    };
    for (name, tally) in &now.packages {
        for (feature, apart) in &tally.features {
            if INSTRUMENTS.contains(&feature.as_str()) {
                findings.figure(format_args!("{name}, feature {feature}: {}", told(apart)));
            }
        }
        let count = shipped(tally);
        let change = then
            .as_ref()
            .map(|then| change(then.lines_of(name), count.lines));
        findings.figure(format_args!(
            "{name}: {}{}",
            told(&count),
            change.unwrap_or_default()
        ));
        for (file, line) in &tally.undocumented {
            let file = workspace.relative(file).display();
            findings.problem(format_args!(
                "{file}:{line}: unsafe code without a SAFETY comment above it"
            ));
        }
    }
    let lines = now.lines();
    match (&before, &then) {
        (Some(before), Some(then)) => findings.figure(format_args!(
            "lines of code in the kernel at {:.12}, the commit before: {}{}",
            before.commit,
            then.lines(),
            change(then.lines(), lines)
        )),
        _ => findings.figure("lines of code in the kernel: no earlier commit to compare with"),
    }
    findings.at_most("lines of code in the kernel", lines, LINES);
    let blocks = now
        .packages
        .iter()
        .map(|(_, tally)| shipped(tally).unsafe_blocks);
    findings.at_most("unsafe blocks in the kernel", blocks.sum(), UNSAFE_BLOCKS);
    Ok(())
}

fn told(count: &Count) -> String {
    format!(
        "{} lines, {} unsafe blocks",
        count.lines, count.unsafe_blocks
    )
}

/// From then to now, as a reader takes it in.
fn change(then: usize, now: usize) -> String {
    match now.cmp(&then) {
        std::cmp::Ordering::Equal => " (unchanged)".to_owned(),
        std::cmp::Ordering::Greater => format!(" ({} more now)", now - then),
        std::cmp::Ordering::Less => format!(" ({} fewer now)", then - now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sample;

    #[test]
    fn an_instrument_is_no_part_of_what_ships_and_any_other_feature_is() {
        let source = "#[cfg(feature = \"tracing\")]\nfn a() {}\n#[cfg(feature = \"iommu\")]\nfn b() {}\nfn c() {}\n";
        let mut tally = Tally::default();
        for file in sample(&[("lib.rs", source)]) {
            tally.add(&file);
        }
        assert_eq!(shipped(&tally).lines, 3);
    }

    #[test]
    fn a_change_says_which_way_it_went() {
        assert_eq!(change(10, 12), " (2 more now)");
        assert_eq!(change(12, 10), " (2 fewer now)");
        assert_eq!(change(10, 10), " (unchanged)");
    }
}
