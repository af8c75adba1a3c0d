//! How a machine ended, and the exit status that says so. The supervisor writes a code to the exit device; QEMU makes it
//! `(code << 1) | 1`. A triple fault under `-no-reboot` also ends QEMU with 0, so only exact codes count.

use std::process::ExitStatus;

use atoll_protocol::role::RoleKind;

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest powered off.
    PowerOff,
    /// The guest asked for a reset.
    Reset,
    /// The guest can run no further.
    GuestCrash,
    /// A server broke a rule, and the machine cannot do without it.
    ServerFault,
    /// The kernel broke one of its own.
    HypervisorFault,
    /// The loader refused the guest.
    Refused,
    /// The time that an experiment's plan gives the guest was up.
    Overtime,
    /// QEMU ended in a way that nobody intended.
    Unexpected(String),
    /// It took too long.
    TimedOut,
    /// The user ended it.
    Quit,
}

/// Exit codes that the supervisor writes.
pub mod code {
    /// The guest powered off.
    pub const POWER_OFF: i32 = 16;
    /// The guest asked for a reset.
    pub const RESET: i32 = 17;
    /// The guest can run no further.
    pub const GUEST_CRASH: i32 = 18;
    /// A server was faulted.
    pub const SERVER_FAULT: i32 = 19;
    /// The kernel stopped itself.
    pub const HYPERVISOR_FAULT: i32 = 20;
    /// The loader refused the guest.
    pub const REFUSED: i32 = 21;
    /// The time of a plan was up.
    pub const OVERTIME: i32 = atoll_protocol::inject::Plan::OVERTIME as i32;
}

/// Statuses of the tool itself.
pub mod status {
    /// Largest status of a guest's command that is passed on; larger ones become it.
    pub const LARGEST: u8 = 123;
    /// The time was up.
    pub const TIMED_OUT: u8 = 124;
    /// The tool itself failed.
    pub const TOOL: u8 = 125;
    /// The guest crashed.
    pub const GUEST: u8 = 126;
    /// The hypervisor failed.
    pub const HYPERVISOR: u8 = 127;
}

/// Lines of the kernel's log that are shown where nothing in it says what matters.
const TAIL: usize = 20;

impl End {
    /// How Atoll ended, by QEMU's status.
    #[must_use]
    pub fn of_atoll(exit: ExitStatus) -> Self {
        match exit.code() {
            Some(status) if status & 1 == 1 => match status >> 1 {
                code::POWER_OFF => Self::PowerOff,
                code::RESET => Self::Reset,
                code::GUEST_CRASH => Self::GuestCrash,
                code::SERVER_FAULT => Self::ServerFault,
                code::HYPERVISOR_FAULT => Self::HypervisorFault,
                code::REFUSED => Self::Refused,
                code::OVERTIME => Self::Overtime,
                _ => Self::Unexpected(format!("QEMU ended with {exit}")),
            },
            Some(0) => {
                Self::Unexpected("QEMU ended with status 0: Atoll's own machine was reset, most likely by a triple fault".into())
            }
            _ => Self::Unexpected(format!("QEMU ended with {exit}")),
        }
    }

    /// How a guest that ran without Atoll ended: a reset looks like a power-off.
    #[must_use]
    pub fn of_direct(exit: ExitStatus) -> Self {
        if exit.success() {
            Self::PowerOff
        } else {
            Self::Unexpected(format!("QEMU ended with {exit}"))
        }
    }

