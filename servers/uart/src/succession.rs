//! The port's state for another server of the role, and from one.

use atoll_protocol::interchange::{Bytes, SerialState};
use atoll_protocol::role::console_mail::OUTPUT_WINDOW;
use atoll_protocol::units::Ticks;
use atoll_sdk::Refuse;

use crate::registers::{FCR_KEPT, IER_MASK, LSR_OVERRUN, MCR_MASK};
use crate::state::{QUEUE, Settings, UartState};

/// What another must know to go on.
pub(crate) fn export(state: &UartState) -> SerialState {
    let UartState { set, out, input } = state;
    let (used, first) = (usize::from(out.used), usize::from(input.first));
    let received = input
        .bytes
        .iter()
        .cycle()
        .skip(first % QUEUE)
        .take(usize::from(input.used).min(QUEUE));
    SerialState {
        interrupt_enable: set.ier,
        fifo_control: set.fcr,
        line_control: set.lcr,
        modem_control: set.mcr,
        modem_deltas: set.deltas,
        line_errors: input.errors,
        scratch: set.scr,
        divisor: u16::from_le_bytes(set.divisor),
        transmitter_pending: out.pending != 0,
        timeout_pending: input.timeout != 0,
        raised: out.raised != 0,
        output: Bytes::of(out.mail.iter().skip(1).take(used)),
        sent_by: (out.armed != 0).then_some(Ticks(set.flush_at)),
        in_flight: out.in_flight,
        input: Bytes::of(received),
        granted: input.granted,
        touched: Ticks(input.touched),
        opens: (input.opening != 0).then_some(Ticks(set.open_at)),
    }
}

/// The state to go on with, from a fresh one.
pub(crate) fn import(fresh: UartState, before: &SerialState) -> Result<UartState, Refuse> {
    let UartState {
        set,
        mut out,
        mut input,
    } = fresh;
    if before.in_flight > OUTPUT_WINDOW {
        return Err(Refuse::BadState);
    }
    let set = Settings {
        ier: before.interrupt_enable & IER_MASK,
        fcr: before.fifo_control & FCR_KEPT,
        lcr: before.line_control,
        mcr: before.modem_control & MCR_MASK,
        deltas: before.modem_deltas,
        scr: before.scratch,
        divisor: before.divisor.to_le_bytes(),
        flush_at: before.sent_by.unwrap_or_default().0,
        open_at: before.opens.unwrap_or_default().0,
        ..set
    };
    out.mail
        .iter_mut()
        .skip(1)
        .zip(before.output.iter())
        .for_each(|(to, from)| *to = *from);
    out.used = before.output.len() as u8;
    (out.pending, out.raised) = (before.transmitter_pending.into(), before.raised.into());
    (out.armed, out.in_flight) = (before.sent_by.is_some().into(), before.in_flight);
    for byte in before.input.iter() {
        let _ = input.push(*byte);
    }
    (input.granted, input.errors) = (before.granted, before.line_errors & LSR_OVERRUN);
    (input.timeout, input.touched) = (before.timeout_pending.into(), before.touched.0);
    input.opening = before.opens.is_some().into();
    Ok(UartState { set, out, input })
}
