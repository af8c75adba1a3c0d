//! From the guest's port to the console's mail.

extern crate std;

use std::vec::Vec;

use atoll_sdk::harness::{Answer, Harness, MACHINE};
use atoll_sdk::protocol::effect::Effect;
use atoll_sdk::protocol::fixed::Fixed;
use atoll_sdk::protocol::message::{Body, PortExit};

use super::*;

const BASE: u16 = 0x3f8;

fn start() -> Harness<MyServer> {
    let peers = atoll_sdk::harness::peers(&[("console", ServerId(10))]);
    Harness::start(&MACHINE, &Setup { peers: &peers, ..Setup::default() }).0
}

fn type_in(server: &mut Harness<MyServer>, text: &str) {
    for byte in text.bytes() {
        let exit = PortExit { port: BASE, size: 1, value: byte.into(), count: 1, ..PortExit::default() };
        server.deliver(Body::PortWrite(Fixed(exit)));
    }
}

fn status(server: &mut Harness<MyServer>) -> u64 {
    server.deliver(Body::PortRead(Fixed(PortExit { port: BASE + LINE_STATUS, size: 1, count: 1, ..PortExit::default() }))).value()
}

fn mailed(answer: &Answer) -> Vec<Vec<u8>> {
    let mail = |effect: &Effect<'_>| if let Effect::Mail(ServerId(10), bytes) = effect { Some(bytes.to_vec()) } else { None };
    answer.effects().iter().filter_map(mail).collect()
}

#[test]
fn what_the_guest_writes_is_mailed_to_the_console_when_it_has_waited() {
    let mut server = start();
    type_in(&mut server, "Hi\n");
    assert_eq!(mailed(&server.deliver(Body::Timer(FLUSH))), [b"\x01Hi\n"]);
    assert!(mailed(&server.deliver(Body::Timer(FLUSH))).is_empty(), "once");
}

#[test]
fn the_line_status_says_when_there_is_no_room() {
    let mut server = start();
    assert_eq!(status(&mut server), 0x60);
    type_in(&mut server, &"x".repeat(OUTPUT_BYTES));
    assert_eq!(status(&mut server), 0);
    server.deliver(Body::Timer(FLUSH));
    assert_eq!(status(&mut server), 0x60);
}

#[test]
fn no_more_is_on_the_way_than_the_console_holds_and_it_goes_on_when_that_has_taken_some() {
    let mut server = start();
    let mut sent = 0;
    loop {
        type_in(&mut server, &"x".repeat(OUTPUT_BYTES));
        match mailed(&server.deliver(Body::Timer(FLUSH))).as_slice() {
            [] => break,
            mail => sent += mail[0].len() - 1,
        }
    }
    assert!(sent <= OUTPUT_WINDOW.into() && sent + OUTPUT_BYTES > OUTPUT_WINDOW.into(), "{sent}");
    let answer = server.deliver(Body::Mail(ServerId(10), &[TAKEN, 0, 4]));
    assert_eq!(mailed(&answer).len(), 1);
}
