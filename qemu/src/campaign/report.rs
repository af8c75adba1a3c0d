//! The report: tables of fault x server x outcome with intervals, latencies, and every case in which the guest was not as well off as
//! without the fault; as HTML in one file, Markdown and CSV.

mod csv;
mod html;
mod markdown;
mod plots;
pub mod statistics;
mod tables;

use std::fs;
use std::path::Path;

use super::outcome::Outcome;
use super::record::Record;
use crate::error::{Error, Result};
use tables::Tables;

/// Writes `report.html`, `report.md` and `report.csv` into `dir`.
pub fn write(records: &[Record], dir: &Path) -> Result<()> {
    let tables = Tables::of(records);
    let files = [
        ("report.md", markdown::page(&tables)),
        ("report.csv", csv::page(records)),
        ("report.html", html::page(&tables)?),
    ];
    for (name, text) in files {
        let path = dir.join(name);
        fs::write(&path, text).map_err(Error::file(&path))?;
    }
    Ok(())
}

/// What must not be in any campaign: Atoll's kernel failed, an experiment did, or a guest noticed a fault that leaves committed state
/// as it was.
pub fn failures(records: &[Record]) -> impl Iterator<Item = &Record> {
    records.iter().filter(|record| match record.outcome {
        Outcome::HypervisorCrash | Outcome::HarnessError => true,
        outcome => {
            !outcome.is_unnoticed()
                && record
                    .faults
                    .iter()
                    .all(|fault| fault.model.leaves_state_intact())
        }
    })
}

/// The report without its single cells and cases, as Markdown.
#[must_use]
pub fn brief(records: &[Record]) -> String {
    markdown::brief(&Tables::of(records))
}

/// A page for people who look at the command's output.
#[must_use]
pub fn summary(records: &[Record]) -> String {
    markdown::summary(&Tables::of(records))
}
