//! The supervisor makes servers, gives rights and builds the machine; what does not add up is refused as a whole.

use atoll_core::Kernel;
use atoll_core::machine::Outcome;
use atoll_core::run::Turn;
use atoll_core::server::Standing;
use atoll_protocol::effect::{Effect, Segment, Supervise};
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::grant::{Grant, Limits, Route};
use atoll_protocol::layout::{IMAGE, IMAGE_END};
use atoll_protocol::message::{Body, Stop};
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{HostIrq, LineId, ServerId};

use crate::cast::{self, CONSOLE, CPUID, FREE, LIMITS, LOADER, SERIAL, SUPERVISOR, TEXT};
use crate::exits::Exit;
use crate::machine::{Act, BUNDLE};
use crate::script::{LEAF, Line, encode};
use crate::world::World;

/// The supervisor gets a message (its start, once more) and answers it with these effects.
fn supervisor(world: &mut World, effects: &[Supervise<'_>]) -> Turn {
    let effects: Vec<Effect<'_>> = effects.iter().copied().map(Effect::Supervise).collect();
    world.on(SUPERVISOR, &effects);
    world.kernel.state.start_first(SUPERVISOR, IMAGE);
    world.kernel.state.machine.journal.clear();
    world.pass()
}

/// The same, but the answer is refused: the supervisor is restarted, and nothing else has happened.
fn faulty(world: &mut World, effects: &[Supervise<'_>]) {
    let (frames, generation) = (
        world.kernel.state.machine.frames,
        world.kernel.state.servers[ServerId::SUPERVISOR].generation,
    );
    supervisor(world, effects);
    assert_eq!(
        world.kernel.state.servers[ServerId::SUPERVISOR].generation,
        generation + 2,
        "begun by the test, then restarted: {effects:?}"
    );
    assert_eq!(
        world.kernel.state.machine.journal,
        [Act::Refill(SUPERVISOR, TEXT), Act::Restore(SUPERVISOR)]
    );
    assert_eq!(world.kernel.state.machine.frames, frames);
}

/// All of it is refused, for this reason.
fn refused(effects: &[Supervise<'_>], rule: &str) {
    let mut world = World::booted();
    faulty(&mut world, effects);
    let log = world.servers().log.join("\n");
    assert!(
        log.contains(&format!("broke a rule: {rule} ")),
        "{effects:?}: {log}"
    );
}

fn create(id: u8) -> Supervise<'static> {
    Supervise::Create(
        ServerId::nth(id),
        RoleKind::Cpuid,
        LIMITS,
        "another",
        "image",
    )
}

#[test]
fn a_server_is_made_given_rights_and_started_in_one_answer() {
    let mut world = World::booted();
    let effects = [
        create(FREE.number()),
        Supervise::Segment(FREE, Fixed(TEXT)),
        Supervise::Grant(FREE, Grant::Line(LineId::nth(5))),
        Supervise::Start(FREE, Fixed(IMAGE), b"be quick"),
        Supervise::Route(FREE, Route::Ports(0x100, 0x107)),
    ];
    assert_eq!(supervisor(&mut world, &effects), Turn::Enter);
    world.last(FREE, |message| {
        let Body::Start(machine, config) = message.body else {
            panic!("no start")
        };
        assert_eq!(
            (machine.0.memory, machine.0.bundle, config),
            (cast::MEMORY, BUNDLE, &b"be quick"[..])
        );
    });
    world.last(SUPERVISOR, |message| {
        assert_eq!(message.body, Body::ServerStarted(FREE, 1))
    });
    world.exit(Exit::In(0x107, 1));
    assert_eq!(world.got(FREE).len(), 2);
}

#[test]
fn servers_with_senseless_limits_are_refused() {
    let with = |limits| Supervise::Create(FREE, RoleKind::Cpuid, limits, "another", "image");
    for effect in [
        create(0),
        create(CPUID.number()),
        Supervise::Create(FREE, RoleKind::Supervisor, LIMITS, "another", "image"),
        Supervise::Create(FREE, RoleKind::Cpuid, LIMITS, "a name of 17 byte", "image"),
        Supervise::Create(
            FREE,
            RoleKind::Cpuid,
            LIMITS,
            "another",
            "a name of 17 byte",
        ),
        with(Limits {
            vault_lines: 4097,
            ..LIMITS
        }),
        with(Limits {
            stack_pages: 0,
            ..LIMITS
        }),
        with(Limits {
            stack_pages: 65,
            ..LIMITS
        }),
        with(Limits {
            timers: 5,
            ..LIMITS
        }),
        with(Limits {
            budget_us: 0,
            ..LIMITS
        }),
    ] {
        refused(&[effect], "BadValue");
    }
    refused(&[create(FREE.number()), create(FREE.number())], "BadValue");
}

#[test]
fn segments_outside_the_image_or_the_bundle_are_refused() {
    let fill = |segment| {
        [
            create(FREE.number()),
            Supervise::Segment(FREE, Fixed(segment)),
        ]
    };
    for segment in [
        Segment {
            address: IMAGE + 1,
            ..TEXT
        },
        Segment {
            address: IMAGE - 0x1000,
            ..TEXT
        },
        Segment {
            address: IMAGE_END,
            ..TEXT
        },
        Segment {
            address: !0xfff,
            ..TEXT
        },
        Segment {
            memory: u64::MAX,
            ..TEXT
        },
        Segment {
            memory: 0,
            file: 0,
            ..TEXT
        },
        Segment {
            file: 0x1001,
            ..TEXT
        },
        Segment {
            offset: BUNDLE,
            ..TEXT
        },
        Segment {
            offset: u64::MAX,
            ..TEXT
        },
        Segment { access: 0, ..TEXT },
        Segment {
            access: Segment::WRITE | Segment::EXECUTE,
            ..TEXT
        },
    ] {
        refused(&fill(segment), "BadValue");
    }
    refused(&[Supervise::Segment(CPUID, Fixed(TEXT))], "BadValue");
}

#[test]
fn segments_that_share_a_page_are_refused() {
    let page = |number: u64| Segment {
        address: IMAGE + number * 0x1000,
        ..TEXT
    };
    let fill = |segment| Supervise::Segment(FREE, Fixed(segment));
    for (first, second) in [
        (page(0), page(0)),
        (page(1), page(0)),
        (
            Segment {
                memory: 0x1001,
                ..page(0)
            },
            page(1),
        ),
    ] {
        refused(
            &[create(FREE.number()), fill(first), fill(second)],
            "BadValue",
        );
        let mut world = World::booted();
        supervisor(&mut world, &[create(FREE.number()), fill(first)]);
        // Also in a later answer.
        faulty(&mut world, &[fill(second)]);
    }
    let mut world = World::booted();
    let effects = [
        create(FREE.number()),
        fill(page(0)),
        create(FREE.number() + 1),
        Supervise::Segment(ServerId::nth(14), Fixed(page(0))),
        fill(page(1)),
    ];
    assert_eq!(
        supervisor(&mut world, &effects),
        Turn::Enter,
        "servers do not share their pages"
    );
    let again = [Supervise::Destroy(FREE)];
    assert_eq!(supervisor(&mut world, &again), Turn::Enter);
    assert_eq!(
        supervisor(&mut world, &[create(FREE.number()), fill(page(0))]),
        Turn::Enter,
        "another in its slot begins anew"
    );
}

#[test]
fn exits_are_routed_only_to_servers_that_are_started() {
    let route = Supervise::Route(FREE, Route::Ports(0x100, 0x100));
    let start = Supervise::Start(FREE, Fixed(IMAGE), b"");
    refused(&[create(FREE.number()), route], "BadValue");
    refused(&[create(FREE.number()), route, start], "BadValue");
    let mut world = World::booted();
    assert_eq!(
        supervisor(&mut world, &[create(FREE.number())]),
        Turn::Enter
    );
    // Also if an earlier answer made it.
    faulty(&mut world, &[route]);
    let mut world = World::booted();
    let effects = [
        create(FREE.number()),
        Supervise::Segment(FREE, Fixed(TEXT)),
        start,
        route,
    ];
    assert_eq!(supervisor(&mut world, &effects), Turn::Enter);
    world.exit(Exit::In(0x100, 1));
    assert_eq!(world.got(FREE).len(), 2);
}

#[test]
fn a_host_interrupt_has_one_owner() {
    let give = |id, irq| Supervise::Grant(id, Grant::HostIrq(HostIrq::nth(irq)));
    refused(&[give(SERIAL, 4)], "BadValue");
    refused(&[give(CONSOLE, 4)], "BadValue");
    refused(&[give(SERIAL, 5), give(CPUID, 5)], "BadValue");
    let mut world = World::booted();
    assert_eq!(
        supervisor(&mut world, &[give(SERIAL, 5), give(CPUID, 6)]),
        Turn::Enter
    );
    let effects = [Supervise::Destroy(CONSOLE), give(SERIAL, 4)];
    assert_eq!(
        supervisor(&mut world, &effects),
        Turn::Enter,
        "what a destroyed server had is free"
    );
}

#[test]
fn a_route_is_given_once() {
    for route in [
        Route::Cpuid,
        Route::Hypercall,
        Route::OtherMsrs,
        Route::Mmu,
        Route::Lines,
        Route::Msrs(0x8ff, 0x900),
        Route::Msrs(2, 1),
        Route::Ports(0x3ff, 0x400),
        Route::Ports(2, 1),
        Route::Memory(0, u64::MAX),
        Route::Memory(2, 1),
    ] {
        refused(&[Supervise::Route(CPUID, route)], "BadValue");
    }
    let twice = Supervise::Route(CPUID, Route::Ports(0x100, 0x1ff));
    refused(
        &[twice, Supervise::Route(SERIAL, Route::Ports(0x1ff, 0x1ff))],
        "BadValue",
    );
    refused(
        &[Supervise::Route(FREE, Route::Ports(0x100, 0x1ff))],
        "BadValue",
    );
}

#[test]
fn a_mailboxs_credits_never_exceed_its_places() {
    let more = |credit| Supervise::Grant(CPUID, Grant::Mail(CONSOLE, credit));
    // 40 places: 8 are for results, 1 is the supervisor's, 4 are the serial port's.
    refused(&[more(28)], "Exhausted");
    refused(
        &[more(20), Supervise::Grant(LOADER, Grant::Mail(CONSOLE, 8))],
        "Exhausted",
    );
    let mut world = World::booted();
    assert_eq!(supervisor(&mut world, &[more(27)]), Turn::Enter);
    assert_eq!(
        world.kernel.state.servers[ServerId::nth(2)].credit_to(CONSOLE),
        27
    );
}

#[test]
fn mail_of_a_destroyed_server_still_counts_against_the_mailbox() {
    let mut world = World::booted();
    supervisor(
        &mut world,
        &[Supervise::Grant(CPUID, Grant::Mail(CONSOLE, 27))],
    );
    let mails = vec![Effect::Mail(CONSOLE, b"old"); 27];
    world.on(CPUID, &[&mails[..], &[Effect::Leaf(Fixed(LEAF))]].concat());
    world.exit(Exit::Cpuid(0));
    // The console does not get to reading it.
    world.ends(CONSOLE, Outcome::Fault(Reason::Hang));
    assert_eq!(
        supervisor(&mut world, &[Supervise::Destroy(CPUID)]),
        Turn::Idle
    );
    assert_eq!(
        world.kernel.state.servers[ServerId::nth(11)]
            .letters()
            .count(),
        27
    );
    // There are no places for ten more.
    faulty(
        &mut world,
        &[Supervise::Grant(LOADER, Grant::Mail(CONSOLE, 10))],
    );
}

#[test]
fn rights_that_do_not_exist_are_refused() {
    refused(
        &[Supervise::Grant(CPUID, Grant::HostPorts(2, 1))],
        "BadValue",
    );
    // The number of something that there is not does not decode.
    for (grant, none) in [
        (Grant::HostIrq(HostIrq::nth(15)), 16),
        (Grant::Line(LineId::nth(23)), 24),
        (Grant::Line(LineId::nth(23)), 255),
    ] {
        let mut world = World::booted();
        let mut answer = encode(&[Effect::Supervise(Supervise::Grant(CPUID, grant))]);
        *answer.last_mut().unwrap() = none;
        world.servers().on(SUPERVISOR, Line::Bytes(answer));
        world.kernel.state.start_first(SUPERVISOR, IMAGE);
        world.pass();
        let log = world.servers().log.join("\n");
        assert!(log.contains("broke a rule: Malformed "), "{grant:?}: {log}");
    }
    refused(&[Supervise::Grant(FREE, Grant::GuestRead)], "BadValue");
    refused(
        &[Supervise::Grant(SUPERVISOR, Grant::GuestWrite)],
        "BadValue",
    );
    refused(
        &[Supervise::Grant(CPUID, Grant::HostPorts(0, 0)); 5],
        "BadValue",
    );
}

#[test]
fn more_memory_than_there_is_cannot_be_promised() {
    let mut world = World::with_frames(1000);
    let machine = Supervise::CreateMachine(Fixed(2 << 20), 1, Fixed(0));
    // Each fits alone; together they do not.
    let stack = Limits {
        stack_pages: 64,
        ..LIMITS
    };
    let servers = (1..10)
        .map(|id| Supervise::Create(ServerId::nth(id), RoleKind::Cpuid, stack, "large", "image"));
    let effects: Vec<Supervise<'_>> = core::iter::once(machine).chain(servers).collect();
    faulty(&mut world, &effects);
    assert!(
        world
            .servers()
            .log
            .iter()
            .any(|line| line.contains("Exhausted"))
    );
}

#[test]
fn guest_memory_is_made_once_and_in_large_pages() {
    refused(
        &[Supervise::CreateMachine(Fixed(2 << 20), 1, Fixed(0))],
        "BadValue",
    );
    for (bytes, vcpus, rule) in [
        (0, 1, "BadValue"),
        (0x1000, 1, "BadValue"),
        (2 << 20, 2, "BadValue"),
        (1 << 40, 1, "Exhausted"),
    ] {
        let mut world = World::with_frames(1000);
        faulty(
            &mut world,
            &[Supervise::CreateMachine(Fixed(bytes), vcpus, Fixed(0))],
        );
        assert!(world.servers().log.iter().any(|line| line.contains(rule)));
    }
}

#[test]
fn a_destroyed_server_has_no_routes_no_timers_and_no_rights() {
    let mut world = World::booted();
    supervisor(&mut world, &[Supervise::Destroy(SERIAL)]);
    assert_eq!(
        world.kernel.state.servers[ServerId::nth(10)].standing,
        Standing::Empty
    );
    assert_eq!(
        world.kernel.state.servers[ServerId::nth(10)].credit_to(CONSOLE),
        0
    );
    world.exit(Exit::In(cast::COM1, 1));
    assert_eq!(world.register(0) & 0xff, 0xff);
    assert_eq!(
        (
            world.kernel.state.stray_ports,
            world.kernel.state.stray_memory
        ),
        (1, 0)
    );
    assert!(world.got(SERIAL).is_empty());
}

#[test]
fn what_an_answer_destroys_it_does_not_use_any_more() {
    let after = [
        Supervise::Destroy(SERIAL),
        Supervise::Grant(SERIAL, Grant::GuestRead),
        Supervise::Route(SERIAL, Route::Ports(0x100, 0x100)),
    ];
    for effect in after {
        refused(&[Supervise::Destroy(SERIAL), effect], "BadValue");
    }
    let mut world = World::booted();
    supervisor(&mut world, &[create(FREE.number())]);
    faulty(
        &mut world,
        &[
            Supervise::Destroy(FREE),
            Supervise::Start(FREE, Fixed(IMAGE), &[]),
        ],
    );
}

#[test]
fn a_server_starts_once_and_within_its_image() {
    refused(&[Supervise::Start(CPUID, Fixed(IMAGE), &[])], "BadValue");
    for entry in [0, IMAGE - 1, IMAGE_END, u64::MAX] {
        refused(
            &[
                create(FREE.number()),
                Supervise::Start(FREE, Fixed(entry), &[]),
            ],
            "BadValue",
        );
    }
    refused(
        &[
            create(FREE.number()),
            Supervise::Start(FREE, Fixed(IMAGE), &[0; 1025]),
        ],
        "BadValue",
    );
}

#[test]
fn only_a_loader_loads() {
    refused(&[Supervise::Load(CPUID)], "BadValue");
    refused(&[Supervise::Load(FREE)], "BadValue");
}

#[test]
fn a_new_loader_can_load_after_the_old_one_was_faulted() {
    let mut world = World::booted();
    world.on(LOADER, &[]);
    supervisor(&mut world, &[Supervise::Load(LOADER)]);
    world.assert_fault(LOADER, Reason::TicketOpen);
    assert_eq!(world.waiting(), []);
    supervisor(&mut world, &[Supervise::Destroy(LOADER)]);
    let member = &cast::CAST[0];
    world.on(SUPERVISOR, &cast::making(member));
    world.kernel.state.start_first(SUPERVISOR, IMAGE);
    world.pass();
    supervisor(&mut world, &[Supervise::Load(LOADER)]);
    world.last(LOADER, |message| assert_eq!(message.body, Body::Load));
    assert_eq!(
        world.kernel.state.servers[ServerId::SUPERVISOR].standing,
        Standing::Running
    );
}

#[test]
fn a_loader_that_asks_again_is_asked_again() {
    let mut world = World::booted();
    world.on(LOADER, &[Effect::Save(0, 1), Effect::Resume]);
    world.on(LOADER, &[Effect::Save(1, 1), Effect::Resume]);
    // What a guest begins with can be set only while none is running.
    world.on(
        SUPERVISOR,
        &[
            Effect::Stop(Stop::Reset),
            Effect::Supervise(Supervise::Load(LOADER)),
        ],
    );
    world.kernel.state.start_first(SUPERVISOR, IMAGE);
    world.pass();
    assert_eq!(world.got(LOADER).len(), 3);
    world.last(SUPERVISOR, |message| assert_eq!(message.body, Body::Loaded));
}

#[test]
fn the_supervisor_leaves_with_its_own_code() {
    let mut world = World::booted();
    assert_eq!(
        supervisor(&mut world, &[Supervise::Exit(7)]),
        Turn::Leave(7)
    );
    let kernel: &Kernel<_> = &world.kernel;
    assert_eq!(
        kernel.state.servers[ServerId::SUPERVISOR].standing,
        Standing::Running
    );
}

#[test]
fn only_the_bundles_reserve_can_be_written() {
    let reserve = BUNDLE / 2;
    let write = |offset: u64, bytes: &'static [u8]| Supervise::Write(Fixed(offset), bytes);
    let mut world = World::booted();
    supervisor(
        &mut world,
        &[write(reserve, b"an"), write(BUNDLE - 5, b"image")],
    );
    assert_eq!(
        world.kernel.state.machine.journal,
        [Act::Upload(reserve, 2), Act::Upload(BUNDLE - 5, 5)]
    );
    for (offset, bytes) in [
        (reserve - 1, &b"an"[..]),
        (0, b"an"),
        (BUNDLE - 4, b"image"),
        (BUNDLE, b"an"),
        (u64::MAX, b"an"),
    ] {
        refused(&[write(offset, bytes)], "BadValue");
    }
    let mut world = World::with_frames(1000);
    faulty(
        &mut world,
        &[
            Supervise::CreateMachine(Fixed(2 << 20), 1, Fixed(0)),
            write(0, b"in the same answer: not yet"),
        ],
    );
}
