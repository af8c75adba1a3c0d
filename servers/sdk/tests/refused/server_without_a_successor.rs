//! A server says what its successor must know and how it goes on where another was; there is no default.

use atoll_sdk::protocol::manifest::Setup;
use atoll_sdk::protocol::message::{Leaf, Machine};
use atoll_sdk::protocol::role::{Cpuid, CpuidRequest};
use atoll_sdk::{Effects, Refuse, Server, Vault};

struct Last;

impl Server for Last {
    type Role = Cpuid;
    type State = ();
    type Cache = ();

    fn start(_: &Machine, _: &Setup<'_>) -> Result<(), Refuse> {
        Ok(())
    }

    fn handle(_: &mut Vault<'_, Self>, _: &CpuidRequest, _: &mut Effects<'_, Cpuid>) -> Leaf {
        Leaf::default()
    }
}

fn main() {}
