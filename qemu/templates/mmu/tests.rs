//! Which faults are answered with a page.

extern crate std;

use atoll_sdk::harness::{Answer, Harness, MACHINE};
use atoll_sdk::protocol::effect::Effect;
use atoll_sdk::protocol::fixed::Fixed;
use atoll_sdk::protocol::message::{Body, NestedFault};

use super::*;

fn fault(gpa: u64) -> Answer {
    let (mut server, _) = Harness::<MyServer>::start(&MACHINE, &Setup::default());
    server.guest = std::vec![0; MACHINE.memory as usize];
    server.deliver(Body::MemoryFault(Fixed(NestedFault { gpa: Gpa(gpa), error: 0 })))
}

#[test]
fn a_fault_on_memory_maps_the_page_around_it() {
    match fault(0x12_3456).effects()[..] {
        [Effect::Map(mapping), Effect::Resume] => assert_eq!((mapping.0.gpa, mapping.0.size), (Gpa(0x12_3000), 4096)),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_memory_is_not_mapped() {
    for gpa in [0xa_0000, MACHINE.memory, 0xfee0_0000] {
        assert!(matches!(fault(gpa).effects()[..], [Effect::Log(_), Effect::Exception(_)]), "{gpa:#x}");
    }
}
