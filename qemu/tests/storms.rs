//! Servers that take more than their part: of restarts, of the log, of the guest's time. Linux goes on beside them.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;

use atoll::control::{Line, tables};
use atoll::place;
use atoll::template::{self, Wanted};
use atoll::testing::Boot;
use atoll_protocol::control::{Ask, Tell};
use tempfile::TempDir;

/// A crate as `atoll new-server` makes it, with each first text in it replaced by the second.
fn make(role: &str, around: Option<&str>, changes: &[(&str, &str)]) -> (PathBuf, TempDir) {
    let temporary = tempfile::tempdir().unwrap();
    let wanted = Wanted {
        role,
        name: "my-server",
        around,
    };
    let dir = template::make(
        &place::workspace().unwrap(),
        &wanted,
        &temporary.path().join("made"),
    )
    .unwrap();
    let path = dir.join("src/lib.rs");
    let mut text = fs::read_to_string(&path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "no '{from}' in {text}");
        text = text.replace(from, to);
    }
    fs::write(path, text).unwrap();
    (dir, temporary)
}

/// What makes a server around another one that panics at every second request, with a text that is none, and is mended by its restart.
const EVERY_SECOND: [(&str, &str); 2] = [
    (
        "        if vault.requests.is_power_of_two() {\n",
        "        if vault.requests.is_multiple_of(2) {
            panic!(\"A\\n[9.999999] hypervisor fault: FORGED \\x1b[31mred\\x1b[0m\\n\");
        }
        if vault.requests.is_power_of_two() {\n",
    ),
    (
        "        within(vault, |inner| Inner::restarted(",
        "        *vault.at(|state| &mut state.requests) += 1;\n        within(vault, |inner| Inner::restarted(",
    ),
];

#[test]
fn a_server_that_crashes_at_every_second_message_falls_back_and_can_forge_nothing_in_the_log() {
    let (dir, _temporary) = make("msr", Some("msr"), &EVERY_SECOND);
    let restart = "image = \"msr\"\nrestart = { attempts = 3, then = { image = \"msr\" } }\n";
    let booted = Boot::guest("linux")
        .change("image = \"msr\"\n", restart)
        .swap("msr", &dir)
        .exec("echo it runs")
        .run()
        .unwrap();
    assert_eq!(
        (booted.status, &booted.console[..]),
        (0, "it runs\n"),
        "{}",
        booted.log
    );
    let faults = booted.log.matches("broke a rule: Panicked").count();
    assert_eq!(faults, 31, "{}", booted.log);
    for said in [
        "more than 30 restarts in a minute are too many",
        "it falls back to image `msr`",
    ] {
        assert!(booted.log.contains(said), "{}", booted.log);
    }
    assert!(
        booted
            .log
            .contains(r"panicked: A\n[9.999999] hypervisor fault: FORGED \x1b[31mred"),
        "{}",
        booted.log
    );
    assert!(
        !booted.log.contains("\n[9.9") && !booted.log.contains('\x1b'),
        "{}",
        booted.log
    );
}

/// What makes a power server one that is always due, and takes 3 ms each time where an instruction is a nanosecond.
const ALWAYS_DUE: &str = r"
    fn started(_: &mut Vault<'_, Self>, effects: &mut Effects<'_, Power>) {
        effects.emit(PowerEffect::Arm(atoll_sdk::protocol::units::TimerId::nth(0), effects.now()));
    }

    fn event(_: &mut Vault<'_, Self>, _: atoll_sdk::protocol::role::DeviceEvent, effects: &mut Effects<'_, Power>) {
        (0..750_000_u32).for_each(|turn| _ = core::hint::black_box(turn));
        effects.emit(PowerEffect::Arm(atoll_sdk::protocol::units::TimerId::nth(0), effects.now()));
    }

    fn handle(";

#[test]
fn linux_has_its_share_of_the_time_beside_a_server_that_is_always_due() {
    let (dir, _temporary) = make("power", None, &[("\n    fn handle(", ALWAYS_DUE)]);
    let boot = Boot::guest("linux").icount().swap("pm", &dir);
    let (booted, (elapsed, own)) = boot
        .visit(|visit| {
            assert!(visit.wait_for("Linux version"), "Linux has not begun");
            let mut line = Line::at("greedy", visit).unwrap();
            let servers = line.list(Ask::Servers, |tell| {
                let Tell::Server(record) = tell else {
                    return None;
                };
                Some((record.name.to_owned(), record.time.sum))
            });
            let own = servers
                .unwrap()
                .into_iter()
                .find(|(name, _)| name == "pm")
                .unwrap()
                .1;
            (tables::machine(&mut line).unwrap().elapsed, own)
        })
        .unwrap();
    assert!(!booted.log.contains("broke a rule"), "{}", booted.log);
    assert!(
        own > elapsed / 2,
        "it has had {own} of {elapsed} ticks: that is no test"
    );
    assert!(
        own < elapsed / 5 * 4,
        "it has had {own} of {elapsed} ticks, not three quarters"
    );
}

#[test]
fn the_machine_goes_on_where_no_line_of_its_log_can_be_written() {
    let booted = Boot::guest("linux")
        .log_to("/dev/full")
        .exec("echo it runs")
        .run()
        .unwrap();
    assert_eq!((booted.status, &booted.console[..]), (0, "it runs\n"));
}
