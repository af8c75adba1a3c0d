//! After a fault the kernel and the other servers go on: with `keep` in the manifest only the guest stops, and the control line answers.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use atoll::control::{Line, tables};
use atoll_protocol::control::{Ask, State, Tell};
use atoll_rogue::{Misdeed, Ticket, Time};

use crate::outcome::machine;

/// How long a machine may take from QEMU's start to the rogue's fault.
const PATIENCE: Duration = Duration::from_secs(100);

/// A server's name, whether it runs, and how often it was activated.
type Row = (String, bool, u64);

fn servers(line: &mut Line) -> atoll::Result<Vec<Row>> {
    line.list(Ask::Servers, |tell| {
        let Tell::Server(record) = tell else {
            return None;
        };
        Some((
            record.name.to_owned(),
            record.state == State::Running,
            record.time.count,
        ))
    })
}

/// Waits until the rogue has been faulted; gives the open line and the servers as they were then.
fn after_the_fault(control: &Path) -> (Line, Vec<Row>) {
    let latest = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < latest, "the rogue was not faulted");
        // QEMU makes the socket a moment after it starts, and the control server is not the first to run.
        if let Ok(mut line) = Line::at("rogue", control)
            && let Ok(rows) = servers(&mut line)
            && rows
                .iter()
                .any(|(name, running, _)| name == "rogue" && !running)
        {
            return (line, rows);
        }
        sleep(Duration::from_millis(50));
    }
}

fn assert_goes_on(misdeed: Misdeed) {
    let (booted, ()) = machine(misdeed)
        .change("vcpus = 1", "vcpus = 1\nkeep = true")
        .visit(|control| {
            let (mut line, before) = after_the_fault(control);
            line.ask(Ask::Ping(77)).unwrap();
            line.answer(|tell| (*tell == Tell::Pong(77)).then_some(()))
                .unwrap();
            assert!(
                !tables::machine(&mut line).unwrap().running,
                "the guest still runs"
            );
            let after = servers(&mut line).unwrap();
            let faulted: Vec<&str> = after
                .iter()
                .filter(|(_, running, _)| !running)
                .map(|(name, ..)| name.as_str())
                .collect();
            assert_eq!(faulted, ["rogue"]);
            assert_eq!(
                after.len(),
                13,
                "the supervisor and all servers but the loader: {after:?}"
            );
            let count = |rows: &[Row], of: &str| {
                rows.iter()
                    .find(|(name, ..)| name == of)
                    .map(|(.., count)| *count)
            };
            assert!(count(&after, "control") > count(&before, "control"));
            assert_eq!(count(&after, "rogue"), count(&before, "rogue"));
        })
        .unwrap();
    assert!(
        booted.log.contains("the guest is stopped; the host stays"),
        "{}",
        booted.log
    );
}

#[test]
fn control_answers_and_lists_the_faulted_server_after_a_bad_answer() {
    assert_goes_on(Ticket::LeaveOpen.into());
}

#[test]
fn control_answers_and_lists_the_faulted_server_after_a_hang() {
    assert_goes_on(Time::EndlessLoop.into());
}
