//! The tool around a guest, without Atoll: what these show of the console, the commands and the statuses does not depend on who runs
//! the guest.
#![forbid(unsafe_code)]

use std::time::Duration;

use atoll::run::End;
use atoll::testing::Boot;

#[test]
fn hello_prints_and_powers_off() {
    let booted = Boot::guest("hello").direct().run().unwrap();
    assert!(
        booted.console.starts_with("Hello from inside Atoll"),
        "{}",
        booted.console
    );
    assert_eq!((booted.status, booted.ended.end), (0, End::PowerOff));
}

#[test]
fn a_commands_output_and_status_come_out_of_the_guest_unchanged() {
    let booted = Boot::guest("linux")
        .direct()
        .exec("printf 'a\\tb\\r\\nno newline'; exit 42")
        .run()
        .unwrap();
    assert_eq!(
        (booted.console.as_str(), booted.status),
        ("a\tb\r\nno newline", 42)
    );
}

#[test]
fn a_status_above_123_becomes_123() {
    assert_eq!(
        Boot::guest("linux")
            .direct()
            .exec("exit 200")
            .run()
            .unwrap()
            .status,
        123
    );
}

#[test]
fn a_kernel_panic_has_the_status_126() {
    let booted = Boot::guest("linux")
        .direct()
        .exec("echo c >/proc/sysrq-trigger")
        .run()
        .unwrap();
    assert_eq!((booted.status, booted.ended.panicked), (126, true));
}

#[test]
fn a_guest_that_stands_still_after_its_panic_is_ended() {
    let booted = Boot::guest("linux")
        .direct()
        .append("panic=0")
        .exec("echo c >/proc/sysrq-trigger")
        .run()
        .unwrap();
    assert_eq!((booted.status, booted.ended.end), (126, End::GuestCrash));
}

#[test]
fn a_guest_that_takes_too_long_has_the_status_124() {
    let booted = Boot::guest("linux")
        .direct()
        .exec("sleep 1000")
        .patience(Duration::from_secs(8))
        .run()
        .unwrap();
    assert_eq!(booted.status, 124);
}

#[test]
fn ctrl_c_interrupts_what_runs_in_the_guests_shell() {
    let booted = Boot::guest("linux")
        .direct()
        .type_after("/root # ", "sh -c 'echo started; exec sleep 1000'\r")
        .type_after("\nstarted", "\x03")
        .type_after("/root # ", "echo afx\x7fter $((6 * 7))\r")
        .type_after("after 42", "poweroff\r")
        .run()
        .unwrap();
    assert_eq!(booted.status, 0, "{}", booted.console);
}

#[test]
fn two_runs_that_count_instructions_are_the_same() {
    let boot = Boot::guest("linux")
        .direct()
        .icount()
        .exec("cat /proc/uptime; dmesg | tail -n 5");
    let (first, second) = (boot.run().unwrap(), boot.run().unwrap());
    assert_eq!(first.console, second.console);
    assert!(first.console.contains("init"), "{}", first.console);
}
