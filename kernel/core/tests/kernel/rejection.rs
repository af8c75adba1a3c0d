//! An answer that breaks a rule has done nothing: whatever can be seen from outside is as it was before the server ran.

use atoll_core::machine::Outcome;
use atoll_core::server::Standing;
use atoll_protocol::effect::{Effect, GuestCas, Mapping, Supervise};
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::layout::IMAGE;
use atoll_protocol::message::{Body, Stop};
use atoll_protocol::units::{Gpa, Ticks, TimerId};
use atoll_protocol::vcpu::SystemRegister;
use atoll_protocol::{EFFECTS, PAGE, PANICKED};

use crate::cast::{CAST, COM1, CONSOLE, CPUID, MMU, SERIAL, SUPERVISOR};
use crate::exits::Exit;
use crate::machine::TSC_KHZ;
use crate::script::{LEAF, Line, encode, message};
use crate::world::World;

/// The emulator answers a nested fault with this; nothing of it may happen, and the emulator is faulted.
fn refused(bytes: Vec<u8>, reason: Reason) {
    let mut world = World::booted();
    world.servers().on(MMU, Line::Bytes(bytes));
    let (before, after) = world.around(Exit::Fault(0x5000));
    assert_eq!(before, after);
    world.assert_fault(MMU, reason);
}

/// Effects that are all in order for an emulator.
fn in_order() -> Vec<Effect<'static>> {
    vec![
        Effect::Save(0, 8),
        Effect::Register(0, Fixed(1)),
        Effect::System(SystemRegister::Cr3, Fixed(0x3000)),
        Effect::GuestWrite(Fixed(Gpa(0x8000)), b"written"),
        Effect::GuestCas(Fixed(GuestCas {
            gpa: Gpa(0x9000),
            old: 0,
            new: 1,
            size: 8,
        })),
        Effect::Map(Fixed(Mapping {
            gpa: Gpa(0x5000),
            size: Mapping::SMALL,
            access: 3,
        })),
        Effect::Arm(TimerId::nth(0), Fixed(Ticks(2_000_000))),
        Effect::Log("all is well"),
        Effect::Resume,
    ]
}

#[test]
fn an_answer_in_order_is_committed_whole() {
    let mut world = World::booted();
    world.on(MMU, &in_order());
    let (before, after) = world.around(Exit::Fault(0x5000));
    world.assert_no_fault();
    assert_eq!(after.journal.len(), before.journal.len() + 4);
    assert_eq!(world.kernel.state.machine.memory.number(Gpa(0x9000), 8), 1);
    assert_eq!(after.timers.len(), 1);
    assert_ne!(before.committed, after.committed);
    assert_eq!(
        (world.register(0), world.kernel.state.vcpu.vmcb.save.cr3),
        (1, 0x3000)
    );
}

#[test]
fn answer_with_one_ungranted_effect_commits_nothing() {
    for place in 0..in_order().len() {
        let mut effects = in_order();
        effects.insert(place, Effect::PortOut(COM1, 1, 0x41));
        refused(encode(&effects), Reason::NotGranted);
    }
}

#[test]
fn a_truncated_answer_commits_nothing() {
    let bytes = encode(&in_order());
    let ends: Vec<usize> = (1..in_order().len())
        .map(|count| encode(&in_order()[..count]).len())
        .collect();
    for length in 1..bytes.len() {
        // Cut between two effects it is an answer that leaves its ticket open.
        let reason = if ends.contains(&length) {
            Reason::TicketOpen
        } else {
            Reason::Malformed
        };
        refused(bytes[..length].to_vec(), reason);
    }
    refused(Vec::new(), Reason::TicketOpen);
}

#[test]
fn an_effect_that_does_not_exist_is_malformed() {
    for tag in 36..=255 {
        refused(
            [encode(&[Effect::Save(0, 1)]), vec![tag]].concat(),
            Reason::Malformed,
        );
    }
}

#[test]
fn a_count_of_two_to_the_64_is_malformed() {
    let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    for effect in [
        Effect::Data(b""),
        Effect::Log(""),
        Effect::GuestWrite(Fixed(Gpa(0)), b""),
    ] {
        let mut bytes = encode(&[effect]);
        bytes.pop();
        bytes.extend(most);
        refused(bytes, Reason::Malformed);
    }
}

