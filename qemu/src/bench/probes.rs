//! The guest `probes`, and the lines that it prints: `probe NAME MIN MEDIAN MAX`, in instructions.

use atoll_manifest::Machine;

use super::run;
use crate::bare::target::Permission;
use crate::error::{Error, Result};
use crate::guest::Choice;

/// Name of the guest.
pub const GUEST: &str = "probes";
/// Its machine's manifest.
pub const MANIFEST: &str = include_str!("../../machines/bench.toml");
/// What messages call it.
const MANIFEST_NAME: &str = "qemu/machines/bench.toml";

/// One thing's figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The thing's name.
    pub name: String,
    /// The least of all rounds.
    pub min: u64,
    /// The median: the figure that is quoted.
    pub median: u64,
    /// The most.
    pub max: u64,
}

/// Measures on Atoll.
pub fn on_atoll(permission: Permission) -> Result<Vec<Figure>> {
    let machine = Machine::parse(MANIFEST_NAME, MANIFEST)?;
    let choice = Choice {
        name: Some(GUEST.to_owned()),
        repeatable: true,
        permission,
        ..Choice::default()
    };
    read(
        &run::on_atoll(
            &machine,
            &choice.find()?,
            permission,
            "Measuring exits on Atoll",
        )?
        .console,
    )
}

/// Takes the figures out of what the guest printed.
pub fn read(console: &str) -> Result<Vec<Figure>> {
    let figures: Vec<Figure> = console.lines().filter_map(figure).collect();
    if figures.is_empty() {
        let last: Vec<&str> = console
            .lines()
            .rev()
            .filter(|line| !line.trim().is_empty())
            .take(5)
            .collect();
        let said = last.into_iter().rev().collect::<Vec<_>>().join(" | ");
        return Err(Error::program(
            GUEST,
            format_args!("it measured nothing; its last words: {said}"),
        ));
    }
    Ok(figures)
}

fn figure(line: &str) -> Option<Figure> {
    let mut words = line.trim().strip_prefix("probe ")?.split(' ');
    let name = words.next()?.to_owned();
    let mut number = || words.next()?.parse().ok();
    Some(Figure {
        name,
        min: number()?,
        median: number()?,
        max: number()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_among_everything_else_that_is_printed() {
        let figures = read("   \nnoise\nprobe cpuid 1 2 3\r\nprobe broken 1\n").unwrap();
        assert_eq!(
            figures,
            [Figure {
                name: "cpuid".into(),
                min: 1,
                median: 2,
                max: 3
            }]
        );
    }

    #[test]
    fn a_guest_that_measured_nothing_is_quoted() {
        let error = read("guest panicked: no line\n\n").unwrap_err().to_string();
        assert!(error.contains("guest panicked: no line"), "{error}");
    }

    #[test]
    fn the_machine_is_the_one_that_boots_linux_but_for_the_small_pages() {
        let linux = Machine::linux().unwrap();
        let bench = Machine::parse(MANIFEST_NAME, MANIFEST).unwrap();
        assert_eq!(bench.memory, linux.memory);
        for (ours, theirs) in bench.servers.iter().zip(&linux.servers) {
            assert_eq!(
                (&ours.name, &ours.image, &ours.grants),
                (&theirs.name, &theirs.image, &theirs.grants)
            );
            assert_eq!(
                ours.options != theirs.options,
                ours.name == "mmu",
                "{}",
                ours.name
            );
        }
    }
}
