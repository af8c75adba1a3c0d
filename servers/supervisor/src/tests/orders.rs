//! Orders by the control line: kills and swaps.

use super::*;

/// What it does about an order, and the outcome that it tells.
pub(super) fn ordered(
    supervisor: &mut Harness<SupervisorServer>,
    bytes: &[u8],
) -> (Outcome, Vec<String>) {
    let answer = supervisor.deliver(Body::Request(ServerId::nth(1), bytes));
    let (_, others) = logged(&answer.effects());
    let Some(Effect::Reply(_, outcome)) = others
        .iter()
        .find(|effect| matches!(effect, Effect::Reply(..)))
    else {
        panic!("no reply in {others:?}")
    };
    let kept = others
        .iter()
        .filter(|effect| !matches!(effect, Effect::Reply(..)));
    (
        postcard::from_bytes(outcome).unwrap(),
        kept.map(|effect| format!("{effect:?}")).collect(),
    )
}

#[test]
fn servers_are_killed_by_order_if_they_are_there() {
    let mut supervisor = restarting(3, Then::Quarantine);
    let order = |id| postcard::to_extend(&Order::Kill(ServerId::nth(id)), Vec::new()).unwrap();
    for id in [0, 1, 2] {
        let kill = format!("{:?}", supervise(Supervise::Kill(ServerId::nth(id))));
        assert_eq!(
            ordered(&mut supervisor, &order(id)),
            (Outcome::Done, vec![kill])
        );
    }
    for id in [3, 4, 31] {
        assert_eq!(
            ordered(&mut supervisor, &order(id)),
            (Outcome::NoSuchServer, vec![]),
            "{id}"
        );
    }
    assert_eq!(
        ordered(&mut supervisor, b"\xff\xff"),
        (Outcome::NotUnderstood, vec![])
    );
    supervisor.deliver(fault_at(1, Reason::Hang));
    supervisor.deliver(fault_at(2, Reason::Hang));
    assert_eq!(
        ordered(&mut supervisor, &order(2)),
        (Outcome::NotNow, vec![]),
        "it waits for its restart"
    );
}

/// What an image says that it is called, wherever it is.
pub(super) const NOTED: &str = "says-its-name";

/// An image whose constants begin with what it is.
pub(super) fn noted(role: RoleKind, version: u16, oldest: u16) -> Vec<u8> {
    let note = Note {
        magic: Note::MAGIC,
        schema: SCHEMA_HASH,
        role: role as u32,
        version,
        oldest,
        name: Name::of(NOTED),
    };
    elf(&[(IMAGE, 5, b"code"), (IMAGE + 0x1000, 4, note.as_bytes())])
}

/// A running machine whose cpuid server knows version 2 and reads 1, with images to swap it for.
pub(super) fn swappable() -> Harness<SupervisorServer> {
    let grants = encode(&[
        Grant::GuestRead,
        Grant::Line(atoll_protocol::units::LineId::nth(3)),
    ]);
    let cpuid = ServerSpec {
        grants: &grants,
        config: b"how",
        ..spec("cpuid", RoleKind::Cpuid)
    };
    let manifest = manifest(&[
        spec("console", RoleKind::Console),
        cpuid,
        spec("loader", RoleKind::Loader),
    ]);
    let (plain, old) = (image(), noted(RoleKind::Cpuid, 2, 1));
    let (next, other, ancient) = (
        noted(RoleKind::Cpuid, 3, 2),
        noted(RoleKind::Msr, 2, 1),
        noted(RoleKind::Cpuid, 1, 1),
    );
    let files = [
        ("supervisor", &b"flat"[..]),
        ("manifest", &manifest),
        ("image/console", &plain),
        ("image/cpuid", &old),
    ];
    let spares = [
        ("image/loader", &plain[..]),
        ("image/next", &next),
        ("image/other", &other),
        ("image/ancient", &ancient),
    ];
    running(archive(
        &[&files[..], &spares[..], &[("image/plain", &plain)]].concat(),
    ))
}

/// An order for a swap of the cpuid server.
pub(super) fn swap_for(image: &str) -> Vec<u8> {
    postcard::to_extend(
        &Order::Swap(ServerId::nth(2), true, Some(image)),
        Vec::new(),
    )
    .unwrap()
}

/// Begins a swap; what is done for it.
pub(super) fn begun(supervisor: &mut Harness<SupervisorServer>) -> Vec<String> {
    let order = swap_for("next");
    does(supervisor, Body::Request(ServerId::nth(1), &order))
}

