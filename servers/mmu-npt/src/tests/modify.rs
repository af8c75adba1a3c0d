//! Instructions that read a device's memory and compute: one test per form.

use atoll_protocol::vcpu::{Exception, SystemRegister};
use proptest::prelude::*;

use super::machine::{CODE, DEVICE, Guest};
use crate::alu::{CF, OF, PF, SF, ZF};

const READ: u64 = 4;
const WRITE: u64 = 6;
const STATUS: u64 = crate::alu::STATUS;

/// Runs `code` with RCX = `source` on a device that holds `old`: what is written, and the guest after it.
fn run(code: &[u8], source: u64, old: u64) -> (Option<u64>, Guest) {
    let mut guest = Guest::new(code);
    guest.registers.general[1] = source;
    let (written, said) = guest.modify(READ, old);
    assert_eq!(said.exception, None);
    assert_eq!(guest.context.rip, CODE + code.len() as u64, "{code:x?}");
    (written, guest)
}

fn status(guest: &Guest) -> u64 {
    guest.context.rflags & STATUS
}

#[test]
fn or_to_memory_writes_the_result_and_sets_the_flags() {
    let (written, guest) = run(&[0x09, 0x0b], 0x8000_0001, 0x10);
    assert_eq!((written, status(&guest)), (Some(0x8000_0011), SF | PF));
}

#[test]
fn and_xor_add_and_sub_to_memory_write_the_result() {
    assert_eq!(run(&[0x21, 0x0b], 0xff00, 0x1234).0, Some(0x1200));
    let (written, guest) = run(&[0x31, 0x0b], 0x1234, 0x1234);
    assert_eq!((written, status(&guest)), (Some(0), ZF | PF));
    let (written, guest) = run(&[0x01, 0x0b], 1, 0x7fff_ffff);
    assert_eq!(
        (written, status(&guest)),
        (Some(0x8000_0000), SF | PF | OF | crate::alu::AF)
    );
    let (written, guest) = run(&[0x29, 0x0b], 1, 0);
    assert_eq!(
        (written, status(&guest)),
        (Some(0xffff_ffff), SF | PF | CF | crate::alu::AF)
    );
}

#[test]
fn an_immediate_byte_is_sign_extended_to_the_operand() {
    assert_eq!(run(&[0x83, 0x0b, 0xf0], 0, 1).0, Some(0xffff_fff1));
    assert_eq!(
        run(&[0x48, 0x83, 0x23, 0xfe], 0, u64::MAX).0,
        Some(u64::MAX - 1)
    );
    assert_eq!(run(&[0x80, 0x0b, 0x80], 0, 1).0, Some(0x81));
}

#[test]
fn arithmetic_from_memory_writes_only_the_register() {
    let (written, guest) = run(&[0x03, 0x0b], 0xffff_ffff_0000_0001, 0xffff_ffff);
    assert_eq!(
        (
            written,
            guest.registers.general[1],
            status(&guest) & (CF | ZF)
        ),
        (None, 0, CF | ZF)
    );
    let (written, guest) = run(&[0x32, 0x2b], 0x55aa, 0x0f);
    assert_eq!((written, guest.registers.general[1]), (None, 0x5aaa), "CH");
}

#[test]
fn cmp_and_test_write_nothing() {
    let (written, guest) = run(&[0x39, 0x0b], 5, 5);
    assert_eq!((written, status(&guest)), (None, ZF | PF));
    let (written, guest) = run(&[0x3b, 0x0b], 4, 5);
    assert_eq!((written, status(&guest) & (CF | SF)), (None, CF | SF));
    let (written, guest) = run(&[0xf7, 0x03, 0, 0, 0, 0x80], 0, 0x8000_0000);
    assert_eq!((written, status(&guest)), (None, SF | PF));
    let (written, guest) = run(&[0x85, 0x0b], 1, 2);
    assert_eq!((written, status(&guest)), (None, ZF | PF));
}

#[test]
fn adc_and_sbb_take_the_carry() {
    for (code, expected) in [([0x11, 0x0b], 0x11), ([0x19, 0x0b], 0xf)] {
        let mut guest = Guest::new(&code);
        guest.context.rflags |= CF;
        assert_eq!(guest.modify(READ, 0x10).0, Some(expected));
    }
}

#[test]
fn inc_and_dec_keep_the_carry_and_not_keeps_all_flags() {
    let mut guest = Guest::new(&[0xff, 0x03]);
    guest.context.rflags |= CF;
    assert_eq!(guest.modify(READ, 0xffff_ffff).0, Some(0));
    assert_eq!(status(&guest) & (CF | ZF), CF | ZF);
    assert_eq!(run(&[0xff, 0x0b], 0, 0).0, Some(0xffff_ffff));
    let mut guest = Guest::new(&[0xf7, 0x13]);
    guest.context.rflags |= CF | OF;
    assert_eq!(guest.modify(READ, 0).0, Some(0xffff_ffff));
    assert_eq!(status(&guest), CF | OF);
    let (written, guest) = run(&[0xf7, 0x1b], 0, 1);
    assert_eq!((written, status(&guest) & CF), (Some(0xffff_ffff), CF));
}

#[test]
fn xchg_writes_the_old_register_and_loads_the_old_memory() {
    let (written, guest) = run(&[0x87, 0x0b], 0x1111, 0x2222);
    assert_eq!(
        (written, guest.registers.general[1]),
        (Some(0x1111), 0x2222)
    );
    assert_eq!(status(&guest), 0);
}

#[test]
fn a_locked_instruction_faults_as_a_write_and_reads_all_the_same() {
    let mut guest = Guest::new(&[0xf0, 0x0f, 0xc1, 0x0b]);
    guest.registers.general[1] = 3;
    assert_eq!(guest.modify(WRITE, 4).0, Some(7));
    assert_eq!(guest.registers.general[1], 4);
}

