//! A server's first activation, message by message.
#![forbid(unsafe_code)]

use atoll_sdk::activation::activate;
use atoll_sdk::effects::Surroundings;
use atoll_sdk::protocol::fixed::Fixed;
use atoll_sdk::protocol::interchange::CpuidState;
use atoll_sdk::protocol::manifest::Setup;
use atoll_sdk::protocol::message::{Body, Header, Leaf, Machine, Message};
use atoll_sdk::protocol::role::{Cpuid, CpuidRequest};
use atoll_sdk::protocol::{PAGE, SCHEMA_HASH};
use atoll_sdk::{Effects, Refuse, Server, Vault};

/// Answers every leaf with nothing.
struct Silent;

impl Server for Silent {
    type Role = Cpuid;
    type State = [u8; 64];
    type Cache = ();

    fn start(_: &Machine, _: &Setup<'_>) -> Result<[u8; 64], Refuse> {
        Ok([1; 64])
    }

    fn export(_: &[u8; 64]) -> Option<CpuidState> {
        Some(CpuidState::default())
    }

    fn import(
        machine: &Machine,
        setup: &Setup<'_>,
        _: CpuidState,
        _: bool,
    ) -> Result<[u8; 64], Refuse> {
        Self::start(machine, setup)
    }

    fn handle(_: &mut Vault<'_, Self>, _: &CpuidRequest, _: &mut Effects<'_, Cpuid>) -> Leaf {
        Leaf::default()
    }
}

/// Starts the server on a machine whose kernel has this schema; returns its vault.
fn start(schema: u64) -> [u8; 64] {
    let machine = Machine {
        schema,
        ..Machine::default()
    };
    let message = Message {
        header: Fixed(Header::default()),
        body: Body::Start(Fixed(machine), &[]),
    };
    let mut page = [0; PAGE];
    let message = postcard::to_slice(&message, &mut page).unwrap();
    let mut vault = [0; 64];
    activate::<Silent>(
        message,
        &mut [0; PAGE],
        &mut vault,
        &mut (),
        Surroundings::NONE,
    );
    vault
}

#[test]
fn a_kernel_of_the_same_schema_starts_a_server() {
    assert_eq!(start(SCHEMA_HASH), [1; 64]);
}

#[test]
#[should_panic(expected = "the kernel is of schema")]
fn a_server_does_not_start_under_a_kernel_of_another_schema() {
    start(SCHEMA_HASH ^ 1);
}
