//! Sieges by the thousand (`ATOLL_SIEGES=100000 cargo test -p atoll-sim --test siege -- --nocapture`), a sample unasked. What fails says its
//! seed: `ATOLL_SIEGES=1 ATOLL_SIEGE_SEED=seed` plays that one again.

use atoll_protocol::interchange::{
    ClockState, ConsoleState, ControlState, CpuidState, Interchange, IrqchipState, MsrState,
    PowerState, SerialState, TimerState,
};
use atoll_protocol::role::RoleKind;
use atoll_sim::cast::{Cast, MEMORY};
use atoll_sim::siege::{Outcome, Siege};

/// How many are played unasked, and steps of each.
const SIEGES: u64 = 400;
const STEPS: usize = 120;

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number"))
    })
}

/// The versions of a role's state that its servers write and read.
fn versions(role: RoleKind) -> (u16, u16) {
    fn of<S: Interchange>() -> (u16, u16) {
        (S::VERSION, S::OLDEST)
    }
    match role {
        RoleKind::Cpuid => of::<CpuidState>(),
        RoleKind::Msr => of::<MsrState>(),
        RoleKind::Irqchip => of::<IrqchipState>(),
        RoleKind::Timer => of::<TimerState>(),
        RoleKind::Clock => of::<ClockState>(),
        RoleKind::Power => of::<PowerState>(),
        RoleKind::Serial => of::<SerialState>(),
        RoleKind::Console => of::<ConsoleState>(),
        RoleKind::Control => of::<ControlState>(),
        _ => (1, 1),
    }
}

#[test]
fn whatever_hostile_servers_and_users_do_the_host_never_ends_by_itself() {
    let mut machine = atoll_manifest::Machine::linux().expect("the machine that boots Linux");
    machine.memory = MEMORY;
    let manifest = machine.pack().expect("its manifest packs");
    let images: Vec<_> = machine
        .servers
        .iter()
        .map(|server| (server.image.clone(), server.role, versions(server.role)))
        .collect();
    let cast = Cast::new(&manifest).expect("all its servers are on the host");
    let siege = Siege {
        cast: &cast,
        manifest: &manifest,
        images: &images,
        steps: STEPS,
    };
    let first = asked("ATOLL_SIEGE_SEED").unwrap_or(1);
    let mut all = Outcome::default();
    for seed in first..first + asked("ATOLL_SIEGES").unwrap_or(SIEGES) {
        let Outcome {
            faults,
            killed,
            swapped,
        } = siege.play(seed).unwrap_or_else(|what| panic!("{what}"));
        all = Outcome {
            faults: all.faults + faults,
            killed: all.killed + killed,
            swapped: all.swapped + swapped,
        };
    }
    println!("{all:?}");
    assert!(
        all.faults > 0 && all.killed > 0 && all.swapped > 0,
        "nothing much happened: {all:?}"
    );
}
