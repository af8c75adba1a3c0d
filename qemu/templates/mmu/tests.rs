//! Which faults are answered with a page.

extern crate std;

use atoll_sdk::harness::{Answer, Harness, MACHINE};
use atoll_sdk::protocol::effect::Effect;
use atoll_sdk::protocol::fixed::Fixed;
use atoll_sdk::protocol::message::{Body, InstructionExit, NestedFault};

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

#[test]
fn a_guest_gets_into_long_mode_with_its_registers() {
    let (mut server, _) = Harness::<MyServer>::start(&MACHINE, &Setup::default());
    server.guest = std::vec![0; MACHINE.memory as usize];
    server.guest[0x1000..0x1003].copy_from_slice(&[0x0f, 0x22, 0xc0]);
    let context = Context { rip: 0x1000, cr0: CR0_PE, cr4: CR4_PAE, efer: EFER_LME, ..Context::default() };
    let exit = Fixed(InstructionExit { code: 0x10, ..InstructionExit::default() });
    let asked = server.deliver(Body::Instruction(exit, Fixed(context), None));
    assert_eq!(asked.effects(), [Effect::NeedRegisters]);
    let mut registers = Registers::default();
    registers.general[0] = CR0_PG | CR0_PE;
    let answer = server.deliver(Body::Instruction(exit, Fixed(context), Some(Fixed(registers))));
    let set = |register, value| Effect::System(register, Fixed(value));
    let efer = set(SystemRegister::Efer, EFER_LME | EFER_LMA);
    let cr0 = set(SystemRegister::Cr0, CR0_PG | CR0_PE | CR0_ET);
    assert_eq!(answer.effects(), [efer, cr0, set(SystemRegister::Rip, 0x1003), Effect::Resume]);
}
