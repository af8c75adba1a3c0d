//! No translation that the mmu server has taken away is used by the guest, and no table that the processor may walk holds anything else.
//! Beside what is asserted here, the machine itself notices: see [`Nested`](crate::nested::Nested).

use atoll_core::vcpu::vmcb::exit;
use atoll_protocol::effect::{Effect, Mapping, Supervise};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::frames;
use atoll_protocol::layout::{GAP_END, GAP_START};
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::Gpa;

use crate::cast::{FREE, MMU};
use crate::exits::Exit;
use crate::restart::order;
use crate::swap::succession;
use crate::world::World;

/// The address that the guest faults at.
const AT: u64 = 0x1000;

fn mapping(gpa: u64, size: u64, access: u64) -> Mapping {
    Mapping {
        gpa: Gpa(gpa),
        size,
        access,
    }
}

/// The mmu server answers the guest's next fault like this; whether that flushes before the guest runs on.
fn flushes(world: &mut World, effects: &[Effect<'_>]) -> bool {
    world.on(MMU, effects);
    world.exit(Exit::Fault(AT));
    world.assert_no_fault();
    world.kernel.state.vcpu.vmcb.control.tlb_control == 1
}

/// The answer that the straight way takes, and the same by the long one.
fn answers(mapping: Mapping) -> [Vec<Effect<'static>>; 2] {
    let map = Effect::Map(Fixed(mapping));
    [
        vec![map, Effect::Resume],
        vec![Effect::Save(0, 1), map, Effect::Resume],
    ]
}

#[test]
fn a_mapping_that_replaces_another_flushes_and_a_fresh_one_does_not() {
    let (small, large, read) = (Mapping::SMALL, Mapping::LARGE, 0);
    // What is there, what takes its place, and whether anything of what was there is stale.
    let cases = [
        (mapping(AT, small, 3), mapping(AT, small, read), true),
        (mapping(AT, small, 3), mapping(0, large, read), true),
        (mapping(0, large, 3), mapping(AT, small, 3), true),
        (mapping(AT, small, 3), mapping(2 * AT, small, 3), false),
    ];
    for (first, second, stale) in cases {
        for way in 0..2 {
            let mut world = World::booted();
            assert!(
                !flushes(&mut world, &answers(first)[way]),
                "nothing was mapped before {first:?}"
            );
            assert_eq!(
                flushes(&mut world, &answers(second)[way]),
                stale,
                "{second:?} behind {first:?}, way {way}"
            );
            assert!(
                !flushes(&mut world, &[Effect::Resume]),
                "one flush is enough"
            );
        }
    }
}

#[test]
fn taking_a_mapping_away_flushes() {
    let mut world = World::booted();
    assert!(!flushes(
        &mut world,
        &answers(mapping(AT, Mapping::SMALL, 3))[0]
    ));
    assert!(flushes(
        &mut world,
        &[
            Effect::Unmap(Fixed(mapping(AT, Mapping::SMALL, 0))),
            Effect::Resume
        ]
    ));
}

#[test]
fn a_table_that_is_taken_out_is_a_free_frame_when_the_guest_has_run_with_a_flush_and_not_before() {
    let mut world = World::booted();
    flushes(&mut world, &answers(mapping(AT, Mapping::SMALL, 3))[0]);
    let tables = world.kernel.state.machine.tables;
    flushes(&mut world, &answers(mapping(0, Mapping::LARGE, 3))[0]);
    assert_eq!(
        world.kernel.state.machine.tables, tables,
        "the processor may still walk it"
    );
    // The CPU refuses the state: the guest has not run.
    world.exit(Exit::Code(exit::INVALID));
    assert_eq!(
        world.kernel.state.machine.tables, tables,
        "nothing was flushed"
    );
    let mut world = World::booted();
    flushes(&mut world, &answers(mapping(AT, Mapping::SMALL, 3))[0]);
    flushes(&mut world, &answers(mapping(0, Mapping::LARGE, 3))[0]);
    world.exit(Exit::Cpuid(0));
    assert_eq!(world.kernel.state.machine.tables, tables + 1);
}

#[test]
fn a_new_mmu_begins_with_nothing_mapped_also_above_the_gap_and_flushes() {
    let mut world = World::booted();
    // More than lies below the devices' gap.
    let size = GAP_START + (1 << 30);
    world.kernel.state.machine.memory.size = size;
    world.kernel.state.machine.tables = frames::of_nested(size);
    for gpa in [
        0,
        AT,
        GAP_START - Mapping::LARGE,
        GAP_END,
        GAP_END + (1 << 30) - Mapping::LARGE,
    ] {
        let size = if gpa == AT {
            Mapping::SMALL
        } else {
            Mapping::LARGE
        };
        flushes(&mut world, &answers(mapping(gpa, size, 3))[0]);
    }
    world.exit(Exit::Cpuid(0));
    assert_eq!(
        world.kernel.state.machine.nested.leaves().len(),
        4,
        "the small page has taken the place of the first large one"
    );
    world.on(MMU, &[Effect::Exported(b"")]);
    order(&mut world, &succession(MMU, RoleKind::Mmu));
    order(&mut world, &[Supervise::Exchange(FREE, MMU, 1)]);
    assert!(
        world.kernel.state.machine.nested.leaves().is_empty(),
        "{:#x?}",
        world.kernel.state.machine.nested.leaves()
    );
    assert_eq!(world.kernel.state.vcpu.vmcb.control.tlb_control, 1);
    let tables = world.kernel.state.machine.tables;
    world.exit(Exit::Cpuid(0));
    assert!(
        world.kernel.state.machine.tables > tables,
        "its tables are given back"
    );
}

#[test]
fn a_new_server_of_another_role_takes_no_mapping_away() {
    let mut world = World::booted();
    flushes(&mut world, &answers(mapping(AT, Mapping::SMALL, 3))[0]);
    world.on(crate::cast::CPUID, &[Effect::Exported(b"")]);
    order(&mut world, &succession(crate::cast::CPUID, RoleKind::Cpuid));
    order(
        &mut world,
        &[Supervise::Exchange(FREE, crate::cast::CPUID, 1)],
    );
    assert_eq!(world.kernel.state.machine.nested.leaves().len(), 1);
}
