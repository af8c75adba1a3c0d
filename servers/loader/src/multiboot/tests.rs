//! Multiboot and PVH kernels made by hand.

extern crate std;

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use crate::memory::{ACPI, BOOT_INFO, CMDLINE};
use crate::tests::{DIRT, Placed, load};

const MAGIC: u32 = 0x1bad_b002;

fn words(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// A header with address fields at offset 64 of a flat file that is loaded at 2 MiB.
fn flat(flags: u32) -> Vec<u8> {
    let mut file = vec![0x90; 64];
    let load = 0x20_0000;
    let check = 0_u32.wrapping_sub(MAGIC).wrapping_sub(flags);
    file.extend(words(&[
        MAGIC,
        flags,
        check,
        load + 48,
        load,
        0,
        load + 0x5000,
        load + 100,
    ]));
    file.resize(300, 7);
    file
}

/// An ELF32 file of one segment at 1 MiB that begins with a multiboot header, or with a PVH note.
fn elf(header: &[u8], note: bool) -> Vec<u8> {
    let mut file = vec![
        0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 1, 0, 0, 0,
    ];
    file.extend(words(&[0x10_0040, 52, 0, 0]));
    file.extend([52, 0, 32, 0, 1 + u8::from(note), 0, 40, 0, 0, 0, 0, 0]);
    let offset = 52 + 32 * (1 + u32::from(note));
    let length = header.len() as u32;
    file.extend(words(&[
        1,
        offset,
        0xc010_0000,
        0x10_0000,
        length,
        length + 0x2000,
        5,
        4096,
    ]));
    if note {
        file.extend(words(&[4, offset, 0, 0, length, length, 4, 4]));
    }
    file.extend(header);
    file
}

fn multiboot_elf() -> Vec<u8> {
    elf(
        &words(&[
            MAGIC,
            3,
            0_u32.wrapping_sub(MAGIC).wrapping_sub(3),
            0x5555_5555,
        ]),
        false,
    )
}

fn pvh_elf() -> Vec<u8> {
    let mut note = words(&[4, 4, 18]);
    note.extend(b"Xen\0");
    note.extend(words(&[0x10_0010]));
    elf(&note, true)
}

fn with_all(kernel: &[u8]) -> Placed {
    load(
        &[
            ("guest/kernel", kernel),
            ("guest/initrd", &[9; 5000]),
            ("guest/cmdline", b"quiet\n"),
        ],
        "",
    )
    .unwrap()
}

#[test]
fn a_flat_multiboot_kernel_is_placed_by_its_header() {
    let placed = with_all(&flat(0x1_0003));
    assert_eq!(
        placed.word(0x20_0000 + 48),
        MAGIC,
        "the header is where it says it is"
    );
    assert_eq!(placed.bytes(0x20_0000 + 48 + 32, 1), [7]);
    let state = placed.state;
    assert_eq!(
        (state.rip, state.general[0], state.general[3]),
        (0x20_0064, 0x2bad_b002, BOOT_INFO)
    );
    assert_eq!(
        (state.cr0, state.segments[1].attributes, state.rflags),
        (0x11, 0xc9b, 2)
    );

    assert!(
        placed.is_zero(0x20_0000 + 284, 0x5000 - 284),
        "what the header calls bss is zero"
    );

    let info = |offset: u64| placed.word(BOOT_INFO + offset);
    assert_eq!(info(0), 0x24d);
    assert_eq!((info(4), info(8)), (639, 63 * 1024));
    assert_eq!(placed.bytes(info(16).into(), 13), b"kernel quiet\0");
    let module = u64::from(info(24));
    assert_eq!(
        (info(20), placed.word(module), placed.word(module + 4)),
        (1, 0x20_5000, 0x20_5000 + 5000)
    );
    assert_eq!(placed.bytes(0x20_5000, 5000), [9; 5000]);
    let map = u64::from(info(48));
    assert_eq!(info(44), 6 * 24);
    assert_eq!(
        (
            placed.word(map),
            placed.double(map + 4),
            placed.double(map + 12),
            placed.word(map + 20)
        ),
        (20, 0, 0x9_fc00, 1)
    );
    assert_eq!(placed.bytes(info(64).into(), 6), b"Atoll\0");
}

#[test]
fn a_multiboot_elf_is_placed_by_physical_address() {
    let placed = with_all(&multiboot_elf());
    assert_eq!(
        (placed.word(0x10_0000), placed.word(0x10_000c)),
        (MAGIC, 0x5555_5555)
    );
    assert_eq!(
        (placed.state.rip, placed.state.general[0]),
        (0x10_0040, 0x2bad_b002)
    );
    assert!(
        placed.is_zero(0x10_0010, 0x2000),
        "what the file does not fill is zero"
    );
    assert_eq!(placed.bytes(0x10_2010, 1), [DIRT]);
    assert_eq!(placed.bytes(0x10_3000, 1), [9], "the module is above it");
}

#[test]
fn a_pvh_kernel_gets_its_start_info() {
    let placed = with_all(&pvh_elf());
    let state = placed.state;
    assert_eq!(
        (state.rip, state.general[0], state.general[3]),
        (0x10_0010, 0, BOOT_INFO)
    );
    let info = |offset: u64| placed.word(BOOT_INFO + offset);
    assert_eq!((info(0), info(4), info(12)), (0x336e_c578, 1, 1));
    let module = placed.double(BOOT_INFO + 16);
    assert_eq!(placed.bytes(placed.double(module), 5000), [9; 5000]);
    assert_eq!(placed.double(module + 8), 5000);
    assert_eq!(
        (placed.double(BOOT_INFO + 24), placed.double(BOOT_INFO + 32)),
        (CMDLINE, ACPI)
    );
    assert_eq!(placed.bytes(ACPI, 8), b"RSD PTR ");
    let map = placed.double(BOOT_INFO + 40);
    assert_eq!(
        (
            info(48),
            placed.double(map + 3 * 24),
            placed.double(map + 3 * 24 + 8)
        ),
        (6, 1 << 20, 63 << 20)
    );
}

#[test]
fn what_a_kernel_demands_and_nobody_knows_is_refused() {
    let refused = |kernel: &[u8]| load(&[("guest/kernel", kernel)], "").err().unwrap();
    assert!(refused(&flat(0x1_0103)).contains("unknown multiboot features 0x100"));
    assert!(
        refused(&elf(&[1; 40], false)).contains("neither"),
        "no note, no header"
    );
    let mut far = flat(0x1_0003);
    // The header claims to be below the load address.
    far[64 + 12..64 + 16].copy_from_slice(&0x1000_u32.to_le_bytes());
    assert!(refused(&far).contains("multiboot header is damaged"));
}

#[test]
fn a_multiboot_command_line_begins_with_the_kernels_name() {
    let placed = load(
        &[
            ("guest/kernel", &flat(0x1_0003)),
            ("guest/name", b"xen.gz"),
            ("guest/cmdline", b"console=com1"),
        ],
        "",
    )
    .unwrap();
    let line = u64::from(placed.word(BOOT_INFO + 16));
    assert_eq!(placed.bytes(line, 20), b"xen.gz console=com1\0");
}

#[test]
fn several_modules_lie_one_above_the_other_each_with_its_text() {
    let placed = load(
        &[
            ("guest/kernel", &flat(0x1_0003)),
            ("guest/initrd", &[9; 5000]),
            ("guest/module/1", &[8; 100]),
            ("guest/module/1/cmdline", b"vmlinuz root=/dev/sda"),
            ("guest/module/2", &[7; 10]),
        ],
        "",
    )
    .unwrap();
    let info = |offset: u64| placed.word(BOOT_INFO + offset);
    assert_eq!(info(20), 3);
    let list = u64::from(info(24));
    let module =
        |number: u64| [0, 4, 8].map(|offset| u64::from(placed.word(list + 16 * number + offset)));
    let [start, end, text] = module(1);
    assert_eq!(
        (end - start, placed.bytes(start, 100)),
        (100, &[8; 100][..])
    );
    assert_eq!(placed.bytes(text, 22), b"vmlinuz root=/dev/sda\0");
    let [start, end, text] = module(2);
    assert_eq!((end - start, placed.bytes(start, 10)), (10, &[7; 10][..]));
    assert_eq!(placed.bytes(text, 1), [0]);
    assert!(module(0)[1] <= module(1)[0] && module(1)[2] < module(2)[0]);
}

#[test]
fn a_kernel_below_one_mebibyte_is_placed_and_its_command_line_beside_it() {
    let mut low = multiboot_elf();
    for (at, value) in [(12, 0x9000_u32), (20, 0x2_0000)] {
        low[52 + at..52 + at + 4].copy_from_slice(&value.to_le_bytes());
    }
    let placed = with_all(&low);
    assert_eq!(placed.word(0x9000), MAGIC);
    let line = u64::from(placed.word(BOOT_INFO + 16));
    assert!(line < BOOT_INFO);
    assert_eq!(placed.bytes(line, 13), b"kernel quiet\0");
    assert_eq!(placed.bytes(0x10_0000, 1), [9], "the module is above 1 MiB");
}

#[test]
fn a_kernel_outside_ram_or_on_the_loaders_own_is_refused() {
    for (at, text) in [
        (0x1000_u32, "at 0x1000"),
        (0x9_f000, "at 0x9f000"),
        (0xb_8000, "at 0xb8000"),
    ] {
        let mut low = multiboot_elf();
        low[52 + 12..52 + 16].copy_from_slice(&at.to_le_bytes());
        let refused = load(&[("guest/kernel", &low)], "").err().unwrap();
        assert!(refused.contains(text), "{refused}");
    }
}

proptest! {
    #[test]
    fn no_damage_panics(damage in proptest::collection::vec((0_usize..200, any::<u8>()), 1..6), which in 0..3, cut in 100_usize..300) {
        let mut file = match which {
            0 => flat(0x1_0003),
            1 => multiboot_elf(),
            _ => pvh_elf(),
        };
        for (place, value) in damage {
            if let Some(byte) = file.get_mut(place) {
                *byte = value;
            }
        }
        file.truncate(cut);
        let _ = load(&[("guest/kernel", &file), ("guest/initrd", &[1; 100])], "");
    }
}
