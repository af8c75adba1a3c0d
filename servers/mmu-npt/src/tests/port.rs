//! INS and OUTS.

use std::vec;
use std::vec::Vec;

use atoll_protocol::effect::Forward;
use atoll_protocol::vcpu::{Exception, Segment};

use super::machine::{CODE, DATA, DATA_TABLE, DEVICE, DEVICE_LINEAR, Guest, LEAF};

const DF: u64 = 1 << 10;
const PORT: u64 = 0x1f0;
/// What TCG says: the port and "string", no address size and no segment.
const IN: u64 = PORT << 16 | 5;
const OUT: u64 = PORT << 16 | 4;

fn guest(code: &[u8], count: u64, address: u64) -> Guest {
    let mut guest = Guest::new(code);
    guest.registers.general[1] = count;
    guest.registers.general[2] = 0xffff_0000 | PORT;
    guest.registers.general[6] = address;
    guest.registers.general[7] = address;
    guest
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| index as u8 ^ 0x5a).collect()
}

#[test]
fn outs_without_rep_writes_one_element() {
    let mut guest = guest(&[0x6f], 7, DATA);
    guest.put(DATA, &[1, 2, 3, 4]);
    let (forward, bytes) = guest.string_io(OUT).forward.unwrap();
    assert_eq!(
        (
            forward.space,
            forward.address,
            forward.write,
            forward.count,
            forward.size
        ),
        (Forward::PORT, PORT, 1, 1, 4)
    );
    assert_eq!(bytes, [1, 2, 3, 4]);
    guest.done(&forward, 0, &[]);
    assert_eq!(
        (
            guest.context.rip,
            guest.registers.general[1],
            guest.registers.general[6]
        ),
        (CODE + 1, 7, DATA + 4)
    );
}

#[test]
fn rep_outs_goes_page_by_page_and_every_byte_is_written_once() {
    let mut guest = guest(&[0xf3, 0x6e], 5000, DATA + 0xf00);
    let data = pattern(5000);
    guest.put(DATA + 0xf00, &data);
    let mut written = Vec::new();
    let mut chunks = vec![];
    while guest.context.rip == CODE {
        let (forward, bytes) = guest.string_io(OUT | 8).forward.unwrap();
        written.extend_from_slice(&bytes);
        chunks.push(forward.count);
        guest.done(&forward, 0, &[]);
    }
    assert_eq!(chunks, [0x100, 2048, 2048, 5000 - 0x100 - 4096]);
    assert!(written == data);
    assert_eq!(
        (guest.registers.general[1], guest.registers.general[6]),
        (0, DATA + 0xf00 + 5000)
    );
}

#[test]
fn a_guest_that_steps_moves_one_element_at_a_time() {
    let mut guest = guest(&[0xf3, 0x6e], 2, DATA);
    guest.context.rflags |= 1 << 8;
    guest.put(DATA, &[1, 2]);
    for (left, rip) in [(1, CODE), (0, CODE + 2)] {
        let (forward, bytes) = guest.string_io(OUT | 8).forward.unwrap();
        assert_eq!(bytes.len(), 1);
        guest.done(&forward, 0, &[]);
        assert_eq!((guest.registers.general[1], guest.context.rip), (left, rip));
    }
}

#[test]
fn rep_ins_writes_memory_and_sets_the_dirty_bit() {
    let mut guest = guest(&[0xf3, 0x66, 0x6d], 256, DATA + 0x2000);
    guest.put(DATA_TABLE + 16, &((DATA + 0x2000) | 7).to_le_bytes());
    let (forward, _) = guest.string_io(IN | 8).forward.unwrap();
    assert_eq!(
        (forward.write, forward.count, forward.size, forward.address),
        (0, 256, 2, PORT)
    );
    let data = pattern(512);
    guest.done(&forward, 0, &data.clone());
    assert!(guest.get(DATA + 0x2000, 512) == data);
    assert_eq!(guest.get(DATA_TABLE + 16, 1), [0x67]);
    assert_eq!(
        (
            guest.context.rip,
            guest.registers.general[1],
            guest.registers.general[7]
        ),
        (CODE + 3, 0, DATA + 0x2200)
    );
}

