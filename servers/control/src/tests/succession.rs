//! A server that goes on where another was.

use atoll_sdk::harness::{goes_unnoticed, traffic};
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_successor_goes_on_as_the_server_before_it_would_have(before in traffic::control(), after in traffic::control()) {
        let peers = atoll_sdk::harness::peers(&[("supervisor", ServerId::SUPERVISOR)]);
        let setup = Setup { peers: &peers, ..Setup::default() };
        goes_unnoticed::<ControlServer, ControlServer>(&setup, &before, &after);
    }
}
