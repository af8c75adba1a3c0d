//! What is logged, what is denied, and that otherwise it is `msr`.

use std::format;
use std::vec::Vec;

use atoll_protocol::effect::Effect;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{Body, MsrExit};
use atoll_protocol::vcpu::Exception;
use atoll_sdk::harness::{Answer, Harness, MACHINE};
use proptest::prelude::*;

use super::*;

const MISC_ENABLE: u32 = 0x1a0;

fn access<S: Server>(server: &mut Harness<S>, index: u32, written: Option<u64>) -> Answer {
    let exit = MsrExit { index, value: written.unwrap_or(0), ..MsrExit::default() };
    server.deliver(if written.is_some() { Body::MsrWrite(Fixed(exit)) } else { Body::MsrRead(Fixed(exit)) })
}

/// All effects but what is logged, and what is.
fn told(answer: &Answer) -> (Vec<std::string::String>, Vec<std::string::String>) {
    let (log, rest): (Vec<_>, Vec<_>) = answer.effects().into_iter().partition(|effect| matches!(effect, Effect::Log(_)));
    (rest.iter().map(|effect| format!("{effect:?}")).collect(), log.iter().map(|effect| format!("{effect:?}")).collect())
}

fn setup(options: &str) -> Setup<'_> {
    Setup { options, ..Setup::default() }
}

#[test]
fn accesses_in_the_table_are_logged_with_what_became_of_them_up_to_a_number_of_lines() {
    let (mut server, _) = Harness::<TraceServer>::start(&MACHINE, &setup("log=0x1a0 0x5000..=0x5001\nlines=4"));
    let mut line = |index, written| told(&access(&mut server, index, written)).1.pop().unwrap_or_default();
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
    let refused = std::panic::catch_unwind(|| Harness::<TraceServer>::import(&MACHINE, &denies, &state, false));
    let why = refused.err().and_then(|panic| panic.downcast::<std::string::String>().ok()).expect("it refuses with a reason");
    assert!(why.contains("the guest relies on registers that the table denies"), "{why}");
    let mut server = Harness::<TraceServer>::import(&MACHINE, &denies, &state, true);
    let fault = Effect::Exception(Fixed(Exception::PROTECTION));
    assert!(access(&mut server, MISC_ENABLE, Some(8)).effects().contains(&fault));
    assert!(access(&mut server, MISC_ENABLE, None).effects().contains(&fault));
    let state = server.export().expect("it exports");
    let mut server = Harness::<MsrServer>::import(&MACHINE, &setup(""), &state, false);
    assert_eq!(access(&mut server, MISC_ENABLE, None).value(), 7);
}

/// Registers of every kind.
const KNOWN: [u32; 12] =
    [0x10, 0x11, 0x12, 0x8b, 0xfe, MISC_ENABLE, 0x277, 0x2ff, 0x4b56_4d00, 0x4b56_4d01, 0xc000_0080, 0xc001_0015];

fn register() -> impl Strategy<Value = u32> {
    prop_oneof![4 => prop::sample::select(&KNOWN[..]), 2 => 0x200_u32..0x210, 1 => 0x250_u32..0x270, 1 => any::<u32>()]
}

proptest! {
    #[test]
    fn each_goes_on_where_the_other_was_and_beside_the_log_none_can_tell_them_apart(
        before in prop::collection::vec((register(), any::<Option<u64>>(), 0_u32..40), 0..40),
        after in prop::collection::vec((register(), any::<Option<u64>>(), 0_u32..40), 0..40),
    ) {
        let (mut msr, _) = Harness::<MsrServer>::start(&MACHINE, &setup(""));
        let (mut trace, _) = Harness::<TraceServer>::start(&MACHINE, &setup(""));
        let play = |msr: &mut Harness<MsrServer>, trace: &mut Harness<TraceServer>, all: &[(u32, Option<u64>, u32)]| {
            for (index, written, shift) in all {
                let written = written.map(|value| value >> shift);
                prop_assert_eq!(told(&access(msr, *index, written)).0, told(&access(trace, *index, written)).0);
            }
            Ok(())
        };
        play(&mut msr, &mut trace, &before)?;
        let (of_msr, of_trace) = (msr.export().expect("it exports"), trace.export().expect("it exports"));
        prop_assert_eq!(&of_msr, &of_trace);
        let mut msr = Harness::<MsrServer>::import(&MACHINE, &setup(""), &of_trace, false);
        let mut trace = Harness::<TraceServer>::import(&MACHINE, &setup(""), &of_msr, false);
        play(&mut msr, &mut trace, &after)?;
    }
}
