//! A server that goes on where another was.

use atoll_sdk::harness::{goes_unnoticed, traffic};
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_successor_goes_on_as_the_server_before_it_would_have(before in traffic::clock(), after in traffic::clock()) {
        let setup = Setup { lines: &[8], ..Setup::default() };
        goes_unnoticed::<RtcServer, RtcServer>(&setup, &before, &after);
    }
}
