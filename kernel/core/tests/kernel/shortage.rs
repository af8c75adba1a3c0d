//! What runs out is found out before anything is promised; what works without more works with nothing left.

use atoll_core::run::Turn;
use atoll_core::server::Standing;
use atoll_protocol::effect::{Effect, Mapping, Segment, Supervise, Terms};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::frames;
use atoll_protocol::grant::{Grant, Limits};
use atoll_protocol::layout::IMAGE;
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{Gpa, ServerId};

use crate::cast::{CPUID, FREE, LIMITS, MEMORY, MMU, SUPERVISOR, TEXT};
use crate::exits::Exit;
use crate::machine::BUNDLE;
use crate::restart::{order, restart};
use crate::script::ENTRY;
use crate::swap::{exchange, succession};
use crate::world::World;

fn create() -> Supervise<'static> {
    Supervise::Create(FREE, RoleKind::Cpuid, LIMITS, "next", "image")
}

/// An answer of the supervisor's that takes so many frames, after one that had enough of them: with fewer it is refused as a whole, with as
/// many none is left.
#[track_caller]
fn assert_costs(before: &[Supervise<'_>], effects: &[Supervise<'_>], cost: u64) {
    for free in 0..=cost {
        let mut world = World::booted();
        if !before.is_empty() {
            order(&mut world, before);
        }
        world.kernel.state.machine.frames = free;
        let seen = world.kernel.state.servers[ServerId::SUPERVISOR].generation;
        let made = world.kernel.state.machine.journal.len();
        order(&mut world, effects);
        let log = world.servers().log.join("\n");
        assert!(!log.contains("miscounted"), "{log}");
        let refused = world.kernel.state.servers[ServerId::SUPERVISOR].generation != seen + 1;
        assert_eq!(
            (refused, log.contains("Exhausted")),
            (free < cost, free < cost),
            "{free} of {cost}: {log}"
        );
        if refused {
            let journal = &world.kernel.state.machine.journal[made..];
            assert_eq!(
                (world.kernel.state.machine.frames, journal.len()),
                (free, 3),
                "only the restart, and the beginning before it: {journal:?}"
            );
        } else {
            assert_eq!(world.kernel.state.machine.frames, 0);
        }
    }
}

#[test]
fn making_a_server_is_refused_with_any_fewer_frames_than_it_takes() {
    for (vault_lines, stack_pages) in [(0, 1), (8, 2), (65, 9)] {
        let limits = Limits {
            vault_lines,
            stack_pages,
            ..LIMITS
        };
        let effect = Supervise::Create(FREE, RoleKind::Cpuid, limits, "next", "image");
        assert_costs(&[], &[effect], frames::of_server(&limits));
    }
}

#[test]
fn segments_are_refused_with_any_fewer_frames_than_they_take_with_their_tables() {
    let at = |address: u64, memory| Segment {
        address,
        memory,
        ..TEXT
    };
    let fill = |segment| Supervise::Segment(FREE, Fixed(segment));
    assert_costs(&[create()], &[fill(TEXT)], 3);
    // Over the border of what one table maps; and a second segment in the same table, or in another.
    let first = at(IMAGE + 0x1f_f000, 0x2000);
    assert_costs(&[create()], &[fill(first)], 2 + 3);
    assert_costs(
        &[create(), fill(first)],
        &[fill(at(IMAGE + 0x30_0000, 0x1001))],
        2,
    );
    assert_costs(
        &[create(), fill(first)],
        &[fill(at(IMAGE + 0x40_0000, 0x1000))],
        1 + 1,
    );
    assert_costs(
        &[create()],
        &[fill(first), fill(at(IMAGE + 0x40_0000, 0x1000))],
        5 + 2,
    );
}

#[test]
fn the_tables_of_windows_are_counted_before_the_windows_are_promised() {
    let grant = |grant| Supervise::Grant(FREE, grant);
    let (guest, bundle) = (
        frames::of_grant(Grant::GuestRead, MEMORY, 0),
        frames::of_grant(Grant::Bundle, 0, BUNDLE),
    );
    assert_eq!((guest, bundle), (2, 3));
    assert_costs(&[create()], &[grant(Grant::GuestRead)], guest);
    assert_costs(&[create()], &[grant(Grant::Bundle)], bundle);
    assert_costs(
        &[create()],
        &[
            grant(Grant::Bundle),
            grant(Grant::GuestRead),
            grant(Grant::GuestWrite),
        ],
        guest + bundle,
    );
}

#[test]
fn a_window_is_opened_once() {
    for grant in [Grant::GuestRead, Grant::Bundle] {
        let grant = Supervise::Grant(FREE, grant);
        for answers in [
            &[&[create(), grant, grant][..]][..],
            &[&[create(), grant], &[grant]],
        ] {
            let mut world = World::booted();
            answers.iter().for_each(|answer| {
                order(&mut world, answer);
            });
            let log = world.servers().log.join("\n");
            assert!(
                log.contains("BadValue"),
                "{grant:?} in {} answers: {log}",
                answers.len()
            );
        }
    }
}

