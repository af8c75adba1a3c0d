//! A host that stops the machine again and again hides no hang.

use std::thread;
use std::time::Duration;

use atoll::run::End;
use atoll_rogue::Time;

use crate::outcome::{NUMBER, machine};

#[test]
fn a_server_that_hangs_is_found_out_while_the_host_stops_the_machine() {
    let (booted, stops) = machine(Time::EndlessLoop.into())
        .meanwhile(|visit| {
            let emulator = visit.emulator();
            let mut stops = 0;
            while emulator.stop_for(Duration::from_millis(60)) {
                stops += 1;
                thread::sleep(Duration::from_millis(10));
            }
            stops
        })
        .unwrap();
    assert!(stops > 0);
    assert_eq!(booted.ended.end, End::ServerFault, "{}", booted.log);
    let faults: Vec<&str> = booted
        .log
        .lines()
        .filter(|line| line.contains("broke a rule"))
        .collect();
    let expected = format!(
        "fault: server {NUMBER} `rogue` (role serial, generation 1) broke a rule: Hang (effect 0)"
    );
    assert!(
        faults.len() == 1 && faults[0].ends_with(&expected),
        "{faults:#?}"
    );
}
