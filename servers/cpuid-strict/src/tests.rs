//! The model, and what it takes to put it into another's place.

extern crate std;

use std::vec::Vec;

use atoll_cpuid::CpuidServer;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{Body, CpuidExit};
use atoll_sdk::harness::{Harness, MACHINE};

use super::*;

fn leaf<S: Server>(server: &mut Harness<S>, leaf: u32) -> Leaf {
    let host = Leaf {
        eax: u32::MAX,
        ebx: u32::MAX,
        ecx: u32::MAX,
        edx: u32::MAX,
    };
    let answer = server.deliver(Body::Cpuid(Fixed(CpuidExit {
        leaf,
        subleaf: 0,
        host,
        cr4: 0,
    })));
    let effects = answer.effects();
    let [atoll_protocol::effect::Effect::Leaf(leaf)] = effects[..] else {
        panic!("{effects:?}")
    };
    leaf.0
}

#[test]
fn it_shows_the_baseline_of_x86_64_and_no_more() {
    let (mut server, _) = Harness::<StrictServer>::start(&MACHINE, &Setup::default());
    assert_eq!(
        (leaf(&mut server, 1).ecx, leaf(&mut server, 1).edx),
        (ECX, EDX)
    );
    assert_eq!(leaf(&mut server, 7), Leaf::default());
    assert_eq!(leaf(&mut server, 0xd), Leaf::default());
    assert_eq!(leaf(&mut server, 0x8000_0001).edx, EXTENDED_EDX);
    assert_eq!(&leaf(&mut server, 0x4000_0000).ebx.to_le_bytes(), b"KVMK");
}

#[test]
fn it_goes_on_where_a_larger_model_was_only_by_force() {
    let (mut large, _) = Harness::<CpuidServer>::start(&MACHINE, &Setup::default());
    let state = large.export().expect("it exports");
    let refused = std::panic::catch_unwind(|| {
        Harness::<StrictServer>::import(&MACHINE, &Setup::default(), &state, false)
    });
    let text = refused
        .err()
        .and_then(|panic| panic.downcast::<std::string::String>().ok())
        .expect("it refuses with a reason");
    assert!(
        text.contains("the guest relies on features of its CPU"),
        "{text}"
    );
    let mut strict = Harness::<StrictServer>::import(&MACHINE, &Setup::default(), &state, true);
    assert_eq!(leaf(&mut strict, 1).ecx, ECX);
}

#[test]
fn a_larger_model_goes_on_where_it_was() {
    let (mut strict, _) = Harness::<StrictServer>::start(&MACHINE, &Setup::default());
    let state: Vec<u8> = strict.export().expect("it exports");
    let mut large = Harness::<CpuidServer>::import(&MACHINE, &Setup::default(), &state, false);
    assert_eq!(leaf(&mut large, 1).ecx & ECX, ECX);
}
