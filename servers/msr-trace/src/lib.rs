//! Answers RDMSR and WRMSR with the registers of `msr`, but logs accesses and denies some: what a researcher puts in place of `msr`
//! for as long as they want to know.
//!
//! | option | what | without it |
//! |---|---|---|
//! | `log` | registers whose accesses are logged | all |
//! | `deny` | registers that are as if they did not exist: #GP | none |
//! | `lines` | how many lines are logged | 256 |
//!
//! Registers are a list of numbers and ranges, `0x10 0x200..=0x2ff`. A table that denies registers takes something away from a guest that runs
//! already: it is put in only by force.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

use core::fmt;

use atoll_msr::MsrServer;
use atoll_protocol::interchange::MsrState;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::Machine;
use atoll_protocol::role::{Msr, MsrReply, MsrRequest};
use atoll_sdk::{Effects, Refuse, Server, Vault};
use table::Table;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

mod table;
#[cfg(test)]
mod tests;

/// Lines that are logged without the option.
const LINES: u64 = 256;

/// What survives: the tables, how many lines are left, and the registers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct State {
    /// Lines that may still be logged.
    lines: u64,
    logged: Table,
    denied: Table,
    /// Not used; zero.
    reserved: [u64; 4],
    registers: atoll_msr::State,
}

/// The server.
#[derive(Debug)]
pub struct TraceServer;

impl Server for TraceServer {
    type Role = Msr;
    type State = State;
    type Cache = ();

    fn start(machine: &Machine, setup: &Setup<'_>) -> Result<State, Refuse> {
        with(setup, MsrServer::start(machine, setup)?)
    }

    fn started(vault: &mut Vault<'_, Self>, effects: &mut Effects<'_, Msr>) {
        within(vault, |registers| MsrServer::started(registers, effects));
    }

    fn export(state: &State) -> Option<MsrState> {
        MsrServer::export(&state.registers)
    }

    fn import(
        machine: &Machine,
        setup: &Setup<'_>,
        before: MsrState,
        force: bool,
    ) -> Result<State, Refuse> {
        let state = with(setup, MsrServer::import(machine, setup, before, force)?)?;
        if state.denied.is_empty() || force {
            Ok(state)
        } else {
            Err(Refuse::TakesAway("registers that the table denies"))
        }
    }

    fn handle(
        vault: &mut Vault<'_, Self>,
        request: MsrRequest<'_>,
        effects: &mut Effects<'_, Msr>,
    ) -> MsrReply {
        let (MsrRequest::Read(exit) | MsrRequest::Write(exit)) = request;
        let reply = if vault.denied.has(exit.index) {
            MsrReply::GeneralProtection
        } else {
            within(vault, |registers| {
                MsrServer::handle(registers, request, effects)
            })
        };
        if vault.logged.has(exit.index) && vault.lines != 0 {
            *vault.at(|state| &mut state.lines) -= 1;
            effects.log(Access {
                request,
                reply,
                last: vault.lines == 0,
            });
        }
        reply
    }
}

/// Has the registers' server work on them.
fn within<R>(
    vault: &mut Vault<'_, TraceServer>,
    work: impl FnOnce(&mut Vault<'_, MsrServer>) -> R,
) -> R {
    vault.part(|state| &mut state.registers, |cache| cache, work)
}

/// The registers under the tables that the set-up has.
fn with(setup: &Setup<'_>, registers: atoll_msr::State) -> Result<State, Refuse> {
    Ok(State {
        lines: setup
            .number("lines")
            .unwrap_or(Ok(LINES))
            .map_err(|_| Refuse::BadOption("lines"))?,
        logged: setup
            .option("log")
            .map_or(Ok(Table::all()), |text| Table::parse("log", text))?,
        denied: setup
            .option("deny")
            .map_or(Ok(Table::default()), |text| Table::parse("deny", text))?,
        reserved: [0; 4],
        registers,
    })
}

/// An access and what became of it.
struct Access<'a> {
    request: MsrRequest<'a>,
    reply: MsrReply,
    /// It is the last that is logged.
    last: bool,
}

impl fmt::Display for Access<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.request {
            MsrRequest::Read(exit) => write!(f, "rdmsr {:#x}", exit.index)?,
            MsrRequest::Write(exit) => write!(f, "wrmsr {:#x} {:#x}", exit.index, exit.value)?,
        }
        match self.reply {
            MsrReply::Value(value) => write!(f, " is {value:#x}")?,
            MsrReply::Done => f.write_str(" is done")?,
            MsrReply::GeneralProtection => f.write_str(" is refused")?,
        }
        f.write_str(if self.last { "; no more is logged" } else { "" })
    }
}
