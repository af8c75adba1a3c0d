//! The supervisor from its first activation to its last, with bundles made by hand.

extern crate std;

use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use atoll_protocol::effect::{Effect, Segment, Terms};
use atoll_protocol::fault::Reason;
use atoll_protocol::grant::{Grant, Limits, Route};
use atoll_protocol::interchange::Note;
use atoll_protocol::layout::IMAGE;
use atoll_protocol::manifest::{Manifest, Restart, ServerSpec, Then};
use atoll_protocol::message::Body;
use atoll_protocol::name::Name;
use atoll_protocol::order::{Order, Outcome};
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::Ticks;
use atoll_protocol::{SCHEMA_HASH, VERSION};
use atoll_sdk::bundle::write::archive;
use atoll_sdk::harness::{Answer, Harness, MACHINE};
use proptest::prelude::*;

use super::*;

mod bundles;
mod fallbacks;
mod orders;
mod shortages;
mod storms;
mod uploads;

const LIMITS: Limits = Limits {
    vault_lines: 4,
    stack_pages: 4,
    budget_us: 100,
    period_us: 1000,
    timers: 1,
};

/// A server that is not restarted.
const NEVER: Restart = Restart {
    attempts: 0,
    per_minute: 30,
    then: Then::Stop,
};

fn encode<T: serde::Serialize>(items: &[T]) -> Vec<u8> {
    items.iter().fold(Vec::new(), |bytes, item| {
        postcard::to_extend(item, bytes).unwrap()
    })
}

/// An ELF file with these (address, flags, contents) segments.
fn elf(segments: &[(u64, u32, &[u8])]) -> Vec<u8> {
    let mut file = vec![
        0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0, 1, 0, 0, 0,
    ];
    let entry = segments
        .iter()
        .find(|segment| segment.1 & 1 != 0)
        .map_or(0, |segment| segment.0);
    file.extend(entry.to_le_bytes());
    file.extend(64_u64.to_le_bytes());
    file.extend([0; 12]);
    file.extend([64, 0, 56, 0, segments.len() as u8, 0, 64, 0, 0, 0, 0, 0]);
    let mut offset = file.len() + 56 * segments.len();
    for (address, flags, contents) in segments {
        file.extend(1_u32.to_le_bytes());
        file.extend(flags.to_le_bytes());
        for word in [
            offset as u64,
            *address,
            *address,
            contents.len() as u64,
            contents.len() as u64 + 16,
            4096,
        ] {
            file.extend(word.to_le_bytes());
        }
        offset += contents.len();
    }
    segments.iter().for_each(|segment| file.extend(segment.2));
    file
}

fn image() -> Vec<u8> {
    elf(&[
        (IMAGE, 5, b"code"),
        (IMAGE + 0x1000, 4, b"constants"),
        (IMAGE + 0x2000, 6, b"data"),
    ])
}

fn manifest(specs: &[ServerSpec<'_>]) -> Vec<u8> {
    let bytes = encode(specs);
    let servers = specs.len() as u8;
    let manifest = Manifest {
        version: VERSION,
        schema: SCHEMA_HASH,
        memory: 64 << 20,
        vcpus: 1,
        servers,
        specs: &bytes,
    };
    encode(&[manifest])
}

fn spec<'m>(name: &'m str, role: RoleKind) -> ServerSpec<'m> {
    ServerSpec {
        name,
        role,
        image: name,
        limits: LIMITS,
        grants: &[],
        routes: &[],
        config: b"",
        restart: NEVER,
        alternative: None,
    }
}

/// Console (1), cpuid (2) with a right and a route, loader (3).
fn bundle(extra: &[(&str, &[u8])]) -> Vec<u8> {
    let grants = encode(&[Grant::GuestRead]);
    let routes = encode(&[Route::Cpuid]);
    let cpuid = ServerSpec {
        grants: &grants,
        routes: &routes,
        config: b"how",
        ..spec("cpuid", RoleKind::Cpuid)
    };
    let manifest = manifest(&[
        spec("console", RoleKind::Console),
        cpuid,
        spec("loader", RoleKind::Loader),
    ]);
    let image = image();
    let mut files = vec![("supervisor", &b"flat"[..]), ("manifest", &manifest)];
    files.extend([
        ("image/console", &image[..]),
        ("image/cpuid", &image),
        ("image/loader", &image),
    ]);
    files.extend(extra);
    archive(&files)
}

