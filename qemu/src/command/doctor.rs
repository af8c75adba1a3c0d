//! `atoll doctor`: what a boot needs, whether it is here, and how to get it if not. It changes nothing.

use std::process::ExitCode;

use atoll_manifest::Machine;

use crate::bare::target::has_target;
use crate::bare::{TARGET, sysroot};
use crate::cli::Common;
use crate::emulator::Emulator;
use crate::emulator::find::CHOICE;
use crate::error::{Error, Result};
use crate::place;
use crate::shown::print;

/// Looks, and prints one line for each need; fails if a boot would fail even after fetching.
pub(super) fn run(_: &Common) -> Result<ExitCode> {
    let can_fetch = place::on_path("apt-get").is_some();
    let mut report = Report {
        bad: false,
        can_fetch,
    };
    report.line(
        "source",
        place::workspace().map(|path| Found::Here(path.display().to_string())),
        "",
    )?;
    report.line(
        "bare target",
        compiler(),
        "`rustup target add x86_64-unknown-none`",
    )?;
    report.line("QEMU", emulator(), "Debian's package qemu-system-x86")?;
    report.line("sandbox", sandbox(), "")?;
    let cache = place::cache();
    for (what, name) in [
        ("cloud kernel", "vmlinuz-cloud"),
        ("generic kernel", "vmlinuz-generic"),
        ("busybox", "busybox"),
    ] {
        let found = cache.as_ref().map_or(Found::Away, |cache| {
            let path = cache.join("guest").join(name);
            if path.is_file() {
                Found::Here(path.display().to_string())
            } else {
                Found::Away
            }
        });
        report.line(what, Ok(found), "Debian's package")?;
    }
    report.line(
        "cache",
        cache.map(|path| Found::Here(path.display().to_string())),
        "",
    )?;
    report.line(
        "machine",
        Machine::linux()
            .map(|machine| Found::Here(format!("{} servers", machine.servers.len())))
            .map_err(Error::from),
        "",
    )?;
    report.line(
        "runtime",
        place::runtime().map(|path| Found::Here(path.display().to_string())),
        "",
    )?;
    Ok(if report.bad {
        ExitCode::from(125)
    } else {
        ExitCode::SUCCESS
    })
}

enum Found {
    Here(String),
    Away,
}

struct Report {
    bad: bool,
    can_fetch: bool,
}

impl Report {
    fn line(&mut self, what: &str, found: Result<Found>, source: &str) -> Result<()> {
        match found {
            Ok(Found::Here(detail)) => print(format_args!("ok       {what:<15} {detail}\n")),
            Ok(Found::Away) if self.can_fetch => print(format_args!(
                "to come  {what:<15} will be fetched when it is needed: {source}\n"
            )),
            Ok(Found::Away) => {
                self.bad = true;
                print(format_args!("missing  {what:<15} {source}\n"))
            }
            Err(error) => {
                self.bad = true;
                print(format_args!("bad      {what:<15} {error}\n"))
            }
        }
    }
}

fn compiler() -> Result<Found> {
    if has_target("rustc") {
        return Ok(Found::Here(format!("the active compiler has {TARGET}")));
    }
    Ok(match sysroot::present()? {
        Some(_) => Found::Here("Debian's Rust, with a sysroot in the cache".into()),
        None => Found::Away,
    })
}

/// Not having one is no reason not to boot.
fn sandbox() -> Result<Found> {
    let has = Emulator::present()?.map(|emulator| emulator.sandbox);
    Ok(Found::Here(match has {
        Some(true) => "QEMU runs in its own (seccomp)".into(),
        Some(false) => "none: QEMU was built without seccomp, or this kernel refuses it; only its limits confine it".into(),
        None => "as soon as there is a QEMU".into(),
    }))
}

fn emulator() -> Result<Found> {
    Ok(Emulator::present()?.map_or(Found::Away, |emulator| {
        let (major, minor, patch) = emulator.version;
        let chosen = if std::env::var_os(CHOICE).is_some() {
            format!(", chosen by {CHOICE}")
        } else {
            format!(" (another: {CHOICE}=/path/to/qemu-system-x86_64)")
        };
        Found::Here(format!(
            "{} {major}.{minor}.{patch}{chosen}",
            emulator.program.display()
        ))
    }))
}
