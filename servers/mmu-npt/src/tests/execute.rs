//! Instructions that the CPU carries out on a copy of the operand.

use std::vec;
use std::vec::Vec;

use atoll_protocol::effect::Forward;

use super::machine::{CODE, DATA, DATA_TABLE, DEVICE, DEVICE_LINEAR, Guest, Said};

const READ: u64 = 4;
const WRITE: u64 = 6;
const HIDDEN: u64 = 0xa_0000;
const PAGE: u64 = DEVICE & !0xfff;

/// Something that the guest's instruction made happen, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// The device was read: where, and how many bytes.
    Read(u64, u8),
    /// It was written.
    Write(u64, u8, u64),
    /// The CPU executed the instruction with this page in place of that one.
    Executed(u64, u64),
}

use Event::{Executed, Read, Write};

/// Plays devices whose every byte is the low byte of its address, and a CPU that does `execute` to the guest when it gets to it.
fn play(guest: &mut Guest, first: Said, execute: impl Fn(&mut Guest)) -> Vec<Event> {
    let (mut said, mut events) = (first, vec![]);
    while let Some((forward, bytes)) = said.forward.take() {
        assert_eq!(bytes, []);
        let value = if forward.space == Forward::STAND_IN {
            events.push(Executed(forward.address, forward.value));
            execute(guest);
            1
        } else if forward.write == 1 {
            events.push(Write(forward.address, forward.size, forward.value));
            0
        } else {
            events.push(Read(forward.address, forward.size));
            let bytes = (0..u64::from(forward.size)).rev();
            bytes.fold(0, |all, byte| all << 8 | (forward.address + byte) & 0xff)
        };
        said = guest.done(&forward, value, &[]);
    }
    assert!(said.resumed && said.exception.is_none(), "{said:?}");
    events
}

/// The CPU goes behind the instruction.
fn behind(guest: &mut Guest) {
    guest.context.rip += 4;
}

#[test]
fn a_store_of_sixteen_bytes_reaches_the_device_as_two_of_eight() {
    let mut guest = Guest::new(&[0xf3, 0x0f, 0x7f, 0x03]);
    let first = guest.fault(DEVICE, WRITE);
    let events = play(&mut guest, first, |guest| {
        guest.put(HIDDEN + 0x80, &[0x11; 8]);
        guest.put(HIDDEN + 0x88, &[0x22; 8]);
        behind(guest);
    });
    assert_eq!(
        events,
        [
            Executed(PAGE, HIDDEN),
            Write(DEVICE, 8, 0x1111_1111_1111_1111),
            Write(DEVICE + 8, 8, 0x2222_2222_2222_2222)
        ]
    );
    assert_eq!(guest.context.rip, CODE + 4);
}

#[test]
fn a_load_of_sixteen_bytes_finds_them_where_the_cpu_looks() {
    let mut guest = Guest::new(&[0xf3, 0x0f, 0x6f, 0x03]);
    let first = guest.fault(DEVICE, READ);
    let events = play(&mut guest, first, |guest| {
        let expected: Vec<u8> = (0x80..0x90).collect();
        assert_eq!(guest.get(HIDDEN + 0x80, 16), expected);
    });
    assert_eq!(
        events,
        [Read(DEVICE, 8), Read(DEVICE + 8, 8), Executed(PAGE, HIDDEN)]
    );
}

#[test]
fn what_is_read_changed_and_written_is_so_once() {
    for (code, error) in [
        (&[0xd1, 0x23][..], READ),
        (&[0x0f, 0xa5, 0x0b], READ),
        (&[0xf0, 0x0f, 0xc7, 0x0b], WRITE),
    ] {
        let mut guest = Guest::new(code);
        let size = if error == WRITE { 8 } else { 4 };
        let first = guest.fault(DEVICE, error);
        let events = play(&mut guest, first, |guest| {
            guest.put(HIDDEN + 0x80, &7_u64.to_le_bytes());
        });
        let expected = [
            Read(DEVICE, size),
            Executed(PAGE, HIDDEN),
            Write(DEVICE, size, 7),
        ];
        assert_eq!(events, expected, "{code:x?}");
    }
}

#[test]
fn push_and_pop_touch_the_device_as_the_operand_or_as_the_stack() {
    // PUSH [RBX], as the operand's read and as the stack's write; POP [RBX] the other way round.
    for (code, error, reads) in [
        ([0xff, 0x33], READ, true),
        ([0xff, 0x33], WRITE, false),
        ([0x8f, 0x03], READ, true),
        ([0x8f, 0x03], WRITE, false),
    ] {
        let mut guest = Guest::new(&code);
        let first = guest.fault(DEVICE, error);
        let events = play(&mut guest, first, |guest| {
            guest.put(HIDDEN + 0x80, &7_u64.to_le_bytes());
        });
        let expected = if reads {
            [Read(DEVICE, 8), Executed(PAGE, HIDDEN)]
        } else {
            [Executed(PAGE, HIDDEN), Write(DEVICE, 8, 7)]
        };
        assert_eq!(events, expected, "{code:x?}");
    }
}

