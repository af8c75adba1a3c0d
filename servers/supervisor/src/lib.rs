//! Builds the machine from its manifest and watches over it.
//!
//! An answer holds a bounded number of effects, so the machine is built one server per activation: the kernel's word that a server has
//! started is what wakes the supervisor for the next one.
//!
//! ```text
//! started ─► create the machine and server 1 ─ServerStarted(1)─► server 2 ─► .. ─► server n ─► Load ─Loaded─► destroy the loader, run
//! run ─MachineStopped─► flush the console ─Answered─► exit
//! ```
//!
//! A server that is faulted meanwhile is restarted ([`watch`]), replaced ([`fallback`]), or given up, as its part of the manifest says.
//!
//! It keeps only where it is in that; names and rights are read from the bundle again when they are needed. Each step is one activation, so
//! that the supervisor itself can be restarted between any two of them and goes on where it was.
#![no_std]
#![forbid(unsafe_code)]

use atoll_protocol::effect::Supervise;
use atoll_protocol::fault::FaultReport;
use atoll_protocol::manifest::{Setup, Then};
use atoll_protocol::message::{Machine, Stop};
use atoll_protocol::role::{
    DriverReply, MailRequest, Supervisor, SupervisorEffect, SupervisorEvent,
};
use atoll_protocol::units::ServerId;
use atoll_sdk::{Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

mod build;
mod exit;
mod fallback;
mod image;
mod order;
mod plan;
mod report;
mod supply;
mod swap;
#[cfg(test)]
mod tests;
mod trouble;
mod upload;
mod watch;

use plan::Plan;
use supply::Supply;
use swap::Swap;
use trouble::Trouble;
use upload::Uploads;
use watch::Watches;

/// What survives.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct State {
    progress: Progress,
    watches: Watches,
    swap: Swap,
    uploads: Uploads,
    supply: Supply,
}

/// Where the supervisor is: one vault line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Progress {
    /// One of the phases below.
    phase: u8,
    /// While building: the server whose start is awaited. Later: the last server.
    server: u8,
    /// How many servers there are.
    servers: u8,
    /// The loader.
    loader: u8,
    /// The console, or 0 if there is none or it was faulted.
    console: u8,
    /// While leaving: the exit code.
    code: u8,
    /// 1: after a server's fault the host stays, so that someone can look at the machine.
    keep: u8,
    /// 1: the loader has done its work and is gone.
    placed: u8,
    /// Ticks of a millisecond.
    millisecond: u64,
    /// Not used; zero.
    rest: [u64; 6],
}

impl Progress {
    /// Servers are being started.
    const BUILDING: u8 = 0;
    /// The loader places the guest.
    const LOADING: u8 = 1;
    /// The guest runs.
    const RUNNING: u8 = 2;
    /// The console is writing out what it has; then the host ends.
    const LEAVING: u8 = 3;
    /// The guest is stopped, the host stays.
    const KEPT: u8 = 4;
}

/// The server.
#[derive(Debug)]
pub struct SupervisorServer;

impl Server for SupervisorServer {
    type Role = Supervisor;
    type State = State;
    type Cache = ();

    fn start(machine: &Machine, _: &Setup<'_>) -> Result<State, Refuse> {
        Ok(State {
            progress: Progress {
                millisecond: machine.tsc_khz,
                ..Progress::default()
            },
            watches: Watches::new_zeroed(),
            swap: Swap::new_zeroed(),
            uploads: Uploads::new_zeroed(),
            supply: Supply::of(machine.frames),
        })
    }

    atoll_sdk::immovable!();

    fn started(vault: &mut Vault<'_, Self>, effects: &mut Effects<'_, Supervisor>) {
        let begun = Plan::read(effects.bundle()).and_then(|plan| {
            let millisecond = vault.progress.millisecond;
            *vault.at(|state| &mut state.progress) = Progress {
                millisecond,
                ..plan.progress()
            };
            supply::begin(vault, &plan)?;
            effects.emit(SupervisorEffect::Supervise(Supervise::CreateMachine(
                plan.memory(),
                plan.vcpus(),
                upload::from(effects.bundle()),
            )));
            build(vault, &plan, 1, effects)
        });
        if let Err(trouble) = begun {
            exit::broken(vault, trouble, effects);
        }
    }

    fn handle(
        vault: &mut Vault<'_, Self>,
        request: MailRequest<'_>,
        effects: &mut Effects<'_, Supervisor>,
    ) -> DriverReply {
        order::take(vault, request, effects)
    }

    fn event(
        vault: &mut Vault<'_, Self>,
        event: SupervisorEvent<'_>,
        effects: &mut Effects<'_, Supervisor>,
    ) {
        match event {
            SupervisorEvent::ServerStarted(id, generation) => {
                server_started(vault, id, generation, effects)
            }
            SupervisorEvent::Loaded => loaded(vault, effects),
            SupervisorEvent::MachineStopped(why) => machine_stopped(vault, why, effects),
            SupervisorEvent::ServerFaulted(report) => server_faulted(vault, report, effects),
            SupervisorEvent::Answered(exit::FLUSH, _)
                if vault.progress.phase == Progress::LEAVING =>
            {
                exit::now(vault.progress.code, effects);
            }
            SupervisorEvent::Released(id) => {
                swap::failed(vault, id, effects);
            }
            SupervisorEvent::Timer(watch::PAUSE) => watch::pause_over(vault, effects),
            SupervisorEvent::Answered(..) | SupervisorEvent::Timer(_) => {}
        }
    }
}

