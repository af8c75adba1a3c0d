//! Accesses of one byte that have no consequence beyond the register itself: nearly all that a driver makes. Whatever else follows from
//! an access (mail, a timer, the interrupt line) is left to the full way, which must answer the same where both can.

use atoll_protocol::role::PortRequest;
use atoll_protocol::role::console_mail::OUTPUT_BYTES;
use atoll_sdk::Vault;

use crate::UartServer;
use crate::registers::*;
use crate::state::NOT_READY;

/// Answers an access, or leaves it.
#[inline(always)]
pub(crate) fn access(vault: &mut Vault<'_, UartServer>, request: PortRequest) -> Option<u32> {
    if request.size != 1 {
        return None;
    }
    match request.write {
        None => read(vault, request.port & 7).map(u32::from),
        Some(value) => write(vault, request.port & 7, value as u8).map(|()| 0),
    }
}

#[inline(always)]
fn read(vault: &Vault<'_, UartServer>, offset: u16) -> Option<u8> {
    let set = &vault.set;
    match offset {
        1 if set.lcr & LCR_DIVISOR == 0 => Some(set.ier),
        3 => Some(set.lcr),
        4 => Some(set.mcr),
        5 if vault.input.errors == 0 => Some(vault.line_status()),
        7 => Some(set.scr),
        _ => None,
    }
}

#[inline(always)]
fn write(vault: &mut Vault<'_, UartServer>, offset: u16, value: u8) -> Option<()> {
    match offset {
        0 => return transmit(vault, value),
        3 if vault.set.lcr == value => {}
        3 => vault.at(|s| &mut s.set).lcr = value,
        7 if vault.set.scr == value => {}
        7 => vault.at(|s| &mut s.set).scr = value,
        _ => return None,
    }
    Some(())
}

/// A character in the middle of a line: it only joins those that wait.
#[inline(always)]
fn transmit(vault: &mut Vault<'_, UartServer>, byte: u8) -> Option<()> {
    let (set, out) = (&vault.set, &vault.out);
    let plain = set.lcr & LCR_DIVISOR == 0 && set.mcr & MCR_LOOP == 0 && byte != b'\n';
    let place = usize::from(out.used) + 1;
    // It is neither the first one, which arms the timer, nor the last that fits; and the transmitter is ready before and after it.
    let joins =
        out.armed != 0 && out.pending != 0 && place < OUTPUT_BYTES && out.in_flight < NOT_READY;
    // So its interrupt stays as it is, if the line has followed it so far.
    let settled = set.ier & IER_TRANSMIT == 0 || out.raised != 0 && set.mcr & MCR_OUT2 != 0;
    if !(plain && joins && settled) {
        return None;
    }
    let out = vault.at(|s| &mut s.out);
    out.used = place as u8;
    if let Some(byte_place) = out.mail.get_mut(place) {
        *byte_place = byte;
    }
    Some(())
}