/// The outcome that is told, and what else is done.
pub(super) fn outcome(
    supervisor: &mut Harness<SupervisorServer>,
    body: Body<'_>,
) -> (Option<Outcome>, Vec<String>) {
    let answer = supervisor.deliver(body);
    let (_, others) = logged(&answer.effects());
    let told = others.iter().find_map(|effect| match effect {
        Effect::Reply(_, bytes) => postcard::from_bytes(bytes).ok(),
        _ => None,
    });
    let kept = others
        .iter()
        .filter(|effect| !matches!(effect, Effect::Reply(..)));
    (told, kept.map(|effect| format!("{effect:?}")).collect())
}

pub(super) fn destroy_scratch() -> String {
    format!("{:?}", supervise(Supervise::Destroy(swap::SCRATCH)))
}

#[test]
fn a_swap_makes_a_successor_with_the_mapped_rights_and_then_exchanges_it() {
    let mut supervisor = swappable();
    let steps = begun(&mut supervisor);
    let create = format!(
        "{:?}",
        supervise(Supervise::Create(
            swap::SCRATCH,
            RoleKind::Cpuid,
            LIMITS,
            "cpuid",
            NOTED
        ))
    );
    let mapped = format!(
        "{:?}",
        supervise(Supervise::Grant(swap::SCRATCH, Grant::GuestRead))
    );
    let entry = atoll_protocol::fixed::Fixed(IMAGE);
    let succeed = format!(
        "{:?}",
        supervise(Supervise::Succeed(
            swap::SCRATCH,
            ServerId::nth(2),
            entry,
            Terms::Force,
            b"how"
        ))
    );
    assert_eq!(
        (&steps[0], &steps[1], &steps[4]),
        (&create, &mapped, &succeed)
    );
    assert!(
        steps.len() == 6 && steps[5].starts_with("Defer"),
        "{steps:?}"
    );
    let exchange = format!(
        "{:?}",
        supervise(Supervise::Exchange(swap::SCRATCH, ServerId::nth(2), 1))
    );
    supervisor.advance(Ticks(7));
    let done = outcome(&mut supervisor, Body::ServerStarted(swap::SCRATCH, 1));
    assert_eq!(
        done,
        (Some(Outcome::Swapped(7)), vec![exchange, destroy_scratch()])
    );
    // Now it is of version 3, which reads 2: what only knows 1 cannot follow, what it came from can.
    assert_eq!(
        ordered(&mut supervisor, &swap_for("ancient")).0,
        Outcome::NoCommonVersion
    );
}

#[test]
fn a_swap_that_cannot_be_is_refused_before_anything_is_stopped() {
    let mut supervisor = swappable();
    for (image, why) in [
        ("nothing", Outcome::NoSuchImage),
        ("other", Outcome::WrongImage),
        ("plain", Outcome::WrongImage),
        ("ancient", Outcome::NoCommonVersion),
    ] {
        assert_eq!(
            ordered(&mut supervisor, &swap_for(image)),
            (why, vec![]),
            "{image}"
        );
    }
    for id in [0, 3, 31] {
        let order = postcard::to_extend(
            &Order::Swap(ServerId::nth(id), true, Some("next")),
            Vec::new(),
        )
        .unwrap();
        assert_eq!(
            ordered(&mut supervisor, &order),
            (Outcome::NoSuchServer, vec![]),
            "{id}"
        );
    }
    begun(&mut supervisor);
    assert_eq!(
        ordered(&mut supervisor, &swap_for("next")),
        (Outcome::NotNow, vec![]),
        "one at a time"
    );
}

#[test]
fn whatever_goes_wrong_takes_the_successor_away_and_is_told() {
    let told = || (Some(Outcome::RolledBack), vec![destroy_scratch()]);
    let mut supervisor = swappable();
    begun(&mut supervisor);
    let report = FaultReport {
        server: swap::SCRATCH,
        generation: 1,
        reason: Reason::Panicked,
        effect: 0,
        at: Ticks(9),
        handled: 0,
        injected: false,
    };
    assert_eq!(
        outcome(&mut supervisor, Body::ServerFaulted(report)),
        told()
    );
    begun(&mut supervisor);
    assert_eq!(
        outcome(&mut supervisor, Body::Released(ServerId::nth(2))),
        told()
    );
    begun(&mut supervisor);
    let (outcome, effects) = outcome(&mut supervisor, fault_at(1, Reason::Killed));
    assert_eq!(
        (outcome, &effects[..]),
        (
            Some(Outcome::RolledBack),
            &[&[destroy_scratch()][..], &restart_of(2)].concat()[..]
        )
    );
}

#[test]
fn an_order_whose_time_is_over_is_not_answered_any_more() {
    let mut supervisor = swappable();
    begun(&mut supervisor);
    supervisor.advance(Ticks(MACHINE.tsc_khz * 60_000));
    assert_eq!(
        outcome(&mut supervisor, Body::Released(ServerId::nth(2))),
        (None, vec![destroy_scratch()])
    );
}