#[test]
fn cmpxchg_writes_either_way() {
    let mut guest = Guest::new(&[0x0f, 0xb1, 0x0b]);
    guest.registers.general[0] = 5;
    guest.registers.general[1] = 9;
    assert_eq!(guest.modify(READ, 5).0, Some(9));
    assert_eq!((status(&guest), guest.registers.general[0]), (ZF | PF, 5));
    guest.context.rip = CODE;
    assert_eq!(guest.modify(READ, 7).0, Some(7));
    assert_eq!((status(&guest) & ZF, guest.registers.general[0]), (0, 7));
}

#[test]
fn bit_tests_set_the_carry_and_change_one_bit() {
    let (written, guest) = run(&[0x0f, 0xa3, 0x0b], 33, 2);
    assert_eq!(
        (written, status(&guest)),
        (None, CF),
        "the index is taken modulo the operand's bits"
    );
    let (written, guest) = run(&[0x0f, 0xba, 0x2b, 4], 0, 1);
    assert_eq!((written, status(&guest)), (Some(0x11), 0));
    assert_eq!(run(&[0x0f, 0xba, 0x33, 4], 0, 0x11).0, Some(1));
    assert_eq!(run(&[0x48, 0x0f, 0xbb, 0x0b], 40, 0).0, Some(1 << 40));
}

#[test]
fn an_instruction_that_never_writes_does_not_emulate_a_write_fault() {
    assert_eq!(
        Guest::new(&[0x8b, 0x03]).fault(DEVICE, WRITE).exception,
        Some(Exception::UNDEFINED)
    );
    assert_eq!(
        Guest::new(&[0x39, 0x0b]).fault(DEVICE, WRITE).exception,
        Some(Exception::UNDEFINED)
    );
}

#[test]
fn an_instruction_that_was_patched_between_its_two_accesses_just_runs_again() {
    let mut guest = Guest::new(&[0x09, 0x0b]);
    let (forward, _) = guest.fault(DEVICE, READ).forward.unwrap();
    guest.put(CODE, &[0x89, 0x0b]);
    let said = guest.done(&forward, 1, &[]);
    assert!(
        said.resumed && said.system(SystemRegister::Rip).is_none() && said.registers.is_empty()
    );
}

/// Adds bit by bit: value, carries into each bit position, as a reference that shares nothing with the server's arithmetic.
fn ripple(a: u64, b: u64, carry: bool, bits: u32) -> (u64, [bool; 65]) {
    let mut carries = [false; 65];
    carries[0] = carry;
    let mut value = 0;
    for bit in 0..bits as usize {
        let (x, y, c) = (a >> bit & 1 == 1, b >> bit & 1 == 1, carries[bit]);
        if x ^ y ^ c {
            value |= 1 << bit;
        }
        carries[bit + 1] = (x && y) || (c && (x || y));
    }
    (value, carries)
}

/// Value and status flags of one operation, by the reference.
fn reference(operation: u8, a: u64, b: u64, carry: bool, bits: u32) -> (u64, u64) {
    let ones = u64::MAX >> (64 - bits);
    let (value, carries, inverted) = match operation {
        0 | 2 => {
            let (value, carries) = ripple(a, b, operation == 2 && carry, bits);
            (value, carries, false)
        }
        3 | 5 | 7 => {
            // a - b - c is a + !b + !c, with carry and borrow opposite.
            let (value, carries) = ripple(a, !b & ones, !(operation == 3 && carry), bits);
            (value, carries, true)
        }
        1 => (a | b, [false; 65], false),
        4 => (a & b, [false; 65], false),
        _ => (a ^ b, [false; 65], false),
    };
    let top = bits as usize;
    let mut flags = 0;
    let mut set = |condition: bool, flag: u64| flags |= if condition { flag } else { 0 };
    set(carries[top] != inverted, CF);
    set(carries[4] != inverted, crate::alu::AF);
    set(carries[top] != carries[top - 1], OF);
    set(value == 0, ZF);
    set(value >> (bits - 1) & 1 == 1, SF);
    set(
        (0..8).filter(|bit| value >> bit & 1 == 1).count() % 2 == 0,
        PF,
    );
    (value, flags)
}

fn interesting() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0_u32..64).prop_map(|bit| 1 << bit),
        (0_u32..64).prop_map(|bit| (1 << bit) - 1),
        Just(u64::MAX)
    ]
}

proptest! {
    #[test]
    fn arithmetic_agrees_with_an_adder_of_single_bits(
        operation in 0_u8..8, width in 0_usize..4, a in interesting(), b in interesting(), carry: bool
    ) {
        // The eight operations of opcodes 00 to 3b: ADD OR ADC SBB AND SUB XOR CMP, as `op [rbx], rcx`.
        let (code, bits): (&[u8], u32) = match width {
            0 => (&[operation << 3, 0x0b], 8),
            1 => (&[0x66, operation << 3 | 1, 0x0b], 16),
            2 => (&[operation << 3 | 1, 0x0b], 32),
            _ => (&[0x48, operation << 3 | 1, 0x0b], 64),
        };
        let ones = u64::MAX >> (64 - bits);
        let mut guest = Guest::new(code);
        guest.registers.general[1] = b;
        guest.context.rflags |= u64::from(carry);
        let (written, _) = guest.modify(READ, a & ones);
        let (value, flags) = reference(operation, a & ones, b & ones, carry, bits);
        prop_assert_eq!(written, (operation != 7).then_some(value));
        prop_assert_eq!(status(&guest), flags);
    }
}
