//! bzImages made by hand.

extern crate std;

use std::vec;
use std::vec::Vec;

use atoll_protocol::message::Machine;
use atoll_sdk::harness::MACHINE;
use proptest::prelude::*;

use super::*;
use crate::memory::{ACPI, CMDLINE, GDT, PAGE_TABLES};
use crate::tests::{load, load_into};

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A kernel of boot protocol 2.15 with one sector of setup code, whose code begins with `code`.
fn kernel() -> Vec<u8> {
    let mut file = vec![0; 1024 + 3000];
    file[START_OF_HEADER] = 1;
    put(&mut file, 0x1fe, &0xaa55_u16.to_le_bytes());
    put(&mut file, 0x200, &[0xeb, 0x6a]);
    put(&mut file, 0x202, b"HdrS");
    put(&mut file, 0x206, &0x20f_u16.to_le_bytes());
    file[0x211] = 1;
    put(&mut file, 0x22c, &0x7fff_ffff_u32.to_le_bytes());
    put(&mut file, 0x230, &0x20_0000_u32.to_le_bytes());
    file[0x234] = 1;
    put(&mut file, 0x236, &0x3f_u16.to_le_bytes());
    put(&mut file, 0x238, &2047_u32.to_le_bytes());
    put(&mut file, 0x258, &0x100_0000_u64.to_le_bytes());
    put(&mut file, 0x260, &0x80_0000_u32.to_le_bytes());
    put(&mut file, 1024, b"code");
    file
}

const START_OF_HEADER: usize = 0x1f1;

#[test]
fn a_kernel_is_placed_and_entered_in_long_mode() {
    let kernel = kernel();
    let files = [
        ("guest/kernel", &kernel[..]),
        ("guest/initrd", &[9; 5000]),
        ("guest/cmdline", b"console=ttyS0\n"),
    ];
    let placed = load(&files, "").unwrap();
    assert_eq!(placed.bytes(0x100_0000, 4), b"code");
    assert_eq!(placed.bytes(CMDLINE, 14), b"console=ttyS0\0");
    let initrd = (64 << 20) - 0x2000;
    assert_eq!(placed.bytes(initrd, 5000), [9; 5000]);

    assert!(
        placed.is_zero(BOOT_INFO, 2) && placed.is_zero(BOOT_INFO + 0xf00, 0x100),
        "what the zero page does not say is zero"
    );
    assert!(
        placed.is_zero(0x500 + 0x100, 0xa00) && placed.is_zero(0xc_0000, 0x2_0000),
        "what the firmware's data and tables do not say is zero"
    );

    let zero = |offset: u64| placed.word(BOOT_INFO + offset);
    assert_eq!(placed.bytes(BOOT_INFO + 0x202, 4), b"HdrS");
    assert_eq!((zero(0x218), zero(0x21c)), (initrd as u32, 5000));
    assert_eq!(zero(0x228), CMDLINE as u32);
    assert_eq!(placed.bytes(BOOT_INFO + 0x210, 1), [0xff]);
    assert_eq!(placed.double(BOOT_INFO + 0x70), ACPI);
    assert_eq!(placed.bytes(BOOT_INFO + 0x1e8, 1), [6]);
    let high = BOOT_INFO + 0x2d0 + 3 * 20;
    assert_eq!(
        (
            placed.double(high),
            placed.double(high + 8),
            placed.word(high + 16)
        ),
        (1 << 20, 63 << 20, 1)
    );

    let state = placed.state;
    assert_eq!(
        (state.rip, state.general[cpu::RSI], state.rflags),
        (0x100_0200, BOOT_INFO, 2)
    );
    assert_eq!(
        (state.cr0, state.cr3, state.cr4, state.efer),
        (0x8000_0011, PAGE_TABLES, 0x20, 0x500)
    );
    assert_eq!(
        (state.segments[1].selector, state.segments[3].selector),
        (0x10, 0x18)
    );
    assert_eq!((state.gdtr.base, state.gdtr.limit), (GDT, 31));
    assert_eq!(placed.double(GDT + 0x10), 0x00af_9b00_0000_ffff);
    assert_eq!(
        placed.log,
        "guest: bzImage in long mode, entry 0x1000200, kernel 3000 bytes, initrd 5000 bytes"
    );
}

