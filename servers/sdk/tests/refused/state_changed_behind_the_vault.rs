//! A server cannot change its state without saying so: what is not recorded would not be committed.

use atoll_sdk::protocol::interchange::CpuidState;
use atoll_sdk::protocol::manifest::Setup;
use atoll_sdk::protocol::message::{Leaf, Machine};
use atoll_sdk::protocol::role::{Cpuid, CpuidRequest};
use atoll_sdk::{Effects, Refuse, Server, Vault};

struct Hasty;

impl Server for Hasty {
    type Role = Cpuid;
    type State = [u32; 16];
    type Cache = ();

    fn start(_: &Machine, _: &Setup<'_>) -> Result<[u32; 16], Refuse> {
        Ok([0; 16])
    }

    fn export(_: &[u32; 16]) -> Option<CpuidState> {
        Some(CpuidState::default())
    }

    fn import(machine: &Machine, setup: &Setup<'_>, _: CpuidState, _: bool) -> Result<[u32; 16], Refuse> {
        Self::start(machine, setup)
    }

    fn handle(vault: &mut Vault<'_, Self>, _: &CpuidRequest, _: &mut Effects<'_, Cpuid>) -> Leaf {
        vault[0] += 1;
        Leaf::default()
    }
}

fn main() {}
