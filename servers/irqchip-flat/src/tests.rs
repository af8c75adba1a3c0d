//! What `irqchip` does, this server does, and either goes on where the other was.

use atoll_irqchip::IrqchipServer;
use atoll_protocol::message::Machine;
use atoll_sdk::harness::{Harness, MACHINE, goes_unnoticed, traffic};
use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn each_goes_on_where_the_other_was_and_none_can_tell_them_apart(before in traffic::irqchip(), after in traffic::irqchip()) {
        let setup = Setup::default();
        goes_unnoticed::<IrqchipServer, FlatServer>(&setup, &before, &after);
        goes_unnoticed::<FlatServer, IrqchipServer>(&setup, &before, &after);
        goes_unnoticed::<FlatServer, FlatServer>(&setup, &before, &after);
    }
}

#[test]
fn a_machine_with_more_cpus_is_not_served() {
    let machine = Machine {
        vcpus: 2,
        ..MACHINE
    };
    let refused = std::panic::catch_unwind(|| {
        Harness::<FlatServer>::start(&machine, &Setup::default())
            .0
            .header
    });
    assert!(refused.is_err());
}
