//! `atoll bench`: measures, prints the table, writes the JSON file, and holds the figures against the bars.

use std::fs;
use std::process::ExitCode;

use crate::bench::{Report, boot, peer, probes, waits};
use crate::cli::{BenchArgs, Common};
use crate::emulator::Emulator;
use crate::emulator::arguments::CPU;
use crate::error::{Error, Result};
use crate::progress::note;
use crate::shown::print;

/// Status where a bar is broken: neither the guest's nor the tool's failure.
const BROKEN: u8 = 1;

const MAIL: &str =
    "mail: one hop between two servers; on KVM half a round trip between two processes.";
const WAITS: &str = "restart, swap: from a server's fault, or its last message, until the guest runs again; 40 of each while Linux works.";
const BOOT: &str = "boot: from the kernel's entry to the shell's prompt. Alone, Linux measures its timers for 0.2 G; on Atoll it is told.";

/// Measures.
pub(super) fn run(args: &BenchArgs, common: &Common) -> Result<ExitCode> {
    let permission = common.permission();
    let mut report = Report {
        atoll: probes::on_atoll(permission)?,
        ..Report::default()
    };
    report
        .notes
        .push(conditions(&Emulator::find(permission.offline)?));
    if !args.quick {
        let (kernel, figures) = peer::on_kvm(permission)?;
        report.kvm = figures;
        report.notes.push(format!(
            "KVM: that of Linux {kernel}, with its mitigations. {MAIL}"
        ));
        report.waits = waits::on_atoll()?;
        report.notes.push(WAITS.to_owned());
        report.boot = Some(boot::both(permission)?);
        report.notes.push(BOOT.to_owned());
    }
    print(&report)?;
    if let Some(path) = &args.json {
        fs::write(path, report.json()).map_err(Error::file(path))?;
    }
    if !args.check {
        return Ok(ExitCode::SUCCESS);
    }
    let broken = report.broken();
    broken.iter().for_each(note);
    Ok(if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(BROKEN)
    })
}

fn conditions(emulator: &Emulator) -> String {
    let (major, minor, patch) = emulator.version;
    format!(
        "Instructions from one of the guest's to its next: the median of 200 (least..most). QEMU {major}.{minor}.{patch}, -cpu {CPU}, \
         -icount shift=0,sleep=off."
    )
}
