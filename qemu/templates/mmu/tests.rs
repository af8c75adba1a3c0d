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

fn instruction(bytes: &[u8], context: Context, registers: Registers) -> Answer {
    let (mut server, _) = Harness::<MyServer>::start(&MACHINE, &Setup::default());
    let mut exit = InstructionExit { fetched: bytes.len() as u8, ..InstructionExit::default() };
    exit.bytes[..bytes.len()].copy_from_slice(bytes);
    server.deliver(Body::Instruction(Fixed(exit), Fixed(context), Fixed(registers)))
}

fn set(register: SystemRegister, value: u64) -> Effect<'static> {
    Effect::System(register, Fixed(value))
}

#[test]
fn a_guest_switches_paging_on() {
    let context = Context { rip: 0x1000, cr0: CR0_PE, cr4: CR4_PAE, efer: EFER_LME, ..Context::default() };
    let mut registers = Registers::default();
    registers.general[0] = CR0_PG | CR0_PE;
    let answer = instruction(&[0x0f, 0x22, 0xc0], context, registers);
    let cr0 = set(SystemRegister::Cr0, CR0_PG | CR0_PE | CR0_ET);
    assert_eq!(answer.effects(), [cr0, set(SystemRegister::Rip, 0x1003), Effect::Resume]);
}

#[test]
fn debug_registers_are_read_and_written() {
    let context = Context { rip: 0x1000, efer: EFER_LMA, cs_attributes: 1 << 9, ..Context::default() };
    let mut registers = Registers { debug: [0, 1, 2, 3, 6, 7], ..Registers::default() };
    registers.general[9] = 0x40_0000;
    let written = instruction(&[0x41, 0x0f, 0x23, 0xf9], context, registers);
    assert_eq!(written.effects(), [set(SystemRegister::Dr7, 0x40_0000), set(SystemRegister::Rip, 0x1004), Effect::Resume]);
    let read = instruction(&[0x0f, 0x21, 0xf0], context, registers);
    assert_eq!(read.effects(), [Effect::Register(0, Fixed(6)), set(SystemRegister::Rip, 0x1003), Effect::Resume]);
}