#[test]
fn ins_of_one_element_writes_the_value_that_the_port_gave() {
    for (code, size) in [
        (&[0x6c][..], 1),
        (&[0x66, 0x6d], 2),
        (&[0x6d], 4),
        (&[0xf3, 0x6c], 1),
    ] {
        let mut guest = guest(code, 1, DATA);
        guest.put(DATA, &[0xee; 8]);
        let (forward, _) = guest.string_io(IN).forward.unwrap();
        assert_eq!((forward.count, usize::from(forward.size)), (1, size));
        guest.done(&forward, 0x4433_2211, &[]);
        assert_eq!(guest.get(DATA, size), &[0x11, 0x22, 0x33, 0x44][..size]);
        assert_eq!(guest.get(DATA + size as u64, 1), &[0xee]);
        assert_eq!(guest.registers.general[7], DATA + size as u64);
    }
}

#[test]
fn an_element_across_two_pages_is_moved_whole() {
    let mut guest = guest(&[0xf3, 0x6d], 2, DATA + 0xffe);
    guest.put(DATA_TABLE + 8, &((DATA + 0x9000) | LEAF).to_le_bytes());
    let (forward, _) = guest.string_io(IN | 8).forward.unwrap();
    assert_eq!(forward.count, 1);
    guest.done(&forward, 0, &[1, 2, 3, 4]);
    assert_eq!(
        (guest.get(DATA + 0xffe, 2), guest.get(DATA + 0x9000, 2)),
        (&[1, 2][..], &[3, 4][..])
    );
    assert_eq!((guest.context.rip, guest.registers.general[1]), (CODE, 1));
}

#[test]
fn a_fault_in_the_middle_leaves_the_registers_of_what_was_done() {
    let mut guest = guest(&[0xf3, 0x6c], 0x30, DATA + 0xff0);
    guest.put(DATA_TABLE + 8, &((DATA + 0x1000) | 5).to_le_bytes());
    let (forward, _) = guest.string_io(IN | 8).forward.unwrap();
    assert_eq!(forward.count, 0x10);
    guest.done(&forward, 0, &pattern(0x10));
    assert_eq!(
        (
            guest.context.rip,
            guest.registers.general[1],
            guest.registers.general[7]
        ),
        (CODE, 0x20, DATA + 0x1000)
    );
    let said = guest.string_io(IN | 8);
    assert_eq!(
        said.exception,
        Some(Exception::page_fault(3, DATA + 0x1000)),
        "present, a write"
    );
    assert!(said.registers.is_empty() && said.system.is_empty());
    guest.context.cpl = 3;
    assert_eq!(
        guest.string_io(IN | 8).exception,
        Some(Exception::page_fault(7, DATA + 0x1000))
    );
}

#[test]
fn downwards_one_element_at_a_time() {
    let mut guest = guest(&[0xf3, 0x6e], 2, DATA + 1);
    guest.context.rflags |= DF;
    guest.put(DATA, &[8, 9]);
    let (forward, bytes) = guest.string_io(OUT | 8).forward.unwrap();
    assert_eq!((forward.count, &bytes[..]), (1, &[9][..]));
    guest.done(&forward, 0, &[]);
    assert_eq!(
        (guest.context.rip, guest.registers.general[6]),
        (CODE, DATA)
    );
    let (forward, bytes) = guest.string_io(OUT | 8).forward.unwrap();
    assert_eq!(bytes, [8]);
    guest.done(&forward, 0, &[]);
    assert_eq!(
        (guest.context.rip, guest.registers.general[1]),
        (CODE + 2, 0)
    );
}

#[test]
fn rep_with_a_count_of_zero_only_moves_on() {
    let mut guest = guest(&[0xf3, 0x6e], 0, DATA);
    let said = guest.string_io(OUT | 8);
    assert!(said.resumed && said.forward.is_none());
    assert_eq!(guest.context.rip, CODE + 2);
}

