//! `atoll bench`: measures, prints the table, writes the JSON file, and holds the figures against the bars.

use std::fs;
use std::process::ExitCode;

use crate::bench::{Report, boot, peer, probes};
use crate::cli::{BenchArgs, Common};
use crate::error::{Error, Result};

/// Status where a bar is broken: neither the guest's nor the tool's failure.
const BROKEN: u8 = 1;

/// Measures.
pub(super) fn run(args: &BenchArgs, common: &Common) -> Result<ExitCode> {
    let permission = common.permission();
    let mut report = Report { atoll: probes::on_atoll(permission)?, ..Report::default() };
    if !args.quick {
        report.kvm = peer::on_kvm(permission)?;
        report.boot = Some(boot::both(permission)?);
    }
    print!("{report}");
    if let Some(path) = &args.json {
        fs::write(path, report.json()).map_err(Error::file(path))?;
    }
    if !args.check {
        return Ok(ExitCode::SUCCESS);
    }
    let broken = report.broken();
    broken.iter().for_each(|line| eprintln!("atoll: {line}"));
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) })
}