    /// Whether somebody has waited for something that has not come.
    #[must_use]
    pub fn is_a_wait_in_vain(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Overtime)
    }

    /// The tool's exit status; `panicked`: the guest's kernel said so; `command`: its status, if one was to run.
    #[must_use]
    pub fn status(&self, panicked: bool, command: Option<i32>) -> u8 {
        match (self, command) {
            (Self::TimedOut | Self::Overtime, _) => status::TIMED_OUT,
            (Self::HypervisorFault | Self::ServerFault | Self::Unexpected(_), _) => {
                status::HYPERVISOR
            }
            (Self::Refused, _) => status::TOOL,
            (Self::GuestCrash, _) => status::GUEST,
            (Self::PowerOff | Self::Reset, _) if panicked => status::GUEST,
            (_, Some(command)) => u8::try_from(command)
                .unwrap_or(status::LARGEST)
                .min(status::LARGEST),
            (Self::PowerOff | Self::Reset | Self::Quit, None) => 0,
        }
    }

    /// One line for the user; `None` if there is nothing to say. `log` is the kernel's.
    #[must_use]
    pub fn report(&self, panicked: bool, log: &str) -> Option<String> {
        let with_log = |what: &str| {
            let lines: Vec<&str> = log.lines().collect();
            // A fault's report begins with what was broken; what came before it is not told.
            let fault = lines.iter().rposition(|line| tells_of_a_fault(line));
            let start = fault.unwrap_or(lines.len().saturating_sub(TAIL));
            let tail = lines[start..].join("\n  ");
            if tail.is_empty() {
                what.to_owned()
            } else {
                format!("{what}; the end of the kernel's log:\n  {tail}")
            }
        };
        match self {
            Self::PowerOff | Self::Reset if panicked => Some("the guest's kernel panicked".into()),
            Self::PowerOff | Self::Reset | Self::Quit => None,
            Self::GuestCrash => Some(with_log("the guest crashed")),
            Self::ServerFault => Some(with_log(&format!(
                "a server was faulted and its machine stopped by the {}",
                RoleKind::Supervisor.name()
            ))),
            Self::HypervisorFault => Some(with_log("the hypervisor failed")),
            Self::Overtime => Some("the guest did not finish in its virtual time".into()),
            Self::Refused => Some(with_log("the loader refused the guest")),
            Self::Unexpected(what) => Some(with_log(what)),
            Self::TimedOut => Some(with_log("the time is up")),
        }
    }
}

/// Whether the kernel says on this line that something was broken: a server's text that says so stands behind its name.
fn tells_of_a_fault(line: &str) -> bool {
    let text = line
        .strip_prefix('[')
        .and_then(|line| line.split_once("] "))
        .map_or("", |(_, text)| text);
    text.starts_with("fault: ") || text.starts_with("hypervisor fault: ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn exit(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    #[test]
    fn each_code_of_the_supervisor_is_an_end_of_its_own() {
        let ends = [
            (16, End::PowerOff),
            (17, End::Reset),
            (18, End::GuestCrash),
            (19, End::ServerFault),
            (20, End::HypervisorFault),
            (21, End::Refused),
        ];
        for (code, end) in ends {
            assert_eq!(End::of_atoll(exit((code << 1) | 1)), end);
        }
    }

    #[test]
    fn a_triple_fault_of_the_host_is_no_power_off() {
        assert_eq!(
            End::of_atoll(exit(0)).status(false, None),
            status::HYPERVISOR
        );
        assert_eq!(
            End::of_atoll(ExitStatus::from_raw(9)).status(false, None),
            status::HYPERVISOR
        );
    }

    #[test]
    fn the_report_begins_with_the_last_fault_that_the_kernel_tells_and_not_with_a_servers_word_for_one()
     {
        let log = "[0.1] boot\n[0.2] fault: server 2 broke a rule\n[0.3] cpuid: hypervisor fault: FORGED\n[0.4] server 3 panicked: fault: 1";
        let report = End::ServerFault.report(false, log).unwrap();
        assert!(
            report.contains(":\n  [0.2] fault: server 2 broke a rule\n  [0.3]")
                && !report.contains("boot"),
            "{report}"
        );
    }

    #[test]
    fn a_commands_status_is_passed_on_up_to_123() {
        assert_eq!(End::PowerOff.status(false, Some(0)), 0);
        assert_eq!(End::PowerOff.status(false, Some(7)), 7);
        assert_eq!(End::PowerOff.status(false, Some(130)), 123);
    }

    #[test]
    fn a_panic_counts_more_than_how_the_guest_went_down() {
        assert_eq!(End::Reset.status(true, None), status::GUEST);
        assert_eq!(End::PowerOff.status(true, Some(0)), status::GUEST);
    }
}
