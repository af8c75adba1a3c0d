//! A CPUID server cannot express a port write: its role has no effects at all.

use atoll_sdk::protocol::effect::Effect;
use atoll_sdk::protocol::interchange::CpuidState;
use atoll_sdk::protocol::manifest::Setup;
use atoll_sdk::protocol::message::{Leaf, Machine};
use atoll_sdk::protocol::role::{Cpuid, CpuidRequest};
use atoll_sdk::{Effects, Refuse, Server, Vault};

struct Nosy;

impl Server for Nosy {
    type Role = Cpuid;
    type State = ();
    type Cache = ();

    fn start(_: &Machine, _: &Setup<'_>) -> Result<(), Refuse> {
        Ok(())
    }

    fn export(_: &()) -> Option<CpuidState> {
        Some(CpuidState::default())
    }

    fn import(machine: &Machine, setup: &Setup<'_>, _: CpuidState, _: bool) -> Result<(), Refuse> {
        Self::start(machine, setup)
    }

    fn handle(_: &mut Vault<'_, Self>, request: &CpuidRequest, effects: &mut Effects<'_, Cpuid>) -> Leaf {
        effects.emit(Effect::PortOut(0x3f8, 1, request.leaf));
        Leaf::default()
    }
}

fn main() {}
