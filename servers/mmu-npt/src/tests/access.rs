//! Mappings, and plain loads and stores.

use atoll_protocol::effect::{Effect, Forward, Mapping};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Body, NestedFault};
use atoll_protocol::units::Gpa;
use atoll_protocol::vcpu::{Context, Exception};
use atoll_sdk::harness::{Harness, MACHINE};
use std::vec;

use super::machine::{CODE, DATA, DATA_TABLE, DEVICE, Guest, LEAF, ROOT};
use crate::MmuNpt;

const READ: u64 = 4;
const WRITE: u64 = 6;

fn map(options: &str, gpa: u64) -> Mapping {
    let (mut server, _) = Harness::<MmuNpt>::start(
        &MACHINE,
        &Setup {
            options,
            ..Setup::default()
        },
    );
    server.guest = vec![0; MACHINE.memory as usize];
    let fault = Fixed(NestedFault {
        gpa: Gpa(gpa),
        error: 0x1_0000_0006,
    });
    let answer = server.deliver(Body::MemoryFault(fault));
    match answer.effects()[..] {
        [Effect::Map(mapping), Effect::Resume] => mapping.0,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_fault_on_ram_is_answered_with_a_mapping() {
    let mapping = |gpa, size| Mapping {
        gpa: Gpa(gpa),
        size,
        access: 3,
    };
    assert_eq!(map("", 0x123_4567), mapping(0x120_0000, Mapping::LARGE));
    assert_eq!(map("", 0x1234), mapping(0x1000, Mapping::SMALL));
    assert_eq!(
        map("pages=4K", 0x123_4567),
        mapping(0x123_4000, Mapping::SMALL)
    );
    assert_eq!(
        map("pages_4k=0x1200000-0x1400000", 0x123_4567),
        mapping(0x123_4000, Mapping::SMALL)
    );
    assert_eq!(
        map("pages_4k=0x1200000-0x1400000", 0x143_4567),
        mapping(0x140_0000, Mapping::LARGE)
    );
}

#[test]
fn a_fault_on_the_vga_window_is_not_one_on_ram() {
    let (mut server, _) = Harness::<MmuNpt>::start(&MACHINE, &Setup::default());
    server.guest = vec![0; MACHINE.memory as usize];
    let fault = Fixed(NestedFault {
        gpa: Gpa(0xb_8000),
        error: 0x1_0000_0006,
    });
    assert_eq!(
        server.deliver(Body::MemoryFault(fault)).effects(),
        [Effect::NeedRegisters]
    );
}

#[test]
fn a_load_is_forwarded_with_its_register_and_the_next_instruction() {
    let mut guest = Guest::new(&[0x44, 0x8b, 0x0b]);
    let said = guest.fault(DEVICE, READ);
    let expected = Forward {
        address: DEVICE,
        rip_or_token: CODE + 3,
        count: 1,
        space: Forward::MMIO,
        size: 4,
        finish: Forward::LOAD,
        register: 9,
        width: 4,
        ..Forward::default()
    };
    assert_eq!(said.forward, Some((expected, vec![])));
}

#[test]
fn loads_with_extension_say_how() {
    for (code, size, width, sign) in [
        (&[0x0f, 0xb6, 0x03][..], 1, 4, 0),
        (&[0x48, 0x0f, 0xbf, 0x03], 2, 8, 1),
        (&[0x48, 0x63, 0x03], 4, 8, 1),
    ] {
        let (forward, _) = Guest::new(code).fault(DEVICE, READ).forward.unwrap();
        assert_eq!(
            (forward.size, forward.width, forward.sign),
            (size, width, sign)
        );
    }
}

#[test]
fn a_store_names_its_register_or_its_value() {
    let (forward, _) = Guest::new(&[0x89, 0x0b])
        .fault(DEVICE, WRITE)
        .forward
        .unwrap();
    assert_eq!(
        (forward.write, forward.source, forward.size, forward.finish),
        (1, 1, 4, Forward::STORE)
    );
    let (forward, _) = Guest::new(&[0xc7, 0x03, 0xb0, 0, 0, 0x80])
        .fault(DEVICE, WRITE)
        .forward
        .unwrap();
    assert_eq!(
        (forward.source, forward.value as u32, forward.rip_or_token),
        (Forward::IMMEDIATE, 0x8000_00b0, CODE + 6)
    );
}

#[test]
fn a_warm_cache_sees_patched_code_and_a_remapped_page() {
    let mut guest = Guest::new(&[0x8b, 0x03]);
    assert_eq!(guest.fault(DEVICE, READ).forward.unwrap().0.register, 0);
    guest.context.rip = CODE;
    guest.put(CODE + 1, &[0x0b]);
    assert_eq!(guest.fault(DEVICE, READ).forward.unwrap().0.register, 1);
    guest.context.rip = CODE;
    guest.put(0x60_0000, &[0x8b, 0x13]);
    guest.put(ROOT + 0x2010, &(0x60_0000_u64 | LEAF | 0x80).to_le_bytes());
    assert_eq!(guest.fault(DEVICE, READ).forward.unwrap().0.register, 2);
}

/// What remaps the code's page at one level of the tables: to a copy that loads another register.
fn remap(guest: &mut Guest, level: u64) {
    // Tables beside the others, for the same addresses; each level's is reached by an entry in the one above.
    const BESIDE: u64 = 0x50_0000;
    let table = |level: u64| BESIDE + level * 0x1000;
    for from in level..3 {
        guest.put(
            table(from) + if from == 2 { 0x10 } else { 0 },
            &((if from == 2 {
                0x60_0000
            } else {
                table(from + 1)
            }) | LEAF
                | if from == 2 { 0x80 } else { 0 })
            .to_le_bytes(),
        );
    }
    guest.put(0x60_0000, &[0x8b, 0x13]);
    match level {
        0 => guest.context.cr3 = table(0),
        1 => guest.put(ROOT, &(table(1) | 0x27).to_le_bytes()),
        2 => guest.put(ROOT + 0x1000, &(table(2) | 0x27).to_le_bytes()),
        _ => guest.put(ROOT + 0x2010, &(0x60_0000_u64 | LEAF | 0x80).to_le_bytes()),
    }
}

#[test]
fn a_warm_cache_sees_a_change_at_each_level_of_the_tables() {
    for level in 0..4 {
        let mut guest = Guest::new(&[0x8b, 0x03]);
        for register in [0, 0, 2, 2] {
            if register == 2 {
                remap(&mut guest, level);
            }
            guest.context.rip = CODE;
            assert_eq!(
                guest.fault(DEVICE, READ).forward.unwrap().0.register,
                register,
                "level {level}"
            );
        }
    }
}

#[test]
fn a_warm_cache_sees_a_change_of_the_code_size() {
    let mut guest = Guest::new(&[0x8b, 0x03]);
    for (cs_attributes, rip, next) in [
        (0x29b, CODE, CODE + 2),
        (0x29b, CODE, CODE + 2),
        (0x49b, CODE | 1 << 32, CODE + 2),
    ] {
        guest.context = Context {
            rip,
            cs_attributes,
            ..guest.context
        };
        assert_eq!(
            guest.fault(DEVICE, READ).forward.unwrap().0.rip_or_token,
            next
        );
    }
    // A compatibility-mode segment with a base; the base of a 64-bit one means nothing.
    guest.put(CODE + 0x100, &[0x66, 0x8b, 0x03]);
    guest.context = Context {
        rip: CODE,
        cs_base: 0x100,
        ..guest.context
    };
    assert_eq!(guest.fault(DEVICE, READ).forward.unwrap().0.size, 2);
    guest.context = Context {
        rip: CODE,
        cs_base: 0x100,
        cs_attributes: 0x29b,
        ..guest.context
    };
    assert_eq!(guest.fault(DEVICE, READ).forward.unwrap().0.size, 4);
}

#[test]
fn a_warm_cache_answers_loads_and_stores_of_the_same_instruction_apart() {
    let mut guest = Guest::new(&[0x8b, 0x03]);
    for (gpa, error) in [(DEVICE, READ), (DEVICE, READ), (DEVICE + 0x10, READ)] {
        guest.context.rip = CODE;
        assert_eq!(guest.fault(gpa, error).forward.unwrap().0.address, gpa);
    }
    guest.context.rip = CODE;
    assert_eq!(
        guest.fault(DEVICE, WRITE).exception,
        Some(Exception::UNDEFINED),
        "a load does not write"
    );
    assert_eq!(
        guest.fault(DEVICE, 0x14).exception,
        Some(Exception::PROTECTION),
        "a fetch from a device"
    );
    assert_eq!(
        guest.fault(DEVICE, READ | 1 << 33).exception,
        Some(Exception::PROTECTION),
        "tables in a device"
    );
}

#[test]
fn an_instruction_may_cross_a_page_boundary() {
    let mut guest = Guest::new(&[]);
    guest.context.rip = DATA + 0xffe;
    guest.put(DATA + 0xffe, &[0xc7, 0x03]);
    guest.put(DATA_TABLE + 8, &((DATA + 0x5000) | LEAF).to_le_bytes());
    guest.put(DATA + 0x5000, &[0x78, 0x56, 0x34, 0x12]);
    let (forward, _) = guest.fault(DEVICE, WRITE).forward.unwrap();
    assert_eq!(
        (forward.value, forward.rip_or_token),
        (0x1234_5678, DATA + 0x1004)
    );
    guest.context.rip = DATA + 0xffe;
    guest.put(DATA_TABLE + 8, &[0; 8]);
    let said = guest.fault(DEVICE, WRITE);
    assert!(
        said.resumed && said.system.is_empty(),
        "the guest takes its own fault: {said:?}"
    );
}

#[test]
fn code_without_paging_and_in_real_mode_is_found() {
    let (forward, _) = Guest::flat32(&[0xa1, 0x80, 0, 0xe0, 0xfe])
        .fault(DEVICE, READ)
        .forward
        .unwrap();
    assert_eq!(
        (forward.register, forward.size, forward.rip_or_token),
        (0, 4, CODE + 5)
    );
    let (forward, _) = Guest::real(&[0x26, 0x88, 0x07])
        .fault(0xb_8000, WRITE)
        .forward
        .unwrap();
    assert_eq!(
        (forward.source, forward.size, forward.rip_or_token),
        (0, 1, 0x4003)
    );
}

#[test]
fn code_that_is_no_longer_mapped_just_runs_again() {
    let mut guest = Guest::new(&[0x8b, 0x03]);
    guest.put(ROOT + 0x2010, &[0; 8]);
    let said = guest.fault(DEVICE, READ);
    assert!(said.resumed && said.forward.is_none() && said.exception.is_none());
}

#[test]
fn tables_and_code_outside_ram_are_refused() {
    let mut guest = Guest::new(&[0x8b, 0x03]);
    guest.context.cr3 = 0xf_ffff_ffff_f000;
    assert_eq!(
        guest.fault(DEVICE, READ).exception,
        Some(Exception::PROTECTION)
    );
    let mut guest = Guest::new(&[0x8b, 0x03]);
    assert_eq!(
        guest.fault(DEVICE, 0x14).exception,
        Some(Exception::PROTECTION)
    );
    assert_eq!(
        guest.fault(DEVICE, 1 << 33).exception,
        Some(Exception::PROTECTION)
    );
}

#[test]
fn tables_that_map_themselves_end_the_walk() {
    let mut guest = Guest::new(&[0x8b, 0x03]);
    guest.put(ROOT, &(ROOT | 0x67).to_le_bytes());
    guest.context.rip = 0;
    let said = guest.fault(DEVICE, READ);
    assert!(said.exception.is_some() || said.resumed || said.forward.is_some());
}

#[test]
fn what_cannot_be_emulated_is_undefined_and_logged_ever_less() {
    // XSAVE: how much it stores depends on what XCR0 enables and the guest asks for.
    let mut guest = Guest::new(&[0x0f, 0xae, 0x23]);
    let logged = (0..100)
        .filter(|_| {
            let said = guest.fault(DEVICE, READ);
            assert_eq!(said.exception, Some(Exception::UNDEFINED));
            said.logged
        })
        .count();
    assert_eq!(logged, 8 + 3);
}