#[test]
fn the_segment_of_outs_comes_from_its_prefix() {
    let mut guest = Guest::real(&[0x2e, 0x6e]);
    guest.registers.general[6] = 0x4000;
    guest.registers.segments[1].base = 0x1_0000;
    let (_, bytes) = guest.string_io(OUT).forward.unwrap();
    assert_eq!(bytes, [0x2e]);
}

#[test]
fn non_canonical_addresses_and_limits_are_protection_faults() {
    assert_eq!(
        guest(&[0x6e], 1, 1 << 47).string_io(OUT).exception,
        Some(Exception::PROTECTION)
    );
    assert_eq!(
        guest(&[0x6f], 1, (1 << 47) - 2).string_io(OUT).exception,
        Some(Exception::PROTECTION)
    );
    let mut stack = guest(&[0x36, 0x6e], 1, 0x1_0000);
    stack.context = Guest::flat32(&[]).context;
    stack.registers.segments[2] = Segment {
        limit: 0xffff,
        attributes: 0xc93,
        ..Segment::default()
    };
    assert_eq!(
        stack.string_io(OUT).exception,
        Some(Exception {
            vector: 12,
            ..Exception::PROTECTION
        })
    );
    let mut read_only = guest(&[0x6c], 1, DATA);
    read_only.context = Guest::flat32(&[]).context;
    read_only.registers.segments[0].attributes = 0xc91;
    assert_eq!(
        read_only.string_io(IN).exception,
        Some(Exception::PROTECTION)
    );
}

#[test]
fn a_limit_in_the_middle_ends_the_chunk_and_then_faults() {
    let mut guest = guest(&[0xf3, 0x6e], 4, 0x1000);
    guest.context = Guest::flat32(&[]).context;
    guest.registers.segments[3].limit = 0x1001;
    for _ in 0..2 {
        let (forward, _) = guest.string_io(OUT | 8).forward.unwrap();
        assert_eq!(forward.count, 1);
        guest.done(&forward, 0, &[]);
    }
    assert_eq!(
        guest.string_io(OUT | 8).exception,
        Some(Exception::PROTECTION)
    );
    assert_eq!(guest.registers.general[1], 2);
}

#[test]
fn outs_from_a_devices_memory_reads_the_device_and_writes_the_port() {
    let mut guest = guest(&[0xf3, 0x6e], 2, DEVICE_LINEAR);
    let (read, _) = guest.string_io(OUT | 8).forward.unwrap();
    let page = DEVICE & !0xfff;
    assert_eq!(
        (read.space, read.address, read.write, read.size),
        (Forward::MMIO, page, 0, 1)
    );
    let (write, bytes) = guest.done(&read, 0x5a, &[]).forward.unwrap();
    assert_eq!(
        (write.space, write.address, write.write, write.value),
        (Forward::PORT, 0x1f0, 1, 0x5a)
    );
    assert_eq!(bytes, []);
    guest.done(&write, 0, &[]);
    let [_, count, _, _, _, _, index, ..] = guest.registers.general;
    assert_eq!(
        (count, index, guest.context.rip),
        (1, DEVICE_LINEAR + 1, CODE)
    );
}

#[test]
fn ins_to_a_devices_memory_reads_the_port_once_and_writes_the_device() {
    let mut guest = guest(&[0xf3, 0x6c], 2, DEVICE_LINEAR);
    let (read, _) = guest.string_io(IN | 8).forward.unwrap();
    assert_eq!((read.space, read.count), (Forward::PORT, 1));
    let (write, _) = guest.done(&read, 0x5a, &[]).forward.unwrap();
    assert_eq!(
        (write.space, write.address, write.write, write.value),
        (Forward::MMIO, DEVICE & !0xfff, 1, 0x5a)
    );
    assert_eq!((guest.registers.general[1], guest.context.rip), (1, CODE));
}
