//! A server that goes on where another was.

use atoll_sdk::harness::{goes_unnoticed, traffic};
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_successor_goes_on_as_the_server_before_it_would_have(before in traffic::power(), after in traffic::power()) {
        let setup = SETUP;
        goes_unnoticed::<PmServer, PmServer>(&setup, &before, &after);
    }
}
