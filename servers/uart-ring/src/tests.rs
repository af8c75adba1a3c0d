//! What `uart` does, this port does, and either goes on where the other was.

use atoll_protocol::effect::Effect;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{Body, PortExit};
use atoll_protocol::role::console_mail::{INPUT, OUTPUT};
use atoll_protocol::units::ServerId;
use atoll_sdk::harness::{Harness, MACHINE, goes_unnoticed, peers, traffic};
use atoll_uart::UartServer;
use proptest::prelude::*;

use super::*;

const CONSOLE: ServerId = ServerId::nth(5);

proptest! {
    #[test]
    fn each_goes_on_where_the_other_was_and_none_can_tell_them_apart(
        before in traffic::serial(CONSOLE), after in traffic::serial(CONSOLE),
    ) {
        let peers = peers(&[("console", CONSOLE)]);
        let setup = Setup { lines: &[4], peers: &peers, options: "" };
        goes_unnoticed::<UartServer, RingServer>(&setup, &before, &after);
        goes_unnoticed::<RingServer, UartServer>(&setup, &before, &after);
        goes_unnoticed::<RingServer, RingServer>(&setup, &before, &after);
    }

    #[test]
    fn a_string_instruction_never_asks_for_more_than_an_answer_holds(bytes in prop::collection::vec(any::<u8>(), 1..2048), offset in 0_u16..8) {
        let peers = peers(&[("console", CONSOLE)]);
        let (mut port, _) = Harness::<RingServer>::start(&MACHINE, &Setup { lines: &[4], peers: &peers, options: "" });
        for (register, value) in [(4, 0x0b), (1, 0x0f)] {
            port.deliver(Body::PortWrite(Fixed(PortExit { port: 0x3f8 + register, size: 1, value, count: 1, ..PortExit::default() })));
        }
        let exit = PortExit { port: 0x3f8 + offset, size: 1, count: bytes.len() as u32, ..PortExit::default() };
        let answer = port.deliver(Body::PortWriteString(Fixed(exit), &bytes));
        prop_assert!(answer.effects().len() < atoll_protocol::EFFECTS);
    }
}

#[test]
fn a_line_of_text_is_one_mail_and_input_interrupts() {
    let peers = peers(&[("console", CONSOLE)]);
    let (mut port, _) = Harness::<RingServer>::start(
        &MACHINE,
        &Setup {
            lines: &[4],
            peers: &peers,
            options: "",
        },
    );
    let out = |offset: u16, value| {
        Body::PortWrite(Fixed(PortExit {
            port: 0x3f8 + offset,
            size: 1,
            value,
            count: 1,
            ..PortExit::default()
        }))
    };
    port.deliver(out(0, b'h'.into()));
    port.deliver(out(0, b'i'.into()));
    let answer = port.deliver(out(0, b'\n'.into()));
    assert!(
        answer
            .effects()
            .contains(&Effect::Mail(CONSOLE, &[OUTPUT, b'h', b'i', b'\n'])),
        "{:?}",
        answer.effects()
    );
    port.deliver(out(4, 0x08));
    port.deliver(out(1, 0x01));
    let answer = port.deliver(Body::Mail(CONSOLE, &[INPUT, b'x']));
    assert!(
        answer
            .effects()
            .contains(&Effect::Line(LineId::nth(4), Signal::Raise)),
        "{:?}",
        answer.effects()
    );
}
