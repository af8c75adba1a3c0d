//! What the guest gets to know of its CPU.

extern crate std;

use atoll_sdk::harness::{Harness, MACHINE};
use atoll_sdk::protocol::effect::Effect;
use atoll_sdk::protocol::fixed::Fixed;
use atoll_sdk::protocol::message::{Body, CpuidExit};

use super::*;

/// The leaf as the guest sees it on a host that has everything.
fn leaf(leaf: u32) -> Leaf {
    let host = Leaf { eax: !0, ebx: !0, ecx: !0, edx: !0 };
    let (mut server, _) = Harness::<MyServer>::start(&MACHINE, &Setup::default());
    match server.deliver(Body::Cpuid(Fixed(CpuidExit { leaf, host, ..CpuidExit::default() }))).effects()[..] {
        [Effect::Leaf(leaf)] => leaf.0,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn the_guest_is_in_a_virtual_machine_and_has_neither_svm_nor_xsave() {
    assert_eq!(leaf(1).ecx & (1 << 31 | 1 << 26), 1 << 31);
    assert_eq!(leaf(0x8000_0001).ecx & 1 << 2, 0);
}

#[test]
fn it_has_long_mode_and_no_execute() {
    assert_eq!(leaf(0x8000_0001).edx & (1 << 29 | 1 << 20), 1 << 29 | 1 << 20);
}

#[test]
fn a_leaf_that_is_not_named_is_zero() {
    assert_eq!((leaf(7), leaf(0x4000_0000)), (Leaf::default(), Leaf::default()));
}