fn start(bundle: Vec<u8>) -> (Harness<SupervisorServer>, Answer) {
    Harness::start_with(&MACHINE, &Setup::default(), bundle)
}

/// A supervisor whose machine runs.
fn running(bundle: Vec<u8>) -> Harness<SupervisorServer> {
    let (mut supervisor, _) = start(bundle);
    for id in 1..=3 {
        supervisor.deliver(Body::ServerStarted(ServerId::nth(id), 1));
    }
    supervisor.deliver(Body::Loaded);
    supervisor
}

fn fault(server: u8) -> Body<'static> {
    let reason = Reason::Exception {
        vector: 14,
        error: 6,
        address: 0x1234,
    };
    Body::ServerFaulted(FaultReport {
        server: ServerId::nth(server),
        generation: 1,
        reason,
        effect: 0,
        at: Ticks(9),
        handled: 0,
        injected: false,
    })
}

fn supervise(step: Supervise<'_>) -> Effect<'_> {
    Effect::Supervise(step)
}

/// The lines that were logged, and what else was done.
fn logged<'a>(effects: &[Effect<'a>]) -> (String, Vec<Effect<'a>>) {
    let mut lines = String::new();
    let mut others = Vec::new();
    for effect in effects {
        match effect {
            Effect::Log(line) => lines.push_str(line),
            other => others.push(*other),
        }
    }
    (lines, others)
}

#[test]
fn the_machine_is_built_one_server_per_activation_and_then_runs() {
    let bytes = bundle(&[]);
    let image = atoll_sdk::bundle::Bundle::new(&bytes)
        .find("image/cpuid")
        .unwrap()
        .unwrap()
        .offset;
    let length = bytes.len() as u64;
    let (mut supervisor, answer) = start(bytes);
    let effects = answer.effects();
    let (memory, no_reserve) = (
        atoll_protocol::fixed::Fixed(64 << 20),
        atoll_protocol::fixed::Fixed(length),
    );
    assert_eq!(
        effects[0],
        supervise(Supervise::CreateMachine(memory, 1, no_reserve))
    );
    assert_eq!(
        effects[1],
        supervise(Supervise::Create(
            ServerId::nth(1),
            RoleKind::Console,
            LIMITS,
            "console",
            "console"
        ))
    );

    let answer = supervisor.deliver(Body::ServerStarted(ServerId::nth(1), 1));
    let id = ServerId::nth(2);
    let segment = |index: u64, file, access| {
        let offset = image + 64 + 3 * 56 + [0, 4, 13][index as usize];
        let address = IMAGE + index * 0x1000;
        supervise(Supervise::Segment(
            id,
            atoll_protocol::fixed::Fixed(Segment {
                address,
                offset,
                file,
                memory: file + 16,
                access,
            }),
        ))
    };
    assert_eq!(
        answer.effects(),
        [
            supervise(Supervise::Create(
                id,
                RoleKind::Cpuid,
                LIMITS,
                "cpuid",
                "cpuid"
            )),
            supervise(Supervise::Grant(id, Grant::GuestRead)),
            segment(0, 4, Segment::EXECUTE),
            segment(1, 9, Segment::READ),
            segment(2, 4, Segment::WRITE),
            supervise(Supervise::Start(
                id,
                atoll_protocol::fixed::Fixed(IMAGE),
                b"how"
            )),
            supervise(Supervise::Route(id, Route::Cpuid)),
        ]
    );
    supervisor.deliver(Body::ServerStarted(ServerId::nth(2), 1));
    let load = supervise(Supervise::Load(ServerId::nth(3)));
    assert_eq!(
        supervisor
            .deliver(Body::ServerStarted(ServerId::nth(3), 1))
            .effects(),
        [load]
    );
    let answer = supervisor.deliver(Body::Loaded);
    let destroy = supervise(Supervise::Destroy(ServerId::nth(3)));
    assert_eq!(
        answer.effects(),
        [
            destroy,
            Effect::Log("machine runs"),
            supervise(Supervise::Run)
        ]
    );
}