#[test]
fn a_machine_is_promised_only_with_frames_for_all_its_nested_tables() {
    let cost = frames::of_memory(MEMORY) + frames::of_nested(MEMORY);
    for (short, refused) in [(1, true), (frames::of_nested(MEMORY), true), (0, false)] {
        let mut world = World::with_frames(10_000);
        world.kernel.state.machine.frames = cost - short;
        world.on(
            SUPERVISOR,
            &[Effect::Supervise(Supervise::CreateMachine(
                Fixed(MEMORY),
                1,
                Fixed(0),
            ))],
        );
        world.pass();
        assert_eq!(
            world.kernel.state.machine.memory.size == 0,
            refused,
            "{short} too few"
        );
        assert_eq!(
            world
                .servers()
                .log
                .iter()
                .any(|line| line.contains("Exhausted")),
            refused
        );
    }
}

#[test]
fn a_succession_is_refused_with_any_fewer_frames_than_it_takes_and_ends_with_none_left() {
    let cost = frames::of_server(&LIMITS) + frames::of_image([&TEXT]);
    for free in 0..=cost {
        let mut world = World::booted();
        world.kernel.state.machine.frames = free;
        if free == cost {
            world.on(CPUID, &[Effect::Exported(b"state")]);
        }
        order(&mut world, &succession(CPUID, RoleKind::Cpuid));
        let begun = world.kernel.state.servers[FREE].standing == Standing::Running;
        assert_eq!(begun, free == cost, "{free} of {cost}");
        if begun {
            assert_eq!(world.kernel.state.machine.frames, 0);
            assert_eq!(exchange(&mut world, CPUID), Turn::Enter);
            assert_eq!(
                world.kernel.state.machine.frames, cost,
                "what it had is free"
            );
        }
        world.exit(Exit::Cpuid(0));
        assert_eq!(world.rip(), ENTRY + 2, "the guest goes on");
    }
}

#[test]
fn restarts_mappings_and_uploads_take_no_frame() {
    let mut world = World::booted();
    world.kernel.state.machine.frames = 0;
    for _ in 0..3 {
        order(&mut world, &[Supervise::Kill(CPUID)]);
        assert_eq!(restart(&mut world, CPUID), Turn::Enter);
    }
    let mapping = |gpa, size| {
        Effect::Map(Fixed(Mapping {
            gpa: Gpa(gpa),
            size,
            access: 3,
        }))
    };
    for (gpa, size) in [
        (0x1000, Mapping::SMALL),
        (0, Mapping::LARGE),
        (0x5000, Mapping::SMALL),
    ] {
        world.on(MMU, &[mapping(gpa, size), Effect::Resume]);
        world.exit(Exit::Fault(gpa));
    }
    order(
        &mut world,
        &[Supervise::Write(Fixed(BUNDLE - 8), b"an image")],
    );
    world.assert_no_fault();
    assert_eq!(world.kernel.state.machine.frames, 0);
}

#[test]
fn an_mmu_that_wears_its_tables_out_before_the_guest_has_run_loses_a_mapping_and_nothing_else() {
    let mut world = World::booted();
    let mapping = |gpa, size| {
        Effect::Map(Fixed(Mapping {
            gpa: Gpa(gpa),
            size,
            access: 3,
        }))
    };
    // Each time another table, and the one before waits for the flush: there is one for each two megabytes.
    let round = [mapping(0x1000, Mapping::SMALL), mapping(0, Mapping::LARGE)];
    world.on(
        MMU,
        &[
            &round.repeat(20)[..],
            &[mapping(0x1000, Mapping::SMALL), Effect::Resume],
        ]
        .concat(),
    );
    world.exit(Exit::Fault(0x1000));
    world.assert_no_fault();
    assert!(
        world.kernel.state.machine.nested.leaves().is_empty(),
        "the guest will fault again"
    );
    world.on(MMU, &[mapping(0x1000, Mapping::SMALL), Effect::Resume]);
    world.exit(Exit::Fault(0x1000));
    world.assert_no_fault();
    assert_eq!(world.kernel.state.machine.nested.leaves().len(), 1);
}

#[test]
fn a_fallback_that_begins_anew_costs_the_same() {
    let cost = frames::of_server(&LIMITS) + frames::of_image([&TEXT]);
    let [create, segment, _] = succession(CPUID, RoleKind::Cpuid);
    let succeed = Supervise::Succeed(FREE, CPUID, Fixed(IMAGE), Terms::Reset, b"how");
    for free in [cost - 1, cost] {
        let mut world = World::booted();
        order(&mut world, &[Supervise::Kill(CPUID)]);
        world.kernel.state.machine.frames = free;
        order(
            &mut world,
            &[Supervise::Restart(CPUID), create, segment, succeed],
        );
        let standing = world.kernel.state.servers[CPUID].standing;
        assert_eq!(
            standing,
            if free == cost {
                Standing::Held
            } else {
                Standing::Faulted
            }
        );
    }
}

#[test]
fn frames_are_told_to_the_supervisor_alone() {
    use atoll_protocol::message::Body;
    let mut world = World::with_frames(5000);
    let free = world.kernel.state.machine.frames;
    world.pass();
    world.last(SUPERVISOR, |message| {
        assert!(matches!(message.body, Body::Start(facts, _) if facts.0.frames == free))
    });
    let mut world = World::booted();
    order(
        &mut world,
        &[
            create(),
            Supervise::Segment(FREE, Fixed(TEXT)),
            Supervise::Start(FREE, Fixed(IMAGE), b""),
        ],
    );
    world.last(FREE, |message| {
        assert!(matches!(message.body, Body::Start(facts, _) if facts.0.frames == 0))
    });
}
