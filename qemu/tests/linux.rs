//! Debian's unmodified kernel on Atoll's servers.
#![forbid(unsafe_code)]

use atoll::guest::linux::{Kernel, kernel as kernel_file};
use atoll::run::End;
use atoll::testing::{Boot, Booted};

/// The value after `name` in lines like `name value`.
fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

fn exec(command: &str) -> Booted {
    Boot::guest("linux").exec(command).run().unwrap()
}

#[test]
fn hello_runs_on_isolated_servers_and_sees_the_kvm_signature() {
    let booted = Boot::guest("hello").run().unwrap();
    assert_eq!(
        booted.console, "Hello from inside Atoll\nThe hypervisor signs as \"KVMKVMKVM...\"\n",
        "{}",
        booted.log
    );
    assert_eq!((booted.status, booted.ended.end), (0, End::PowerOff));
}

#[test]
fn a_command_runs_in_the_guests_shell_and_its_status_comes_back() {
    let booted = exec("uname -s; exit 42");
    assert_eq!(
        (booted.console.as_str(), booted.status),
        ("Linux\n", 42),
        "{}",
        booted.log
    );
}

#[test]
fn linux_finds_kvm_and_its_clock_and_nothing_to_complain_about() {
    let booted = exec(
        "dmesg; echo clock: $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)",
    );
    assert!(
        booted.console.contains("Hypervisor detected: KVM"),
        "{}",
        booted.console
    );
    assert_eq!(value(&booted.console, "clock:"), Some("kvm-clock"));
    for complaint in [
        "WARNING",
        "BUG:",
        "calibration failed",
        "Lost",
        "spurious",
        "Call Trace",
    ] {
        assert!(
            !booted.console.contains(complaint),
            "'{complaint}' in the guest's log:\n{}",
            booted.console
        );
    }
}

#[test]
fn a_second_is_a_second_by_the_guests_clock_and_by_the_hosts() {
    let booted = exec("cat /proc/uptime; sleep 1; cat /proc/uptime");
    let uptimes: Vec<f64> = booted
        .console
        .lines()
        .filter_map(|line| line.split(' ').next()?.parse().ok())
        .collect();
    assert_eq!(uptimes.len(), 2, "{}", booted.console);
    let slept = uptimes[1] - uptimes[0];
    assert!((0.99..1.5).contains(&slept), "{slept} s");
}

#[test]
fn ctrl_c_and_line_editing_work_in_the_guests_shell() {
    let booted = Boot::guest("linux")
        .type_after("/root # ", "sh -c 'echo started; exec sleep 1000'\r")
        .type_after("\nstarted", "\x03")
        .type_after("/root # ", "echo afx\x7fter $((6 * 7))\r")
        .type_after("after 42", "poweroff\r")
        .run()
        .unwrap();
    assert_eq!(
        (booted.status, booted.ended.end),
        (0, End::PowerOff),
        "{}",
        booted.console
    );
}

#[test]
fn a_reboot_ends_in_a_reset() {
    let booted = exec("reboot -f");
    assert_eq!(booted.ended.end, End::Reset, "{}", booted.log);
}

#[test]
fn a_kernel_panic_has_the_status_126() {
    let booted = exec("echo c >/proc/sysrq-trigger");
    assert_eq!(
        (booted.status, booted.ended.panicked),
        (126, true),
        "{}",
        booted.log
    );
}

#[test]
fn debians_generic_kernel_boots_too() {
    let booted = Boot::guest("generic").exec("uname -r").run().unwrap();
    assert_eq!(booted.status, 0, "{}", booted.log);
    assert!(!booted.console.contains("cloud"), "{}", booted.console);
}

/// Debian 13's archive is not reachable everywhere; where it is not, there is nothing to boot.
#[test]
fn debian_13s_kernels_boot_without_a_complaint_if_they_can_be_fetched() {
    for name in ["linux-13", "generic-13"] {
        let kernel = Kernel::named(name).expect("it is one of Debian's");
        if let Err(error) = kernel_file(kernel, false) {
            println!("{name} cannot be fetched: {error}");
            continue;
        }
        let booted = Boot::guest(name).exec("uname -r; dmesg").run().unwrap();
        assert_eq!(booted.status, 0, "{}", booted.log);
        assert!(
            booted.console.contains("deb13") && booted.console.contains("kvm-clock"),
            "{}",
            booted.console
        );
        for complaint in [
            "WARNING",
            "BUG:",
            "calibration failed",
            "Lost",
            "spurious",
            "Call Trace",
        ] {
            assert!(
                !booted.console.contains(complaint),
                "'{complaint}' in the guest's log:\n{}",
                booted.console
            );
        }
    }
}

#[test]
fn two_boots_that_count_instructions_are_the_same() {
    let boot = Boot::guest("linux").icount().exec("dmesg");
    let (first, second) = (boot.run().unwrap(), boot.run().unwrap());
    assert_eq!(first.console, second.console);
}