#[test]
fn every_stop_flushes_the_console_and_exits_with_its_code() {
    for (why, code) in [
        (Stop::PowerOff, 16),
        (Stop::Reset, 17),
        (Stop::Crash, 18),
        (Stop::ServerFault, 19),
        (Stop::Refused, 21),
    ] {
        for answer in [None, Some(&b""[..])] {
            let mut supervisor = running(bundle(&[]));
            let stopped = supervisor.deliver(Body::MachineStopped(why));
            assert_eq!(
                logged(&stopped.effects()).1,
                [Effect::Request(ServerId::nth(1), exit::FLUSH, b"flush")]
            );
            assert_eq!(supervisor.deliver(Body::Answered(77, None)).effects(), []);
            let exit = supervise(Supervise::Exit(code));
            assert_eq!(
                supervisor
                    .deliver(Body::Answered(exit::FLUSH, answer))
                    .effects(),
                [exit]
            );
        }
    }
}

#[test]
fn a_fault_is_told_in_words_and_stops_the_machine() {
    let mut supervisor = running(bundle(&[]));
    let answer = supervisor.deliver(fault(2));
    let effects = answer.effects();
    let (line, others) = logged(&effects);
    assert_eq!(
        line,
        "server 2 `cpuid` (generation 1) faulted: page fault at 0x1234 (error 0x6)"
    );
    assert_eq!(
        others,
        [
            Effect::Stop(Stop::ServerFault),
            Effect::Request(ServerId::nth(1), exit::FLUSH, b"flush")
        ]
    );
    assert_eq!(
        supervisor
            .deliver(Body::MachineStopped(Stop::ServerFault))
            .effects(),
        [],
        "already leaving"
    );
    assert_eq!(
        supervisor
            .deliver(Body::Answered(exit::FLUSH, None))
            .effects(),
        [supervise(Supervise::Exit(19))]
    );
}

#[test]
fn a_fault_of_the_console_exits_without_it() {
    let mut supervisor = running(bundle(&[]));
    let answer = supervisor.deliver(fault(1));
    assert_eq!(
        logged(&answer.effects()).1,
        [
            Effect::Stop(Stop::ServerFault),
            supervise(Supervise::Exit(19))
        ]
    );
    let mut supervisor = running(bundle(&[]));
    supervisor.deliver(Body::MachineStopped(Stop::PowerOff));
    let answer = supervisor.deliver(fault(1));
    assert_eq!(
        logged(&answer.effects()).1,
        [supervise(Supervise::Exit(16))],
        "while it was to be flushed"
    );
}

#[test]
fn with_keep_in_the_bundle_the_host_stays_after_a_fault() {
    let mut supervisor = running(bundle(&[("keep", b"")]));
    assert_eq!(
        logged(&supervisor.deliver(fault(2)).effects()).1,
        [Effect::Stop(Stop::ServerFault)]
    );
    assert_eq!(
        supervisor
            .deliver(Body::MachineStopped(Stop::ServerFault))
            .effects(),
        []
    );
    assert_eq!(logged(&supervisor.deliver(fault(1)).effects()).1, []);
}

#[test]
fn a_fault_before_the_machine_runs_ends_it_even_with_keep() {
    let (mut supervisor, _) = start(bundle(&[("keep", b"")]));
    assert_eq!(
        logged(&supervisor.deliver(fault(1)).effects()).1,
        [supervise(Supervise::Exit(19))],
        "no console yet"
    );
    let (mut supervisor, _) = start(bundle(&[]));
    supervisor.deliver(Body::ServerStarted(ServerId::nth(1), 1));
    assert_eq!(
        logged(&supervisor.deliver(fault(2)).effects()).1,
        [Effect::Request(ServerId::nth(1), exit::FLUSH, b"flush")]
    );
    assert_eq!(
        supervisor
            .deliver(Body::ServerStarted(ServerId::nth(2), 1))
            .effects(),
        [],
        "building is over"
    );
}

/// A running machine whose cpuid server is restarted up to `attempts` times.
fn restarting(attempts: u8, then: Then) -> Harness<SupervisorServer> {
    let restart = Restart {
        attempts,
        per_minute: 30,
        then,
    };
    let cpuid = ServerSpec {
        restart,
        ..spec("cpuid", RoleKind::Cpuid)
    };
    let console = ServerSpec {
        restart,
        ..spec("console", RoleKind::Console)
    };
    let manifest = manifest(&[console, cpuid, spec("loader", RoleKind::Loader)]);
    let image = image();
    let files = [
        ("supervisor", &b"flat"[..]),
        ("manifest", &manifest),
        ("image/console", &image),
        ("image/cpuid", &image),
    ];
    running(archive(&[&files[..], &[("image/loader", &image)]].concat()))
}