#[test]
fn text_that_is_no_text_is_malformed() {
    let mut bytes = encode(&[Effect::Log("a")]);
    *bytes.last_mut().expect("it has bytes") = 0xff;
    refused(bytes, Reason::Malformed);
}

#[test]
fn one_effect_too_many_commits_none() {
    let mut effects = vec![Effect::Save(0, 1); EFFECTS];
    effects.push(Effect::Resume);
    refused(encode(&effects), Reason::TooManyEffects);
    let mut world = World::booted();
    world.on(MMU, &effects[1..]);
    world.exit(Exit::Fault(0x5000));
    world.assert_no_fault();
}

#[test]
fn an_answer_longer_than_its_page_is_refused() {
    for length in [
        PAGE as u64 + 1,
        u64::from(u32::MAX),
        u64::MAX,
        PANICKED + PAGE as u64 + 1,
    ] {
        let mut world = World::booted();
        world.ends(MMU, Outcome::Answer(length));
        let (before, after) = world.around(Exit::Fault(0x5000));
        assert_eq!(before, after);
        world.assert_fault(MMU, Reason::Oversized);
    }
}

#[test]
fn a_panic_is_logged_with_its_text() {
    let mut world = World::booted();
    world
        .servers()
        .on(CPUID, Line::Panics("the leaf is on fire"));
    let (before, after) = world.around(Exit::Cpuid(0));
    assert_eq!(before, after);
    world.assert_fault(CPUID, Reason::Panicked);
    assert!(
        world
            .servers()
            .log
            .iter()
            .any(|line| line == "server 2 panicked: the leaf is on fire")
    );
}

#[test]
fn a_panic_can_neither_forge_a_line_nor_write_one_without_end() {
    let mut world = World::booted();
    let text = "A\n[9.999999] hypervisor fault: FORGED \x1b[31mred";
    world.servers().on(CPUID, Line::Panics(text));
    world.exit(Exit::Cpuid(0));
    let shown = r"server 2 panicked: A\n[9.999999] hypervisor fault: FORGED \x1b[31mred";
    assert!(
        world.servers().log.iter().any(|line| line == shown),
        "{:#?}",
        world.servers().log
    );
    let mut world = World::booted();
    world
        .servers()
        .on(CPUID, Line::Panics("\x1b".repeat(PAGE).leak()));
    world.exit(Exit::Cpuid(0));
    let log = &world.servers().log;
    let line = log
        .iter()
        .find(|line| line.starts_with("server 2 panicked"))
        .expect("it is told");
    assert!(
        line.len() < 4 * 512 + 100 && line.ends_with("... (and 3584 bytes more)"),
        "{line}"
    );
}

#[test]
fn all_lines_about_a_server_have_one_throttle_and_its_own_do_not_use_it_up() {
    let mut world = World::booted();
    let seen = |world: &World, what: &str| {
        world
            .servers()
            .log
            .iter()
            .filter(|line| line.contains(what))
            .count()
    };
    for _ in 0..100 {
        world.on(
            CPUID,
            &[Effect::Log("much talk"), Effect::Leaf(Fixed(LEAF))],
        );
        world.exit(Exit::Cpuid(0));
    }
    assert_eq!(seen(&world, "cpuid: much talk"), 48);
    for _ in 0..100 {
        world.servers().on(CPUID, Line::Panics("again"));
        world.exit(Exit::Cpuid(0));
        crate::restart::restart(&mut world, CPUID);
    }
    // Each time a panic and a fault.
    assert_eq!(
        (
            seen(&world, "server 2 panicked"),
            seen(&world, "fault: server 2 ")
        ),
        (8, 8)
    );
    assert_eq!(seen(&world, "(52 lines before this were suppressed)"), 1);
    // Ten more in a second, and the first says how much is missing.
    world.kernel.state.machine.clock += 1000 * TSC_KHZ;
    for _ in 0..100 {
        world.servers().on(CPUID, Line::Panics("later"));
        world.exit(Exit::Cpuid(0));
        crate::restart::restart(&mut world, CPUID);
    }
    assert_eq!(
        (
            seen(&world, "server 2 panicked: later"),
            seen(&world, "(184 lines before this were suppressed)")
        ),
        (5, 1)
    );
}

