//! A server that goes on where another was.

use atoll_sdk::harness::{goes_unnoticed, traffic};
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_successor_goes_on_as_the_server_before_it_would_have(before in traffic::timer(), after in traffic::timer()) {
        let setup = Setup { lines: &[0], ..Setup::default() };
        goes_unnoticed::<PitServer, PitServer>(&setup, &before, &after);
    }
}