#[test]
fn the_page_tables_map_four_gibibytes_one_to_one() {
    let placed = load(&[("guest/kernel", &kernel())], "").unwrap();
    let absent =
        |table: u64, from: u64| (from..512).all(|entry| placed.double(table + entry * 8) == 0);
    assert!(
        absent(PAGE_TABLES, 1) && absent(PAGE_TABLES + 0x1000, 4),
        "nothing else is mapped"
    );
    for address in [0_u64, 0x1234_5678, 0xfee0_0000, 0xffff_ffff] {
        let table = placed.double(PAGE_TABLES + (address >> 39) * 8) & !0xfff;
        let directory = placed.double(table + (address >> 30) * 8) & !0xfff;
        assert_eq!(
            placed.double(directory + (address >> 21 & 0x1ff) * 8),
            address & !0x1f_ffff | 0x83
        );
    }
    assert!(placed.answers > 1, "this cannot fit one answer");
}

#[test]
fn the_protected_mode_entry_is_taken_if_asked_for_or_alone() {
    let mut old = kernel();
    old[0x236] = 0;
    for placed in [
        load(&[("guest/kernel", &kernel())], "entry=32").unwrap(),
        load(&[("guest/kernel", &old)], "").unwrap(),
    ] {
        let state = placed.state;
        assert_eq!(
            (state.rip, state.cr0, state.cr4, state.efer),
            (0x100_0000, 0x11, 0, 0)
        );
        assert_eq!(placed.double(GDT + 0x10), 0x00cf_9b00_0000_ffff);
        assert_eq!(state.segments[1].attributes, 0xc9b);
    }
}

#[test]
fn a_relocatable_kernel_moves_down_in_a_small_machine() {
    let small = Machine {
        memory: 12 << 20,
        ..MACHINE
    };
    let placed = load_into(&small, &[("guest/kernel", &kernel())], "").unwrap();
    assert_eq!(placed.state.rip, 0x20_0200);
    assert_eq!(placed.word(BOOT_INFO + 0x214), 0x20_0000);
}

#[test]
fn what_does_not_fit_is_refused_with_its_size() {
    let tiny = Machine {
        memory: 8 << 20,
        ..MACHINE
    };
    let refused = load_into(&tiny, &[("guest/kernel", &kernel())], "")
        .err()
        .unwrap();
    assert_eq!(
        refused,
        "cannot load the guest: guest memory has no room for 8388608 bytes of the kernel at 0x1000000"
    );
    let big = vec![1; 41 << 20];
    let refused = load(&[("guest/kernel", &kernel()), ("guest/initrd", &big)], "")
        .err()
        .unwrap();
    assert!(
        refused.contains("42991616 bytes of the initrd"),
        "{refused}"
    );
    let refused = load(
        &[
            ("guest/kernel", &kernel()),
            ("guest/cmdline", &[b'x'; 2048]),
        ],
        "",
    )
    .err()
    .unwrap();
    assert!(
        refused.contains("has 2048 bytes, the kernel takes 2047"),
        "{refused}"
    );
}

#[test]
fn an_initrd_stays_below_the_kernels_limit() {
    let mut kernel = kernel();
    put(&mut kernel, 0x22c, &0x1ff_ffff_u32.to_le_bytes());
    let placed = load(
        &[("guest/kernel", &kernel), ("guest/initrd", &[1; 0x1000])],
        "",
    )
    .unwrap();
    assert_eq!(placed.word(BOOT_INFO + 0x218), 0x1ff_f000);
}

#[test]
fn old_and_damaged_kernels_are_refused() {
    let mut old = kernel();
    put(&mut old, 0x206, &0x1ff_u16.to_le_bytes());
    assert!(
        load(&[("guest/kernel", &old)], "")
            .err()
            .unwrap()
            .contains("boot protocol 1.255")
    );
    let mut odd = kernel();
    odd[0x230] = 3;
    assert!(
        load(&[("guest/kernel", &odd)], "")
            .err()
            .unwrap()
            .contains("setup header is damaged")
    );
    let cut = &kernel()[..1024];
    assert!(
        load(&[("guest/kernel", cut)], "")
            .err()
            .unwrap()
            .contains("protected-mode part is damaged")
    );
}

proptest! {
    #[test]
    fn no_damage_to_the_header_panics(damage in proptest::collection::vec((0x1f1_usize..0x270, any::<u8>()), 1..6), length in 512_usize..4024) {
        let mut file = kernel();
        for (place, value) in damage {
            file[place] = value;
        }
        file.truncate(length);
        let _ = load(&[("guest/kernel", &file), ("guest/initrd", &[1; 100])], "");
    }
}