#[test]
fn ten_bytes_of_the_x87_unit_are_eight_and_two() {
    let mut guest = Guest::new(&[0xdb, 0x2b]);
    let first = guest.fault(DEVICE, READ);
    assert_eq!(
        play(&mut guest, first, behind),
        [Read(DEVICE, 8), Read(DEVICE + 8, 2), Executed(PAGE, HIDDEN)]
    );
}

#[test]
fn fxsave_has_sixty_four_parts_and_keeps_what_it_does_not_store() {
    let mut guest = Guest::new(&[0x0f, 0xae, 0x03]);
    let first = guest.fault(PAGE, WRITE);
    let events = play(&mut guest, first, behind);
    assert_eq!(events.len(), 64 + 1 + 64);
    assert_eq!(events[0], Read(PAGE, 8));
    assert_eq!(
        events[128],
        Write(
            PAGE + 504,
            8,
            u64::from_le_bytes([0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff])
        )
    );
}

#[test]
fn an_operand_in_two_devices_pages_is_divided_whichever_faults_first() {
    let (low, high) = (PAGE + 0xffa, 0xfed0_0000);
    for order in [[low, high], [high, low]] {
        let mut guest = Guest::new(&[0xf3, 0x0f, 0x7f, 0x03]);
        let [first, second] = order;
        let said = guest.fault(first, WRITE);
        let (forward, _) = said.forward.unwrap();
        assert_eq!(forward.space, Forward::STAND_IN);
        let said = guest.fault(second, WRITE);
        let events = play(&mut guest, said, behind);
        let mut written: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Write(at, size, _) => Some((*at, *size)),
                _ => None,
            })
            .collect();
        written.sort_unstable();
        let expected = [(high, 8), (high + 8, 2), (low, 4), (low + 4, 2)];
        assert_eq!(written, expected);
    }
}

#[test]
fn an_exception_leaves_the_device_as_it_was() {
    let mut guest = Guest::new(&[0xd1, 0x23]);
    let (read, _) = guest.fault(DEVICE, READ).forward.unwrap();
    let (stand_in, _) = guest.done(&read, 1, &[]).forward.unwrap();
    let said = guest.done(&stand_in, 0, &[]);
    assert!(said.resumed && said.forward.is_none());
    let (read, _) = guest.fault(DEVICE, READ).forward.unwrap();
    let (stand_in, _) = guest.done(&read, 1, &[]).forward.unwrap();
    assert_eq!(stand_in.value, HIDDEN, "it begins anew");
}

#[test]
fn what_comes_back_of_an_instruction_that_nobody_knows_of_is_let_pass() {
    let mut guest = Guest::new(&[0xd1, 0x23]);
    let (read, _) = guest.fault(DEVICE, READ).forward.unwrap();
    let (stand_in, _) = guest.done(&read, 1, &[]).forward.unwrap();
    // A successor took the server's place meanwhile.
    let mut successor = Guest::new(&[0xd1, 0x23]);
    for forward in [read, stand_in] {
        let said = successor.done(&forward, 1, &[]);
        assert!(said.resumed && said.forward.is_none());
    }
}

#[test]
fn cmps_with_both_operands_in_devices_is_executed_with_two_pages() {
    let mut guest = Guest::new(&[0xa6]);
    guest.registers.general[6] = DEVICE_LINEAR;
    guest.put(DATA_TABLE, &(0xfed0_0000_u64 | 0x67).to_le_bytes());
    guest.registers.general[7] = DATA;
    let said = guest.fault(PAGE, READ);
    let (read, _) = said.forward.unwrap();
    let (first, _) = guest.done(&read, 1, &[]).forward.unwrap();
    assert_eq!((first.space, first.value), (Forward::STAND_IN, HIDDEN));
    let said = guest.fault(0xfed0_0000, READ);
    assert_eq!(
        play(&mut guest, said, behind),
        [Read(0xfed0_0000, 1), Executed(0xfed0_0000, HIDDEN + 0x1000)]
    );
}

#[test]
fn an_instruction_that_is_refused_leaves_no_operand_to_the_next_one_there() {
    let mut guest = Guest::new(&[0xd9, 0x06]);
    guest.registers.general[6] = DEVICE_LINEAR;
    let (read, _) = guest.fault(PAGE, READ).forward.unwrap();
    guest.done(&read, 1, &[]);
    // A load that writes is none of its own: an exception is delivered on a device, say.
    let said = guest.fault(0xfed0_0000, WRITE);
    assert!(said.exception.is_some(), "{said:?}");
    let said = guest.fault(0xfed0_0000, READ);
    let events = play(&mut guest, said, behind);
    assert_eq!(events.last(), Some(&Executed(0xfed0_0000, HIDDEN)));
}
