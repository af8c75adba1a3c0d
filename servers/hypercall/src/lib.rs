//! Answers VMMCALL by the KVM convention.
//!
//! With one vCPU none of KVM's calls has anything to do, and CPUID does not advertise any: every number is unknown.
#![no_std]
#![forbid(unsafe_code)]

use atoll_protocol::interchange::NoState;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::Machine;
use atoll_protocol::role::{Hypercall, HypercallRequest};
use atoll_sdk::{Effects, Refuse, Server, Vault};

/// The server.
#[derive(Debug)]
pub struct HypercallServer;

impl Server for HypercallServer {
    type Role = Hypercall;
    type State = [u8; 0];
    type Cache = ();

    fn start(_: &Machine, _: &Setup<'_>) -> Result<[u8; 0], Refuse> {
        Ok([])
    }

    fn export(_: &Self::State) -> Option<NoState> {
        Some(NoState)
    }

    fn import(
        machine: &Machine,
        setup: &Setup<'_>,
        _: NoState,
        _: bool,
    ) -> Result<Self::State, Refuse> {
        Self::start(machine, setup)
    }

    #[inline(always)]
    fn quick(
        vault: &mut Vault<'_, Self>,
        request: &HypercallRequest,
        effects: &mut Effects<'_, Hypercall>,
    ) -> Option<u64> {
        Some(Self::handle(vault, request, effects))
    }

    #[inline(always)]
    fn handle(
        _: &mut Vault<'_, Self>,
        request: &HypercallRequest,
        _: &mut Effects<'_, Hypercall>,
    ) -> u64 {
        if request.cpl == 0 {
            Hypercall::NO_SUCH_CALL
        } else {
            Hypercall::NOT_PERMITTED
        }
    }
}

#[cfg(test)]
mod tests {
    use atoll_protocol::effect::Effect;
    use atoll_protocol::fixed::Fixed;
    use atoll_protocol::message::{Body, HypercallExit};
    use atoll_sdk::harness::{Harness, MACHINE};

    use super::*;

    #[test]
    fn an_unknown_call_fails_as_kvm_says_it() {
        let (mut server, _) = Harness::<HypercallServer>::start(&MACHINE, &Setup::default());
        let call = |cpl| HypercallExit {
            number: 77,
            cpl,
            ..HypercallExit::default()
        };
        assert_eq!(
            server.deliver(Body::Hypercall(Fixed(call(0)))).effects(),
            [Effect::Value(Fixed(-1000_i64 as u64))]
        );
        assert_eq!(
            server.deliver(Body::Hypercall(Fixed(call(3)))).effects(),
            [Effect::Value(Fixed(-1_i64 as u64))]
        );
    }
}