#[test]
fn what_the_processor_says_is_the_reason() {
    let page_fault = Reason::Exception {
        vector: 14,
        error: 7,
        address: 0xdead_b000,
    };
    for reason in [page_fault, Reason::Hang] {
        let mut world = World::booted();
        world.ends(MMU, Outcome::Fault(reason));
        let (before, after) = world.around(Exit::Fault(0x5000));
        assert_eq!(before, after);
        world.assert_fault(MMU, reason);
    }
}

#[test]
fn the_report_names_the_server_its_generation_and_the_effect() {
    let mut world = World::booted();
    world.on(
        CPUID,
        &[
            Effect::Save(0, 1),
            Effect::Save(8, 1),
            Effect::Leaf(Fixed(LEAF)),
        ],
    );
    world.exit(Exit::Cpuid(7));
    let report = world.fault(CPUID).expect("it is faulted");
    assert_eq!(
        (report.generation, report.reason, report.effect),
        (1, Reason::OutsideVault, 1)
    );
    let log = world.servers().log.join("\n");
    assert!(
        log.contains("fault: server 2 `cpuid`") && log.contains("OutsideVault (effect 1)"),
        "{log}"
    );
}

#[test]
fn what_is_known_of_a_fault_is_told_when_nobody_restarts_the_server() {
    for given_up in [
        Effect::Supervise(Supervise::Quarantine(CPUID)),
        Effect::Stop(Stop::ServerFault),
        Effect::Supervise(Supervise::Exit(19)),
    ] {
        let mut world = World::booted();
        world.ends(CPUID, Outcome::Fault(Reason::Hang));
        world.exit(Exit::Cpuid(7));
        world.on(SUPERVISOR, &[given_up]);
        assert!(
            !world
                .servers()
                .log
                .iter()
                .any(|line| line.contains("its last messages")),
            "it may yet be restarted"
        );
        // It was told of the fault already, and left it at that.
        world.kernel.state.start_first(SUPERVISOR, IMAGE);
        world.pass();
        let log = world.servers().log.join("\n");
        assert!(
            log.contains("what is known of the fault of server 2, generation 1:")
                && log.contains("its registers: r15 "),
            "{log}"
        );
        assert!(
            log.contains(" start 0x1") && log.contains(" cpuid 0x7"),
            "the last messages are told: {log}"
        );
        assert_eq!(log.matches("its last messages").count(), 1, "once");
    }
}

#[test]
fn a_fault_holds_the_guest_but_not_the_other_servers() {
    let mut world = World::booted();
    world.on(CPUID, &[]);
    world.exit(Exit::Cpuid(0));
    assert_eq!(world.pass(), atoll_core::run::Turn::Idle);
    assert_eq!(world.kernel.state.stopped, None);
    world.kernel.host_event(atoll_core::run::HostEvent::Irq(
        atoll_protocol::units::HostIrq::nth(4),
    ));
    world.pass();
    assert_eq!(world.got(CONSOLE).len(), 1);
    let told = world.got(SUPERVISOR);
    assert!(told.iter().any(
        |bytes| matches!(message(bytes).body, Body::ServerFaulted(report) if report.server == CPUID)
    ));
    for member in CAST.iter().filter(|member| member.id != CPUID) {
        assert_eq!(
            world.kernel.state.servers[member.id].standing,
            Standing::Running
        );
    }
}

#[test]
fn what_a_server_did_to_its_own_copy_of_the_vault_without_saving_it_is_not_seen() {
    let mut world = World::booted();
    let before = world.observe().committed;
    for _ in 0..10 {
        world.exit(Exit::In(COM1, 1));
    }
    assert_eq!(world.observe().committed, before);
    world.on(SERIAL, &[Effect::Save(3, 1), Effect::Value(Fixed(0))]);
    world.exit(Exit::In(COM1, 1));
    let after = world.observe().committed;
    let changed: Vec<usize> = (0..8 * 64)
        .filter(|byte| before[10][*byte] != after[10][*byte])
        .collect();
    assert_eq!(changed, (3 * 64..4 * 64).collect::<Vec<usize>>());
}
