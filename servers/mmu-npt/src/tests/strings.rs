//! String forms with a device at one end.

use atoll_protocol::effect::Forward;

use super::machine::{CODE, DATA, DATA_TABLE, DEVICE, DEVICE_LINEAR, Guest, LEAF};
use crate::alu::ZF;

const READ: u64 = 4;
const WRITE: u64 = 6;
const DF: u64 = 1 << 10;

fn guest(code: &[u8], count: u64, source: u64, destination: u64) -> Guest {
    let mut guest = Guest::new(code);
    guest.registers.general[0] = 0x1122_3344_5566_7788;
    guest.registers.general[1] = count;
    guest.registers.general[6] = source;
    guest.registers.general[7] = destination;
    guest
}

#[test]
fn stos_with_rep_writes_one_element_and_stays_until_the_count_is_used_up() {
    let mut guest = guest(&[0xf3, 0xab], 2, 0, DEVICE_LINEAR);
    let (forward, _) = guest.fault(DEVICE, WRITE).forward.unwrap();
    assert_eq!(
        (forward.value, forward.size, forward.finish),
        (0x5566_7788, 4, Forward::STORE)
    );
    assert_eq!(
        (
            guest.context.rip,
            guest.registers.general[1],
            guest.registers.general[7]
        ),
        (CODE, 1, DEVICE_LINEAR + 4)
    );
    guest.fault(DEVICE + 4, WRITE);
    assert_eq!(
        (
            guest.context.rip,
            guest.registers.general[1],
            guest.registers.general[7]
        ),
        (CODE + 2, 0, DEVICE_LINEAR + 8)
    );
}

#[test]
fn stos_without_rep_ignores_the_count_and_runs_downwards_with_df() {
    let mut guest = guest(&[0xaa], 0, 0, DEVICE_LINEAR + 8);
    guest.context.rflags |= DF;
    let (forward, _) = guest.fault(DEVICE + 8, WRITE).forward.unwrap();
    assert_eq!((forward.value, forward.size), (0x88, 1));
    assert_eq!(
        (guest.context.rip, guest.registers.general[7]),
        (CODE + 1, DEVICE_LINEAR + 7)
    );
}

#[test]
fn movs_from_ram_reads_the_source_through_the_tables() {
    let mut guest = guest(&[0xf3, 0xa5], 3, DATA + 0xffe, DEVICE_LINEAR);
    guest.put(DATA_TABLE + 8, &((DATA + 0x7000) | LEAF).to_le_bytes());
    guest.put(DATA + 0xffe, &[1, 2]);
    guest.put(DATA + 0x7000, &[3, 4]);
    let (forward, _) = guest.fault(DEVICE, WRITE).forward.unwrap();
    assert_eq!((forward.value, forward.size), (0x0403_0201, 4));
    assert_eq!(guest.registers.general[6], DATA + 0x1002);
    assert_eq!((guest.context.rip, guest.registers.general[1]), (CODE, 2));
}

#[test]
fn movs_to_ram_writes_what_the_device_said_and_marks_the_page_dirty() {
    let mut guest = guest(&[0x48, 0xa5], 9, DEVICE_LINEAR, DATA + 0x10);
    guest.put(DATA_TABLE, &(DATA | 7).to_le_bytes());
    let (forward, _) = guest.fault(DEVICE, READ).forward.unwrap();
    assert_eq!((forward.size, forward.finish), (8, Forward::RETURN));
    let said = guest.done(&forward, 0x0102_0304_0506_0708, &[]);
    assert_eq!(said.swaps, [(DATA_TABLE, DATA | 7, DATA | 0x67)]);
    assert_eq!(
        guest.get(DATA + 0x10, 8),
        0x0102_0304_0506_0708_u64.to_le_bytes()
    );
    assert_eq!(
        (guest.registers.general[6], guest.registers.general[7]),
        (DEVICE_LINEAR + 8, DATA + 0x18)
    );
    assert_eq!(
        (guest.context.rip, guest.registers.general[1]),
        (CODE + 2, 9)
    );
}

#[test]
fn movs_to_a_page_that_is_not_there_faults_before_the_device_is_read() {
    let mut guest = guest(&[0xf3, 0xa5], 2, DEVICE_LINEAR, DATA + 0x3ffe);
    guest.put(DATA_TABLE + 4 * 8, &[0; 8]);
    let said = guest.fault(DEVICE, READ);
    let exception = said.exception.unwrap();
    assert_eq!(
        (exception.vector, exception.error, exception.address),
        (14, 2, DATA + 0x4000)
    );
    assert_eq!(guest.registers.general[1], 2);
}

