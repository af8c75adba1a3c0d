//! What is held against each play does notice what it is there for: each rule is broken here on purpose.

use std::sync::Arc;

use atoll_protocol::inject::{Injection, Model, Plan, kind_with_name};
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::ServerId;
use atoll_sim::books::Books;
use atoll_sim::campaign::STEPS;
use atoll_sim::cast::Cast;
use atoll_sim::play::{Play, Rule, Scenario};

fn cast() -> Arc<Cast> {
    let machine = atoll_manifest::Machine::linux().expect("the machine that boots Linux");
    Cast::new(&machine.pack().expect("its manifest packs"))
        .expect("all its servers are on the host")
}

fn quiet(seed: u64) -> Scenario {
    Scenario {
        swaps: 0,
        ..Scenario::new(Plan::NONE, seed, STEPS)
    }
}

/// Which rule a model breaks that damages what is committed, played as if it did not.
fn broken_by(model: Model, role: RoleKind, kind: &str, argument: u64) -> Rule {
    let cast = cast();
    let server = cast.with_role(role).expect("a server of the role").number();
    let kind = kind_with_name(kind).expect("a kind of message");
    let mut plan = Plan {
        sequence: 1,
        count: 1,
        ..Plan::NONE
    };
    plan.injections[0] = Injection {
        model: model.number(),
        server,
        kind,
        first: 2,
        every: 1,
        argument,
        ..Injection::default()
    };
    let scenario = Scenario {
        swaps: 0,
        compared: true,
        ..Scenario::new(plan, 7, 400)
    };
    let mut play = Play::begin(&cast, scenario).unwrap_or_else(|broken| panic!("{broken}"));
    play.end().expect_err("it was not noticed").rule
}

/// Which rule does not hold if this is done to one of two machines that were alike.
fn broken_after(what: impl FnOnce(&mut Play)) -> Rule {
    let mut play = Play::begin(&cast(), quiet(3)).unwrap_or_else(|broken| panic!("{broken}"));
    for _ in 0..STEPS / 2 {
        play.step().unwrap_or_else(|broken| panic!("{broken}"));
    }
    what(&mut play);
    play.end().expect_err("it was not noticed").rule
}

#[test]
fn an_effect_that_is_lost_is_noticed() {
    let rule = broken_by(Model::Lose, RoleKind::Irqchip, "timer", 0);
    assert!(
        matches!(rule, Rule::Committed(_) | Rule::Seen(_)),
        "{rule:?}"
    );
}

#[test]
fn an_answer_that_is_committed_twice_is_noticed() {
    assert!(matches!(
        broken_by(Model::Stale, RoleKind::Msr, "msr-write", 0),
        Rule::Committed(_)
    ));
}

#[test]
fn another_value_is_noticed() {
    assert!(matches!(
        broken_by(Model::WrongValue, RoleKind::Cpuid, "cpuid", 0x1234),
        Rule::Committed(_)
    ));
}

#[test]
fn what_the_guest_sees_is_noticed() {
    let seen = |rule| matches!(rule, Rule::Seen(_));
    assert!(seen(broken_after(|play| play
        .subject
        .state
        .vcpu
        .general[3] ^= 1)));
    assert!(seen(broken_after(|play| play
        .subject
        .state
        .machine
        .poke(0x10_0000, b"?"))));
    assert!(seen(broken_after(|play| _ = play
        .subject
        .state
        .machine
        .mapped
        .insert(0x40_0000, (0x1000, 0)))));
}

#[test]
fn a_byte_that_comes_twice_is_noticed() {
    let rule = broken_after(|play| play.subject.state.machine.ports[0].input.extend(b"a"));
    assert!(matches!(rule, Rule::Seen(_)), "{rule:?}");
}

#[test]
fn a_place_that_is_not_given_back_is_noticed() {
    assert!(matches!(
        broken_after(|play| play.subject.state.servers[ServerId::nth(9)].results += 1),
        Rule::Books(_)
    ));
}

#[test]
fn books_that_do_not_balance_are_noticed() {
    let books = Books::of(
        &Play::begin(&cast(), quiet(1))
            .unwrap_or_else(|broken| panic!("{broken}"))
            .subject,
    );
    assert_eq!((books.balance(), books.closed(&books)), (Ok(()), Ok(())));
    let (uart, console) = (ServerId::nth(9), ServerId::nth(10));
    let wrong: [(&str, Books); 6] = [
        (
            "exits are open",
            Books {
                exits: 1,
                ..books.clone()
            },
        ),
        (
            "exits are open",
            Books {
                waits: true,
                ..books.clone()
            },
        ),
        (
            "credits",
            Books {
                mail: vec![(uart, console, 1, 0)],
                ..books.clone()
            },
        ),
        (
            "has reserved",
            Books {
                results: vec![(console, 2, 1)],
                ..books.clone()
            },
        ),
        (
            "no place reserved",
            Books {
                requests: vec![console],
                ..books.clone()
            },
        ),
        (
            "no server",
            Books {
                stray_frames: 1,
                ..books.clone()
            },
        ),
    ];
    for (what, books) in wrong {
        assert!(
            books.balance().is_err_and(|text| text.contains(what)),
            "{what}"
        );
    }
    let left: [Books; 4] = [
        Books {
            exits: 1,
            waits: true,
            ..books.clone()
        },
        Books {
            mail: vec![(uart, console, 1, 1)],
            ..books.clone()
        },
        Books {
            requests: vec![console],
            results: vec![(console, 1, 0)],
            ..books.clone()
        },
        Books {
            free_frames: books.free_frames - 1,
            ..books.clone()
        },
    ];
    assert!(
        left.iter()
            .all(|left| left.balance().is_ok() && left.closed(&books).is_err())
    );
}
