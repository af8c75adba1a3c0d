//! A server whose restarts do not help falls back to its alternative.

use super::orders::*;
use super::*;

/// A running machine whose cpuid server is restarted once over a message and then falls back to `next`, if the two have a version in common
/// with its state.
pub(super) fn falling(version: u16) -> Harness<SupervisorServer> {
    let restart = Restart {
        attempts: 1,
        per_minute: 30,
        then: Then::Quarantine,
    };
    let cpuid = ServerSpec {
        restart,
        alternative: Some("next"),
        config: b"how",
        ..spec("cpuid", RoleKind::Cpuid)
    };
    let msr = spec("msr", RoleKind::Msr);
    let manifest = manifest(&[
        spec("console", RoleKind::Console),
        cpuid,
        spec("loader", RoleKind::Loader),
        msr,
    ]);
    let (plain, own, next) = (
        image(),
        noted(RoleKind::Cpuid, 1, 1),
        noted(RoleKind::Cpuid, version, version),
    );
    let msr = noted(RoleKind::Msr, 1, 1);
    let files = [
        ("supervisor", &b"flat"[..]),
        ("manifest", &manifest),
        ("image/console", &plain),
        ("image/cpuid", &own),
    ];
    let more = [
        ("image/loader", &plain[..]),
        ("image/next", &next),
        ("image/msr", &msr),
    ];
    let (mut supervisor, _) = start(archive(&[&files[..], &more[..]].concat()));
    for id in 1..=4 {
        supervisor.deliver(Body::ServerStarted(ServerId::nth(id), 1));
    }
    supervisor.deliver(Body::Loaded);
    supervisor
}

fn text(step: Supervise<'_>) -> String {
    format!("{:?}", supervise(step))
}

/// It is faulted over a message twice: what is done the second time.
fn exhausted(supervisor: &mut Harness<SupervisorServer>) -> Vec<String> {
    assert_eq!(does(supervisor, fault_at(5, Reason::Hang)), restart_of(2));
    does(supervisor, fault_at(6, Reason::Hang))
}

/// These effects restart it and make a successor on these terms.
#[track_caller]
fn assert_succession(effects: &[String], terms: Terms) {
    let entry = atoll_protocol::fixed::Fixed(IMAGE);
    let first = [
        text(Supervise::Restart(ServerId::nth(2))),
        text(Supervise::Create(
            swap::SCRATCH,
            RoleKind::Cpuid,
            LIMITS,
            "cpuid",
            NOTED,
        )),
    ];
    let last = text(Supervise::Succeed(
        swap::SCRATCH,
        ServerId::nth(2),
        entry,
        terms,
        b"how",
    ));
    assert_eq!(
        (&effects[..2], effects.last()),
        (&first[..], Some(&last)),
        "{effects:?}"
    );
}

fn of_scratch() -> Body<'static> {
    let (reason, at) = (Reason::Panicked, Ticks(9));
    Body::ServerFaulted(FaultReport {
        server: swap::SCRATCH,
        generation: 1,
        reason,
        effect: 0,
        at,
        handled: 0,
        injected: false,
    })
}

pub(super) fn exchanged() -> Vec<String> {
    vec![
        text(Supervise::Exchange(swap::SCRATCH, ServerId::nth(2), 1)),
        destroy_scratch(),
    ]
}

pub(super) fn quarantined() -> Vec<String> {
    vec![text(Supervise::Quarantine(ServerId::nth(2)))]
}

/// What is done when the pause is over.
fn later(supervisor: &mut Harness<SupervisorServer>) -> Vec<String> {
    supervisor.advance(Ticks(MACHINE.tsc_khz * 10));
    does(supervisor, Body::Timer(watch::PAUSE))
}

#[test]
fn the_alternative_goes_on_with_the_state_that_a_fresh_copy_of_the_old_server_exports() {
    let mut supervisor = falling(1);
    let answer = exhausted(&mut supervisor);
    assert_succession(&answer, Terms::Force);
    assert_eq!(
        does(&mut supervisor, Body::ServerStarted(swap::SCRATCH, 1)),
        exchanged()
    );
    // It is a server like any other: its own faults, over other messages, are followed by restarts.
    assert_eq!(
        does(&mut supervisor, fault_at(90, Reason::Hang)),
        restart_of(2)
    );
}

#[test]
fn what_is_done_is_said() {
    let mut supervisor = falling(1);
    supervisor.deliver(fault_at(5, Reason::Hang));
    let answer = supervisor.deliver(fault_at(6, Reason::Hang));
    let effects = answer.effects();
    let (lines, _) = logged(&effects);
    assert!(
        lines.ends_with(
            "restarts do not help server `cpuid`: it falls back to image `next`, with its state"
        ),
        "{lines}"
    );
}

