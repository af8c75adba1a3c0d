//! The trusted computing base: the kernel and all that it is built from by path. The protocol is not counted: it says what can be said,
//! and does nothing.

use crate::Error;
use crate::count::{Count, Tally};
use crate::findings::Findings;
use crate::modules;
use crate::workspace::Workspace;

/// Most lines of code, formatted as rustfmt does by itself.
const LINES: usize = 10_000;
/// Most unsafe blocks.
const UNSAFE_BLOCKS: usize = 150;
/// Features that are counted apart: research instruments, in no build that runs guests.
const INSTRUMENTS: [&str; 4] = ["digest", "fault-injection", "tlb_model", "tracing"];

/// Counts, and holds the counts against the bars.
pub(crate) fn check(workspace: &Workspace, findings: &mut Findings) -> Result<(), Error> {
    let mut all = Count::default();
    for package in workspace.closure("kernel", "atoll-protocol") {
        let mut tally = Tally::default();
        for root in package.roots() {
            modules::count(root, &mut tally)?;
        }
        let mut count = tally.always;
        for (feature, apart) in &tally.features {
            if INSTRUMENTS.contains(&feature.as_str()) {
                findings.figure(format_args!(
                    "{}, feature {feature}: {}",
                    package.name,
                    told(apart)
                ));
            } else {
                count.add(apart);
            }
        }
        findings.figure(format_args!("{}: {}", package.name, told(&count)));
        all.add(&count);
        for (file, line) in tally.undocumented {
            let file = workspace.relative(file.as_ref()).display();
            findings.problem(format_args!(
                "{file}:{line}: unsafe code without a SAFETY comment above it"
            ));
        }
    }
    findings.at_most("lines of code in the kernel", all.lines, LINES);
    findings.at_most(
        "unsafe blocks in the kernel",
        all.unsafe_blocks,
        UNSAFE_BLOCKS,
    );
    Ok(())
}

fn told(count: &Count) -> String {
    format!(
        "{} lines, {} unsafe blocks",
        count.lines, count.unsafe_blocks
    )
}
