//! The port's state for another server of the role, and from one.

use atoll_protocol::interchange::{Bytes, SerialState};
use atoll_protocol::role::console_mail::OUTPUT_WINDOW;
use atoll_protocol::units::Ticks;
use atoll_sdk::Refuse;
use atoll_uart::registers::{FCR_KEPT, IER_MASK, LSR_OVERRUN, MCR_MASK};

use crate::state::{BREAKS, Causes, DELTAS, MODEM, NEVER, READY, State, TIMEOUT};

/// What another must know to go on.
pub(crate) fn export(state: &State) -> SerialState {
    let [
        _,
        interrupt_enable,
        fifo_control,
        line_control,
        modem_control,
        _,
        _,
        scratch,
    ] = state.file;
    let moment = |at: u64| (at != NEVER).then_some(Ticks(at));
    SerialState {
        interrupt_enable,
        fifo_control,
        line_control,
        modem_control,
        modem_deltas: state.deltas,
        line_errors: if state.causes.has(BREAKS) {
            LSR_OVERRUN
        } else {
            0
        },
        scratch,
        divisor: state.latch,
        transmitter_pending: state.causes.has(READY),
        timeout_pending: state.causes.has(TIMEOUT),
        raised: state.raised != 0,
        output: Bytes::of(state.output.iter()),
        sent_by: moment(state.sends_at),
        in_flight: state.in_flight() as u16,
        input: Bytes::of(state.input.iter()),
        granted: state.granted,
        touched: Ticks(state.touched),
        opens: moment(state.opens_at),
    }
}

/// The state to go on with, from a fresh one.
pub(crate) fn import(mut state: State, before: &SerialState) -> Result<State, Refuse> {
    if before.in_flight > OUTPUT_WINDOW {
        return Err(Refuse::BadState);
    }
    let moment = |at: Option<Ticks>| at.map_or(NEVER, |at| at.0);
    let interrupt_enable = before.interrupt_enable & IER_MASK;
    let (fifos, modem) = (
        before.fifo_control & FCR_KEPT,
        before.modem_control & MCR_MASK,
    );
    state.file = [
        0,
        interrupt_enable,
        fifos,
        before.line_control,
        modem,
        0,
        0,
        before.scratch,
    ];
    state.latch = before.divisor;
    state.deltas = before.modem_deltas & DELTAS;
    let causes = [
        (BREAKS, before.line_errors & LSR_OVERRUN != 0),
        (TIMEOUT, before.timeout_pending),
        (READY, before.transmitter_pending),
        (MODEM, state.deltas != 0),
    ];
    state.causes = Causes(
        causes
            .iter()
            .filter(|(_, pending)| *pending)
            .fold(0, |all, (cause, _)| all | cause),
    );
    (state.raised, state.granted) = (before.raised.into(), before.granted);
    state.mailed = before.in_flight.into();
    (state.sends_at, state.opens_at, state.touched) = (
        moment(before.sent_by),
        moment(before.opens),
        before.touched.0,
    );
    for byte in before.output.iter() {
        let _ = state.output.push(*byte);
    }
    for byte in before.input.iter() {
        let _ = state.input.push(*byte);
    }
    Ok(state)
}