#[test]
fn a_server_that_crashes_over_its_export_is_followed_by_an_alternative_that_begins_anew() {
    let mut supervisor = falling(1);
    exhausted(&mut supervisor);
    let answer = does(&mut supervisor, fault_at(7, Reason::Panicked));
    assert_eq!(
        answer[0],
        destroy_scratch(),
        "what there is of the alternative goes first"
    );
    assert!(
        answer.len() == 2 && answer[1].starts_with("Arm"),
        "{answer:?}"
    );
    assert_succession(&later(&mut supervisor), Terms::Reset);
    assert_eq!(
        does(&mut supervisor, Body::ServerStarted(swap::SCRATCH, 1)),
        exchanged()
    );
}

#[test]
fn an_alternative_that_refuses_the_state_begins_anew() {
    let mut supervisor = falling(1);
    exhausted(&mut supervisor);
    assert_eq!(does(&mut supervisor, of_scratch()), [destroy_scratch()]);
    // The kernel lets the old one go on; it was restarted, has exported, and was told that it goes on.
    assert_succession(
        &does(&mut supervisor, fault_at(9, Reason::Hang)),
        Terms::Reset,
    );
}

#[test]
fn an_alternative_that_knows_no_version_of_the_state_begins_anew_at_once() {
    let mut supervisor = falling(2);
    assert_succession(&exhausted(&mut supervisor), Terms::Reset);
}

#[test]
fn when_the_alternative_fails_in_each_way_the_server_is_given_up() {
    let mut supervisor = falling(2);
    exhausted(&mut supervisor);
    assert_eq!(does(&mut supervisor, of_scratch()), [destroy_scratch()]);
    assert_eq!(
        does(&mut supervisor, fault_at(8, Reason::Hang)),
        quarantined()
    );
}

#[test]
fn an_alternative_that_fails_over_the_same_message_ends_in_quarantine_after_a_bounded_number_of_faults()
 {
    let mut supervisor = falling(1);
    let mut handled = 5;
    for faults in 1.. {
        assert!(faults < 20, "it never ends");
        let answer = does(&mut supervisor, fault_at(handled, Reason::Hang));
        handled += 1;
        if answer == quarantined() {
            return;
        }
        if answer.iter().any(|effect| effect.contains("Succeed")) {
            handled += 2;
            assert_eq!(
                does(&mut supervisor, Body::ServerStarted(swap::SCRATCH, 1)),
                exchanged()
            );
        } else if answer != restart_of(2) {
            assert_eq!(later(&mut supervisor), restart_of(2), "{answer:?}");
        }
    }
}

#[test]
fn a_fallback_waits_for_a_swap_of_another_server() {
    let mut supervisor = falling(1);
    supervisor.deliver(fault_at(5, Reason::Hang));
    let order = postcard::to_extend(
        &Order::Swap(ServerId::nth(4), true, Some("msr")),
        Vec::new(),
    )
    .unwrap();
    supervisor.deliver(Body::Request(ServerId::nth(1), &order));
    let answer = does(&mut supervisor, fault_at(6, Reason::Hang));
    assert!(
        answer.len() == 1 && answer[0].starts_with("Arm"),
        "{answer:?}"
    );
    assert!(later(&mut supervisor)[0].starts_with("Arm"), "still");
    supervisor.deliver(Body::ServerStarted(swap::SCRATCH, 1));
    assert_succession(&later(&mut supervisor), Terms::Force);
}

#[test]
fn a_server_that_is_swapped_by_order_has_its_alternative_again() {
    let mut supervisor = falling(2);
    exhausted(&mut supervisor);
    supervisor.deliver(Body::ServerStarted(swap::SCRATCH, 1));
    let order = postcard::to_extend(
        &Order::Swap(ServerId::nth(2), true, Some("next")),
        Vec::new(),
    )
    .unwrap();
    supervisor.deliver(Body::Request(ServerId::nth(1), &order));
    assert_eq!(
        outcome(&mut supervisor, Body::ServerStarted(swap::SCRATCH, 1)),
        (Some(Outcome::Swapped(0)), exchanged())
    );
    assert_eq!(
        does(&mut supervisor, fault_at(7, Reason::Hang)),
        restart_of(2)
    );
    // Both are of version 2 now.
    assert_succession(
        &does(&mut supervisor, fault_at(8, Reason::Hang)),
        Terms::Force,
    );
}

#[test]
fn an_alternative_that_is_not_there_or_of_another_role_is_none() {
    for alternative in ["nothing", "loader", "msr"] {
        let restart = Restart {
            attempts: 0,
            per_minute: 30,
            then: Then::Quarantine,
        };
        let cpuid = ServerSpec {
            restart,
            alternative: Some(alternative),
            ..spec("cpuid", RoleKind::Cpuid)
        };
        let manifest = manifest(&[
            spec("console", RoleKind::Console),
            cpuid,
            spec("loader", RoleKind::Loader),
        ]);
        let (plain, msr) = (image(), noted(RoleKind::Msr, 1, 1));
        let files = [
            ("manifest", &manifest[..]),
            ("image/console", &plain),
            ("image/cpuid", &plain),
            ("image/loader", &plain),
        ];
        let mut supervisor = running(archive(&[&files[..], &[("image/msr", &msr)]].concat()));
        assert_eq!(
            does(&mut supervisor, fault_at(5, Reason::Hang)),
            quarantined(),
            "{alternative}"
        );
    }
}