/// The cpuid server's fault after so many messages.
fn fault_at(handled: u64, reason: Reason) -> Body<'static> {
    let at = Ticks(9);
    Body::ServerFaulted(FaultReport {
        server: ServerId::nth(2),
        generation: 1,
        reason,
        effect: 0,
        at,
        handled,
        injected: false,
    })
}

/// What it does about a body, but for what it logs.
fn does(supervisor: &mut Harness<SupervisorServer>, body: Body<'_>) -> Vec<String> {
    let answer = supervisor.deliver(body);
    logged(&answer.effects())
        .1
        .iter()
        .map(|effect| format!("{effect:?}"))
        .collect()
}

fn restart_of(id: u8) -> Vec<String> {
    vec![format!(
        "{:?}",
        supervise(Supervise::Restart(ServerId::nth(id)))
    )]
}

#[test]
fn a_fault_is_followed_by_a_restart_then_by_pauses_that_double_then_by_quarantine() {
    let mut supervisor = restarting(3, Then::Quarantine);
    assert_eq!(
        does(&mut supervisor, fault_at(5, Reason::Hang)),
        restart_of(2)
    );
    for (handled, milliseconds) in [(6, 1), (7, 2)] {
        let due = supervisor
            .header
            .now
            .after(Ticks(MACHINE.tsc_khz * milliseconds));
        let armed = Effect::Arm(watch::PAUSE, atoll_protocol::fixed::Fixed(due));
        assert_eq!(
            does(&mut supervisor, fault_at(handled, Reason::Hang)),
            [format!("{armed:?}")]
        );
        supervisor.header.now = due;
        assert_eq!(
            does(&mut supervisor, Body::Timer(watch::PAUSE)),
            restart_of(2)
        );
        assert!(
            does(&mut supervisor, Body::Timer(watch::PAUSE)).is_empty(),
            "once"
        );
    }
    let quarantine = format!("{:?}", supervise(Supervise::Quarantine(ServerId::nth(2))));
    assert_eq!(
        does(&mut supervisor, fault_at(8, Reason::Hang)),
        [quarantine]
    );
}

#[test]
fn a_server_that_gets_past_the_message_has_all_its_attempts_again() {
    let mut supervisor = restarting(1, Then::Stop);
    for handled in (0..100).map(|round| round * 2) {
        supervisor.advance(Ticks(MACHINE.tsc_khz * 5_000));
        assert_eq!(
            does(&mut supervisor, fault_at(handled, Reason::Panicked)),
            restart_of(2)
        );
    }
    let stops = does(&mut supervisor, fault_at(199, Reason::Panicked));
    assert_eq!(stops[0], format!("{:?}", Effect::Stop(Stop::ServerFault)));
}

#[test]
fn faults_that_were_asked_for_or_injected_do_not_count() {
    let mut supervisor = restarting(1, Then::Quarantine);
    for _ in 0..100 {
        assert_eq!(
            does(&mut supervisor, fault_at(7, Reason::Killed)),
            restart_of(2)
        );
    }
    for handled in (10..2_000).step_by(2) {
        let Body::ServerFaulted(report) = fault_at(handled, Reason::Panicked) else {
            unreachable!()
        };
        let injected = FaultReport {
            injected: true,
            ..report
        };
        assert_eq!(
            does(&mut supervisor, Body::ServerFaulted(injected)),
            restart_of(2)
        );
    }
    let mut supervisor = restarting(1, Then::Quarantine);
    assert_eq!(
        does(&mut supervisor, fault_at(7, Reason::Hang)),
        restart_of(2)
    );
}

#[test]
fn a_console_that_is_restarted_still_flushes() {
    let mut supervisor = restarting(3, Then::Quarantine);
    supervisor.deliver(Body::MachineStopped(Stop::PowerOff));
    let report = FaultReport {
        server: ServerId::nth(1),
        generation: 1,
        reason: Reason::Hang,
        effect: 0,
        at: Ticks(9),
        handled: 1,
        injected: false,
    };
    assert_eq!(
        does(&mut supervisor, Body::ServerFaulted(report)),
        restart_of(1)
    );
    let exit = format!("{:?}", supervise(Supervise::Exit(16)));
    assert_eq!(
        does(&mut supervisor, Body::Answered(exit::FLUSH, Some(b""))),
        [exit]
    );
}

#[test]
fn a_letter_that_asks_for_nothing_is_passed_over() {
    let mut supervisor = running(bundle(&[]));
    assert_eq!(
        supervisor
            .deliver(Body::Mail(ServerId::nth(1), b"kill them all"))
            .effects(),
        []
    );
}
