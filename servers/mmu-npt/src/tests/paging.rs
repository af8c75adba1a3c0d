//! Walks of the guest's tables in every format, and what hostile tables, code and registers do: nothing.

use atoll_protocol::vcpu::{Context, Exception, Segment};
use atoll_sdk::GuestMemory;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

use crate::walk::{Access, WalkError, walk};

const ROOT: u64 = 0x1000;
const NX: u64 = 1 << 63;
const BITS: u64 = 40;

/// Memory with words at the given places.
fn memory(words: &[(u64, u64)]) -> Vec<u8> {
    let mut bytes = vec![0; 0x10_0000];
    for (gpa, word) in words {
        bytes[*gpa as usize..][..8].copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn context(cr4: u64, efer: u64, cpl: u8) -> Context {
    Context {
        cr0: 0x8001_0001,
        cr3: ROOT,
        cr4,
        efer,
        cpl,
        ..Context::default()
    }
}

fn translate(
    bytes: &[u8],
    context: &Context,
    linear: u64,
    access: Access,
) -> Result<u64, WalkError> {
    walk(context, &GuestMemory::slice(bytes), BITS, linear, access).map(|walk| walk.gpa)
}

#[test]
fn without_paging_an_address_is_itself() {
    let context = Context {
        cr0: 1,
        ..Context::default()
    };
    assert_eq!(
        translate(&[], &context, 0x1234_5678, Access::Write),
        Ok(0x1234_5678)
    );
}

#[test]
fn four_levels_with_small_large_and_huge_pages() {
    let bytes = memory(&[
        (0x1000, 0x2007),
        (0x2000, 0x3007),
        (0x2008, 0x4000_0087),
        (0x3000, 0x4007),
        (0x3008, 0x60_0087),
        (0x4008, 0x9007),
    ]);
    let context = context(0x20, 0xd00, 0);
    assert_eq!(
        translate(&bytes, &context, 0x1abc, Access::Read),
        Ok(0x9abc)
    );
    assert_eq!(
        translate(&bytes, &context, 0x21_2345, Access::Read),
        Ok(0x61_2345)
    );
    assert_eq!(
        translate(&bytes, &context, 0x4123_4567, Access::Read),
        Ok(0x4123_4567)
    );
    assert_eq!(
        translate(&bytes, &context, 0x2abc, Access::Read),
        Err(WalkError::PageFault(0))
    );
    assert_eq!(
        translate(&bytes, &context, 1 << 39, Access::Write),
        Err(WalkError::PageFault(2))
    );
}

#[test]
fn pae_has_four_pointers_without_rights() {
    let bytes = memory(&[
        (0x1018, 0x3001),
        (0x3000, 0x4007),
        (0x4000, 0x9007 | NX),
        (0x3008, 0x20_0087),
    ]);
    let context = context(0x20, 0x800, 3);
    assert_eq!(
        translate(&bytes, &context, 0xc000_0123, Access::Write),
        Ok(0x9123)
    );
    assert_eq!(
        translate(&bytes, &context, 0xc020_0123, Access::Write),
        Ok(0x20_0123)
    );
    assert_eq!(
        translate(&bytes, &context, 0x123, Access::Read),
        Err(WalkError::PageFault(4))
    );
    assert_eq!(
        translate(&bytes, &context, 0x1_c000_0123, Access::Write),
        Ok(0x9123),
        "32 bits of address"
    );
}

#[test]
fn thirty_two_bit_tables_have_four_byte_entries_and_four_mebibyte_pages() {
    let bytes = memory(&[
        (0x1000, 0x0080_0087_0000_2007),
        (0x2000, 0x0000_9007_0000_8007),
    ]);
    let context = context(0x10, 0, 3);
    assert_eq!(
        translate(&bytes, &context, 0x0abc, Access::Write),
        Ok(0x8abc)
    );
    assert_eq!(
        translate(&bytes, &context, 0x1abc, Access::Write),
        Ok(0x9abc)
    );
    assert_eq!(
        translate(&bytes, &context, 0x41_2345, Access::Write),
        Ok(0x81_2345)
    );
    let without_pse = Context { cr4: 0, ..context };
    assert_eq!(
        translate(&bytes, &without_pse, 0x40_1234, Access::Read),
        Err(WalkError::TableNotRam)
    );
}

#[test]
fn rights_are_those_of_the_whole_path() {
    let tables = |middle: u64, leaf: u64| {
        memory(&[
            (0x1000, 0x2007),
            (0x2000, 0x3007),
            (0x3000, 0x4000 | middle),
            (0x4000, 0x9000 | leaf),
        ])
    };
    let long = |cpl| context(0x20, 0xd00, cpl);
    let read_only = tables(5, 7);
    assert_eq!(
        translate(&read_only, &long(0), 0, Access::Write),
        Err(WalkError::PageFault(3))
    );
    assert_eq!(
        translate(&read_only, &long(3), 0, Access::Write),
        Err(WalkError::PageFault(7))
    );
    assert_eq!(translate(&read_only, &long(3), 0, Access::Read), Ok(0x9000));
    let without_wp = Context {
        cr0: 0x8000_0001,
        ..long(0)
    };
    assert_eq!(
        translate(&read_only, &without_wp, 0, Access::Write),
        Ok(0x9000)
    );
    let kernel_only = tables(3, 7);
    assert_eq!(
        translate(&kernel_only, &long(3), 0, Access::Read),
        Err(WalkError::PageFault(5))
    );
    assert_eq!(
        translate(&kernel_only, &long(0), 0, Access::Write),
        Ok(0x9000)
    );
    let user = tables(7, 7);
    let smap = Context {
        cr4: 0x20_0020,
        ..long(0)
    };
    assert_eq!(
        translate(&user, &smap, 0, Access::Read),
        Err(WalkError::PageFault(1))
    );
    assert_eq!(
        translate(
            &user,
            &Context {
                rflags: 1 << 18,
                ..smap
            },
            0,
            Access::Read
        ),
        Ok(0x9000)
    );
}

#[test]
fn reserved_bits_are_a_fault_of_their_own() {
    let tables = |leaf: u64| {
        memory(&[
            (0x1000, 0x2007),
            (0x2000, 0x3007),
            (0x3000, 0x4007),
            (0x4000, leaf),
        ])
    };
    let context = context(0x20, 0x500, 0);
    assert_eq!(
        translate(&tables(0x9007 | NX), &context, 0, Access::Read),
        Err(WalkError::PageFault(9)),
        "NX without NXE"
    );
    assert_eq!(
        translate(&tables(0x9007 | 1 << 45), &context, 0, Access::Read),
        Err(WalkError::PageFault(9))
    );
    let large_root = memory(&[(0x1000, 0x2087)]);
    assert_eq!(
        translate(&large_root, &context, 0, Access::Read),
        Err(WalkError::PageFault(9))
    );
}

#[test]
fn a_stack_segment_that_expands_down_has_its_limit_below() {
    let mut guest = super::machine::Guest::flat32(&[0x36, 0x6e]);
    guest.registers.segments[2] = Segment {
        limit: 0xfff,
        attributes: 0xc97,
        ..Segment::default()
    };
    guest.registers.general[6] = 0x1000;
    assert!(guest.string_io(4).forward.is_some());
    guest.registers.general[6] = 0xfff;
    assert_eq!(
        guest.string_io(4).exception,
        Some(Exception {
            vector: 12,
            ..Exception::PROTECTION
        })
    );
}

#[test]
fn a_page_directory_that_is_its_own_leaf_is_swapped_once() {
    let mut guest = super::machine::Guest::new(&[0x6c]);
    let root = super::machine::ROOT;
    // The last root entry maps the root itself: the address whose indices are all 511 is the root's own page.
    guest.put(root + 511 * 8, &(root | 3).to_le_bytes());
    guest.registers.general[7] = 0xffff_ffff_ffff_f000;
    let (forward, _) = guest.string_io(5).forward.unwrap();
    let said = guest.done(&forward, 0, &[0x27]);
    assert_eq!(said.swaps, [(root + 511 * 8, root | 3, root | 0x63)]);
    assert_eq!(said.writes, [(root, vec![0x27])]);
}

/// Bytes that often are an instruction with prefixes that has an emulation.
fn code() -> impl Strategy<Value = Vec<u8>> {
    let prefix = prop::sample::select(vec![
        0xf3_u8, 0xf2, 0xf0, 0x66, 0x67, 0x48, 0x4c, 0x65, 0x36, 0x2e,
    ]);
    let opcode = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        any::<u8>().prop_map(|byte| vec![0x0f, byte]),
        prop::sample::select(vec![
            0x6c_u8, 0x6d, 0x6e, 0x6f, 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf
        ])
        .prop_map(|byte| vec![byte]),
    ];
    (
        prop::collection::vec(prefix, 0..4),
        opcode,
        prop::collection::vec(any::<u8>(), 12),
    )
        .prop_map(|(prefixes, opcode, rest)| [prefixes, opcode, rest].concat())
}

proptest! {
    #[test]
    fn no_tables_and_no_address_make_a_walk_panic_or_run_away(
        words in prop::collection::vec((0_u64..0x800, any::<u64>()), 0..64),
        cr3: u64, cr4: u64, efer: u64, cpl in 0_u8..4, linear: u64, small: bool
    ) {
        // Entries mostly present and pointing into the little RAM there is, so that walks go deep.
        let words: Vec<_> = words.iter().map(|(place, word)| (place * 8, if small { word & 0x8000_0000_0000_3fff | 1 } else { *word })).collect();
        let bytes = memory(&words);
        let cr3 = if small { cr3 & 0x3fff } else { cr3 };
        let context = Context { cr3, ..context(cr4, efer, cpl) };
        for access in [Access::Fetch, Access::Read, Access::Write] {
            let _ = walk(&context, &GuestMemory::slice(&bytes), BITS, linear, access);
        }
    }

    #[test]
    fn no_code_and_no_registers_make_the_server_panic(
        code in code(), general in prop::array::uniform16(prop_oneof![any::<u64>(), 0..0x40_0000_u64, 0..4_u64]), mode in 0_u8..3, error in prop::sample::select(vec![4_u64, 6]),
        exit in 0_u64..0x100, value: u64
    ) {
        let mut guest = match mode {
            0 => super::machine::Guest::new(&code),
            1 => super::machine::Guest::flat32(&code),
            _ => super::machine::Guest::real(&code),
        };
        guest.registers.general = general;
        let start = guest.context;
        let said = guest.fault(super::machine::DEVICE, error);
        if let Some((forward, _)) = said.forward.filter(|(forward, _)| forward.finish == 2) {
            guest.done(&forward, value, &[]);
        }
        guest.context = start;
        guest.instruction(exit);
        guest.context = start;
        if let Some((forward, bytes)) = guest.string_io(4 | exit & 8).forward {
            guest.done(&forward, 0, if forward.write == 1 { &[] } else { &[0x5a; 2048] });
            prop_assert!(bytes.len() <= 2048);
        }
    }
}
