//! A boot of Linux, from the kernel's entry to its shell's prompt: on Atoll, and the same kernel directly in QEMU.
//!
//! The clock is the time-stamp counter, which counts virtual nanoseconds since QEMU's start: instructions, and whatever time the machine is
//! idle. The shell, with the console for its terminal, reads the program `stamp` as its first command, right before it would prompt.
//!
//! - On Atoll the entry is the first VMRUN, which the log's line `machine runs` precedes (to a microsecond: a thousandth of a thousandth
//!   of a boot).
//! - Without Atoll the kernel's entry is not visible. It is taken to be when a guest is entered that does nothing but print the counter:
//!   QEMU's firmware runs before both, and takes 16 M: whatever it does differently for the two, it is far less than a hundredth of a boot.
//!
//! Alone, Linux spends some 0.2 G on measuring its timers against the PIT; on Atoll CPUID tells it their frequencies. So the ratio can be
//! below one.

use atoll_manifest::Machine;

use super::run;
use super::{linux, report};
use crate::bare::target::Permission;
use crate::error::{Error, Result};
use crate::guest::archive::Archive;
use crate::guest::init::SHELL;
use crate::guest::{Choice, Guest};

/// What starts the shell; an interactive shell reads the file that ENV names before it prompts.
const SHELL_STARTS: &str = "setsid cttyhack sh";
const PROMPT: &str = "/atoll/stamp; stty sane; poweroff -f\n";
/// The line of Atoll's log that precedes the guest's first instruction.
const ENTRY: &str = "machine runs";

/// Measures both.
pub fn both(permission: Permission) -> Result<report::Boot> {
    let machine = Machine::linux()?;
    let linux = guest("linux", permission)?;
    let linux = with_stamp(linux, &linux::program("stamp", permission.offline)?)?;
    let on_atoll = run::on_atoll(&machine, &linux, permission, "Booting Linux on Atoll")?;
    let atoll = stamp(&on_atoll.console)?.saturating_sub(entry(&on_atoll.log)?);
    let bare = |guest: &Guest, what: &str| {
        stamp(&run::directly(&machine, guest, permission, what)?.console)
    };
    let firmware = bare(&guest("entry", permission)?, "Measuring the firmware")?;
    let bare = bare(&linux, "Booting Linux without Atoll")?.saturating_sub(firmware);
    Ok(report::Boot { atoll, bare })
}

fn guest(name: &str, permission: Permission) -> Result<Guest> {
    Choice {
        name: Some(name.to_owned()),
        repeatable: true,
        permission,
        ..Choice::default()
    }
    .find()
}

/// Adds the program, and the shell that runs it.
fn with_stamp(mut guest: Guest, program: &[u8]) -> Result<Guest> {
    let mut more = Archive::default();
    more.file("atoll/stamp", 0o755, program)?;
    more.file("atoll/prompt", 0o644, PROMPT.as_bytes())?;
    more.file("atoll/shell", 0o755, shell().as_bytes())?;
    guest.unpack_also(more)?;
    Ok(guest)
}

fn shell() -> String {
    SHELL.replace(SHELL_STARTS, &format!("ENV=/atoll/prompt {SHELL_STARTS}"))
}

/// The counter, as it was printed.
fn stamp(console: &str) -> Result<u64> {
    let count = console
        .lines()
        .find_map(|line| line.trim().strip_prefix("stamp ")?.parse().ok());
    count.ok_or_else(|| Error::program("the measured guest", "it printed no time stamp"))
}

/// When the guest was entered, in nanoseconds, by a log line such as `[0.020552] supervisor: machine runs`.
fn entry(log: &str) -> Result<u64> {
    let line = log.lines().find(|line| line.ends_with(ENTRY));
    let time = line.and_then(|line| line.strip_prefix('[')?.split(']').next()?.split_once('.'));
    let micros = time.and_then(|(seconds, micros)| {
        Some(seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?)
    });
    micros
        .map(|micros| micros * 1_000)
        .ok_or_else(|| Error::program("Atoll", format_args!("its log has no line '{ENTRY}'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_that_is_measured_is_the_users_but_for_what_it_reads_first() {
        assert_eq!(shell().replace("ENV=/atoll/prompt ", ""), SHELL);
        assert_ne!(shell(), SHELL);
    }

    #[test]
    fn the_entry_is_read_from_the_log_in_nanoseconds() {
        let log = "[0.018101] boot: 349 MiB free\n[1.020552] supervisor: machine runs\n[1.3] x\n";
        assert_eq!(entry(log).unwrap(), 1_020_552_000);
        assert!(entry("[0.018101] boot: 349 MiB free\n").is_err());
    }

    #[test]
    fn the_stamp_is_found_in_what_a_terminal_shows() {
        assert_eq!(stamp("This is Linux\r\nstamp 1234\r\n").unwrap(), 1234);
        assert!(stamp("stamp\n").is_err());
    }
}