/// The next server, or the guest after the last.
fn server_started(
    vault: &mut Vault<'_, SupervisorServer>,
    id: ServerId,
    generation: u32,
    effects: &mut Effects<'_, Supervisor>,
) {
    if swap::started(vault, id, generation, effects) {
        return;
    }
    if vault.progress.phase != Progress::BUILDING || id.number() != vault.progress.server {
        return;
    }
    if vault.progress.server >= vault.progress.servers {
        *vault.at(|state| &mut state.progress.phase) = Progress::LOADING;
        effects.emit(SupervisorEffect::Supervise(Supervise::Load(ServerId::nth(
            vault.progress.loader,
        ))));
        return;
    }
    let next = vault.progress.server + 1;
    *vault.at(|state| &mut state.progress.server) = next;
    if let Err(trouble) =
        Plan::read(effects.bundle()).and_then(|plan| build(vault, &plan, next, effects))
    {
        exit::broken(vault, trouble, effects);
    }
}

/// Makes and starts a server, and remembers of it what is wanted later.
fn build<'b>(
    vault: &mut Vault<'_, SupervisorServer>,
    plan: &Plan<'b>,
    number: u8,
    effects: &mut Effects<'_, Supervisor>,
) -> Result<(), Trouble<'b>> {
    let (note, policy) = build::server(vault, plan, number, effects)?;
    swap::note(vault, number, &note);
    watch::allow(vault, number, policy);
    Ok(())
}

/// The loader goes, with its rights to the guest's memory and the bundle, before the guest runs.
fn loaded(vault: &mut Vault<'_, SupervisorServer>, effects: &mut Effects<'_, Supervisor>) {
    if vault.progress.phase != Progress::LOADING {
        return;
    }
    let state = vault.at(|state| &mut state.progress);
    state.phase = Progress::RUNNING;
    state.placed = 1;
    let loader = ServerId::nth(state.loader);
    effects.emit(SupervisorEffect::Supervise(Supervise::Destroy(loader)));
    supply::give_back(vault, loader);
    effects.log("machine runs");
    effects.emit(SupervisorEffect::Supervise(Supervise::Run));
}

fn machine_stopped(
    vault: &mut Vault<'_, SupervisorServer>,
    why: Stop,
    effects: &mut Effects<'_, Supervisor>,
) {
    // A machine that was stopped for a server's fault is on its way out already.
    if matches!(vault.progress.phase, Progress::LEAVING | Progress::KEPT) {
        return;
    }
    effects.log(report::stop(why));
    exit::after_flush(vault, exit::code(why), effects);
}

/// A server that can be restarted is; one that cannot is given up, or stops the guest.
fn server_faulted(
    vault: &mut Vault<'_, SupervisorServer>,
    report: &FaultReport,
    effects: &mut Effects<'_, Supervisor>,
) {
    let id = report.server;
    let failed = swap::failed(vault, id, effects);
    // The guest waits: no more is done than must be. Which rule it broke stands in the kernel's log.
    if id == swap::SCRATCH || watch::restart(vault, report, effects) {
        return;
    }
    let spec = Plan::read(effects.bundle()).and_then(|plan| plan.server(id.number()));
    effects.log(report::Faulted {
        report,
        name: spec.ok().map(|spec| spec.name),
    });
    if vault.progress.phase == Progress::RUNNING && fallback::step(vault, id, !failed, effects) {
        return;
    }
    give_up(vault, id, effects);
}

/// Nothing has helped a server: its role's fallbacks answer from now on, or the guest is stopped.
fn give_up(
    vault: &mut Vault<'_, SupervisorServer>,
    id: ServerId,
    effects: &mut Effects<'_, Supervisor>,
) {
    if id.number() != 0 && id.number() == vault.progress.console {
        *vault.at(|state| &mut state.progress.console) = 0;
        // Nobody is left to answer the flush.
        if vault.progress.phase == Progress::LEAVING {
            exit::now(vault.progress.code, effects);
            return;
        }
    }
    if matches!(vault.progress.phase, Progress::LEAVING | Progress::KEPT) {
        return;
    }
    if vault.progress.phase == Progress::RUNNING {
        let spec = Plan::read(effects.bundle()).and_then(|plan| plan.server(id.number()));
        if spec.is_ok_and(|spec| spec.restart.then == Then::Quarantine) {
            watch::quarantine(vault, id, effects);
            return;
        }
        effects.emit(SupervisorEffect::Stop(Stop::ServerFault));
        if vault.progress.keep != 0 {
            effects.log("the guest is stopped; the host stays");
            *vault.at(|state| &mut state.progress.phase) = Progress::KEPT;
            return;
        }
    }
    exit::after_flush(vault, exit::code(Stop::ServerFault), effects);
}
