//! What is logged, what is denied, and that otherwise it is `msr`.

use std::format;
use std::vec::Vec;

use atoll_protocol::effect::Effect;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{Body, MsrExit};
use atoll_protocol::vcpu::Exception;
use atoll_sdk::harness::{Answer, Harness, MACHINE, goes_unnoticed, traffic};
use proptest::prelude::*;

use super::*;

const MISC_ENABLE: u32 = 0x1a0;

fn access<S: Server>(server: &mut Harness<S>, index: u32, written: Option<u64>) -> Answer {
    let exit = MsrExit {
        index,
        value: written.unwrap_or(0),
        ..MsrExit::default()
    };
    server.deliver(if written.is_some() {
        Body::MsrWrite(Fixed(exit))
    } else {
        Body::MsrRead(Fixed(exit))
    })
}

/// All effects but what is logged, and what is.
fn told(answer: &Answer) -> (Vec<std::string::String>, Vec<std::string::String>) {
    let (log, rest): (Vec<_>, Vec<_>) = answer
        .effects()
        .into_iter()
        .partition(|effect| matches!(effect, Effect::Log(_)));
    (
        rest.iter().map(|effect| format!("{effect:?}")).collect(),
        log.iter().map(|effect| format!("{effect:?}")).collect(),
    )
}

fn setup(options: &str) -> Setup<'_> {
    Setup {
        options,
        ..Setup::default()
    }
}

#[test]
fn accesses_in_the_table_are_logged_with_what_became_of_them_up_to_a_number_of_lines() {
    let (mut server, _) =
        Harness::<TraceServer>::start(&MACHINE, &setup("log=0x1a0 0x5000..=0x5001\nlines=4"));
    let mut line = |index, written| {
        told(&access(&mut server, index, written))
            .1
            .pop()
            .unwrap_or_default()
    };
    assert!(line(MISC_ENABLE, Some(7)).contains("wrmsr 0x1a0 0x7 is done"));
    assert!(line(MISC_ENABLE, None).contains("rdmsr 0x1a0 is 0x7"));
    assert_eq!(line(0x8b, None), "", "not in the table");
    assert!(line(0x5001, None).contains("rdmsr 0x5001 is refused"));
    assert!(line(MISC_ENABLE, None).contains("no more is logged"));
    assert_eq!(line(MISC_ENABLE, None), "");
}

#[test]
fn what_is_denied_is_as_if_it_did_not_exist_and_keeps_its_value() {
    let (mut server, _) = Harness::<MsrServer>::start(&MACHINE, &setup(""));
    access(&mut server, MISC_ENABLE, Some(7));
    let state = server.export().expect("it exports");
    let denies = setup("deny=0x1a0");
    let refused = std::panic::catch_unwind(|| {
        Harness::<TraceServer>::import(&MACHINE, &denies, &state, false)
    });
    let why = refused
        .err()
        .and_then(|panic| panic.downcast::<std::string::String>().ok())
        .expect("it refuses with a reason");
    assert!(
        why.contains("the guest relies on registers that the table denies"),
        "{why}"
    );
    let mut server = Harness::<TraceServer>::import(&MACHINE, &denies, &state, true);
    let fault = Effect::Exception(Fixed(Exception::PROTECTION));
    assert!(
        access(&mut server, MISC_ENABLE, Some(8))
            .effects()
            .contains(&fault)
    );
    assert!(
        access(&mut server, MISC_ENABLE, None)
            .effects()
            .contains(&fault)
    );
    let state = server.export().expect("it exports");
    let mut server = Harness::<MsrServer>::import(&MACHINE, &setup(""), &state, false);
    assert_eq!(access(&mut server, MISC_ENABLE, None).value(), 7);
}

proptest! {
    #[test]
    fn each_goes_on_where_the_other_was_and_only_the_log_tells_them_apart(before in traffic::msr(), after in traffic::msr()) {
        goes_unnoticed::<MsrServer, TraceServer>(&setup(""), &before, &after);
        goes_unnoticed::<TraceServer, MsrServer>(&setup(""), &before, &after);
    }
}