#[test]
fn movs_from_device_to_device_reads_one_and_writes_the_other() {
    let mut guest = guest(&[0xf3, 0xa5], 1, DEVICE_LINEAR, DEVICE_LINEAR + 0x10);
    let (read, _) = guest.fault(DEVICE & !0xfff, READ).forward.unwrap();
    let (write, _) = guest.done(&read, 77, &[]).forward.unwrap();
    assert_eq!(
        (write.address, write.value, write.write, write.finish),
        ((DEVICE & !0xfff) + 0x10, 77, 1, Forward::STORE)
    );
    assert_eq!(
        (guest.context.rip, guest.registers.general[1]),
        (CODE + 2, 0)
    );
}

#[test]
fn lods_loads_the_accumulator() {
    let mut guest = guest(&[0xad], 0, DEVICE_LINEAR, 0);
    let (forward, _) = guest.fault(DEVICE, READ).forward.unwrap();
    assert_eq!(
        (
            forward.finish,
            forward.register,
            forward.width,
            forward.rip_or_token
        ),
        (Forward::LOAD, 0, 4, CODE + 1)
    );
    assert_eq!(guest.registers.general[6], DEVICE_LINEAR + 4);
}

#[test]
fn scas_with_repne_stops_at_the_first_match() {
    let mut guest = guest(&[0xf2, 0xae], 5, 0, DEVICE_LINEAR);
    let (forward, _) = guest.fault(DEVICE, READ).forward.unwrap();
    guest.done(&forward, 0x77, &[]);
    assert_eq!(
        (
            guest.context.rip,
            guest.context.rflags & ZF,
            guest.registers.general[1]
        ),
        (CODE, 0, 4)
    );
    let (forward, _) = guest.fault(DEVICE + 1, READ).forward.unwrap();
    guest.done(&forward, 0x88, &[]);
    assert_eq!(
        (
            guest.context.rip,
            guest.context.rflags & ZF,
            guest.registers.general[1]
        ),
        (CODE + 2, ZF, 3)
    );
    assert_eq!(guest.registers.general[7], DEVICE_LINEAR + 2);
}

#[test]
fn cmps_compares_the_source_with_the_destination() {
    let mut guest = guest(&[0xf3, 0xa6], 5, DATA, DEVICE_LINEAR);
    guest.put(DATA, &[9]);
    let (forward, _) = guest.fault(DEVICE & !0xfff, READ).forward.unwrap();
    guest.done(&forward, 9, &[]);
    assert_eq!(
        (
            guest.context.rip,
            guest.registers.general[1],
            guest.context.rflags & ZF
        ),
        (CODE, 4, ZF)
    );
    guest.registers.general[6] = DEVICE_LINEAR;
    guest.registers.general[7] = DATA;
    let (forward, _) = guest.fault(DEVICE & !0xfff, READ).forward.unwrap();
    guest.done(&forward, 10, &[]);
    assert_eq!(
        (
            guest.context.rip,
            guest.registers.general[1],
            guest.context.rflags & (ZF | 1)
        ),
        (CODE + 2, 3, 0),
        "10 - 9"
    );
}

#[test]
fn a_sixteen_bit_index_keeps_the_upper_half_of_its_register() {
    let mut guest = Guest::real(&[0xf3, 0xab]);
    guest.registers.general = [0x0720; 16];
    guest.registers.general[1] = 0xabcd_0002;
    guest.registers.general[7] = 0xabcd_fffe;
    guest.registers.segments[0].base = 0xb_8000;
    let said = guest.fault(0xb_fffe, WRITE);
    assert_eq!(said.forward.unwrap().0.value, 0x720);
    assert_eq!(
        (guest.registers.general[1], guest.registers.general[7]),
        (0xabcd_0001, 0xabcd_0000)
    );
    assert_eq!(guest.context.rip, 0x4000);
}

#[test]
fn rep_with_a_count_of_zero_only_moves_on() {
    let mut guest = guest(&[0xf3, 0xab], 0, 0, DEVICE_LINEAR);
    let said = guest.fault(DEVICE, WRITE);
    assert!(said.forward.is_none() && said.registers.is_empty());
    assert_eq!(guest.context.rip, CODE + 2);
}
