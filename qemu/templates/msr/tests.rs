//! What the guest may read and write.

extern crate std;

use atoll_sdk::harness::{Harness, MACHINE};
use atoll_sdk::protocol::effect::Effect;
use atoll_sdk::protocol::fixed::Fixed;
use atoll_sdk::protocol::message::Body;

use super::*;

fn start() -> Harness<MyServer> {
    Harness::start(&MACHINE, &Setup::default()).0
}

#[test]
fn efer_is_set_without_touching_what_is_the_cpus() {
    let exit = MsrExit { index: EFER, value: LME | 1, held: LMA | SVME, ..MsrExit::default() };
    let answer = start().deliver(Body::MsrWrite(Fixed(exit)));
    let set = Effect::System(SystemRegister::Efer, Fixed(LME | LMA | 1));
    assert_eq!(answer.effects(), [set, Effect::Done]);
}

#[test]
fn long_mode_cannot_be_left_while_paging_is_on() {
    let exit = MsrExit { index: EFER, held: LME, cr0: CR0_PAGING, ..MsrExit::default() };
    let mut server = start();
    assert!(matches!(server.deliver(Body::MsrWrite(Fixed(exit))).effects()[..], [Effect::Exception(_)]));
    assert_eq!(server.state().refused, 1);
}

#[test]
fn a_register_that_is_not_there_is_a_general_protection_exception_and_counted() {
    let mut server = start();
    let answer = server.deliver(Body::MsrRead(Fixed(MsrExit { index: 0x1234, ..MsrExit::default() })));
    assert!(matches!(answer.effects()[..], [Effect::Exception(_)]));
    assert_eq!(server.state().refused, 1);
}
