//! A server that goes on where another was.

use atoll_sdk::harness::{goes_unnoticed, traffic};
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_successor_goes_on_as_the_server_before_it_would_have(before in traffic::serial(CONSOLE), after in traffic::serial(CONSOLE)) {
        let peers = postcard_peers();
        let setup = Setup { lines: &[4], peers: &peers, options: "" };
        goes_unnoticed::<UartServer, UartServer>(&setup, &before, &after);
    }
}
