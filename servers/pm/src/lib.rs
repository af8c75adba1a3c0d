//! ACPI power management (ACPI 6.5 §4.8): PM1a event and control blocks, PM timer; and the two old ways to reset a PC.
//!
//! | ports | what |
//! |---|---|
//! | base + 0, + 2 | PM1_STS, PM1_EN; no event but the timer's ever happens |
//! | base + 4 | PM1_CNT; SLP_EN with SLP_TYP 0 (S5 in the loader's DSDT) switches the power off |
//! | base + 8 | PM timer, 24 bits |
//! | 0xcf9 | reset control register: bit 2 resets (the FADT's RESET_REG) |
//! | 0x64 | a keyboard controller that is not there, but resets on command 0xfe |
//! | 0x92 | system control port A: bit 0 resets, bit 1, the address line A20, is always on |
//!
//! The option `base` is the first port (default 0x600). Line 0 is the SCI. There is no SMI command port: the machine is always in ACPI mode.
#![no_std]
#![forbid(unsafe_code)]

use atoll_protocol::effect::Signal;
use atoll_protocol::interchange::PowerState;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Held, Machine, Stop};
use atoll_protocol::role::{DeviceEvent, PortRequest, Power, PowerEffect};
use atoll_protocol::units::{LineId, TimerId};
use atoll_sdk::{Effects, Refuse, Server, Vault};

use crate::state::{
    CONTROL_MASK, ENABLE_MASK, HERTZ, PmState, SCI_ENABLE, SLEEP_ENABLE, SLEEP_TYPE, TIMER,
};

pub mod state;
#[cfg(test)]
mod tests;

/// Expires when the PM timer's top bit changes.
const CHANGE: TimerId = TimerId::nth(0);
/// `PmState::armed`: for the next change of the top bit.
const AT_CHANGE: u8 = 1;
/// `PmState::armed`: for now.
const AT_ONCE: u8 = 2;
/// Reset control register.
const RESET_CONTROL: u16 = 0xcf9;
/// Keyboard controller: status and command.
const KEYBOARD: u16 = 0x64;
/// What the status of a keyboard controller reads that is not there: systems that look take it for what it is, Linux among them, when its
/// output buffer does not become empty.
const KEYBOARD_ABSENT: u8 = 0xff;
/// So often; then it reads as one with empty buffers, so that a loop comes to its end that empties the output buffer, or waits for the input
/// buffer before it sends a command (Linux does, to reset).
const KEYBOARD_READS: u8 = 64;
/// Buffers empty, not locked, last written a command.
const KEYBOARD_EMPTY: u8 = 0x18;
/// System control port A.
const CONTROL_A: u16 = 0x92;
/// Its address line A20 is on.
const A20: u8 = 1 << 1;
/// Keyboard controller's command to pulse the CPU's reset.
const KEYBOARD_RESET: u8 = 0xfe;

/// The server.
#[derive(Debug)]
pub struct PmServer;

impl Server for PmServer {
    type Role = Power;
    type State = PmState;
    type Cache = ();

    fn start(machine: &Machine, setup: &Setup<'_>) -> Result<PmState, Refuse> {
        let base = setup.number("base").unwrap_or(Ok(0x600));
        let base = base
            .ok()
            .and_then(|base| u16::try_from(base).ok())
            .ok_or(Refuse::BadOption("base"))?;
        let line = setup.line(0).ok_or(Refuse::MissingLine)?;
        let rate = (u128::from(HERTZ) << 64) / (u128::from(machine.tsc_khz).max(1) * 1000);
        let rate = u64::try_from(rate).map_err(|_| {
            Refuse::Machine("a time-stamp counter that is faster than the PM timer")
        })?;
        let control = SCI_ENABLE;
        Ok(PmState {
            rate,
            tsc_khz: machine.tsc_khz,
            base,
            line: line.number(),
            control,
            ..PmState::default()
        })
    }

    fn export(state: &PmState) -> Option<PowerState> {
        let PmState {
            enable,
            control,
            reset_control,
            seen,
            raised,
            keyboard_reads,
            ..
        } = *state;
        Some(PowerState {
            enable,
            control,
            reset_control,
            changes_seen: seen,
            raised: raised != 0,
            keyboard_reads,
        })
    }

    fn import(
        machine: &Machine,
        setup: &Setup<'_>,
        before: PowerState,
        _: bool,
    ) -> Result<PmState, Refuse> {
        let fresh = Self::start(machine, setup)?;
        let PowerState {
            enable,
            control,
            reset_control,
            changes_seen,
            raised,
            keyboard_reads,
        } = before;
        let (enable, control) = (enable & ENABLE_MASK, control & CONTROL_MASK);
        Ok(PmState {
            enable,
            control,
            reset_control,
            seen: changes_seen,
            raised: raised.into(),
            keyboard_reads,
            ..fresh
        })
    }

    fn restarted(vault: &mut Vault<'_, Self>, _: &Held, effects: &mut Effects<'_, Power>) {
        // A timer that another server has armed may be armed still; it finds nothing to do.
        *vault.at(|s| &mut s.armed) = 0;
        update(vault, effects);
    }

    #[inline(always)]
    fn handle(
        vault: &mut Vault<'_, Self>,
        request: PortRequest,
        effects: &mut Effects<'_, Power>,
    ) -> u32 {
        match request {
            PortRequest {
                size: 4,
                write: None,
                port,
            } if port == vault.base.wrapping_add(8) => vault.timer(effects.now()),
            _ => other(vault, request, effects),
        }
    }

    fn event(vault: &mut Vault<'_, Self>, event: DeviceEvent, effects: &mut Effects<'_, Power>) {
        if event == DeviceEvent::Timer(CHANGE) {
            *vault.at(|s| &mut s.armed) = 0;
            update(vault, effects);
        }
    }
}

/// All but the PM timer: as many accesses of one byte as it is wide.
#[inline(never)]
fn other(
    vault: &mut Vault<'_, PmServer>,
    request: PortRequest,
    effects: &mut Effects<'_, Power>,
) -> u32 {
    let mut value = [0; 4];
    let written = request.write.map(u32::to_le_bytes);
    for (place, byte) in value.iter_mut().enumerate().take(usize::from(request.size)) {
        let port = request.port.wrapping_add(place as u16);
        match written {
            Some(bytes) => write(vault, port, bytes.get(place).copied().unwrap_or(0), effects),
            None => *byte = read(vault, port, effects),
        }
    }
    u32::from_le_bytes(value)
}

fn read(vault: &mut Vault<'_, PmServer>, port: u16, effects: &Effects<'_, Power>) -> u8 {
    let now = effects.now();
    let offset = port.wrapping_sub(vault.base);
    let half = |value: u16| (value >> (8 * (offset & 1))) as u8;
    match (port, offset) {
        (RESET_CONTROL, _) => vault.reset_control,
        (KEYBOARD, _) if vault.keyboard_reads >= KEYBOARD_READS => KEYBOARD_EMPTY,
        (KEYBOARD, _) => {
            *vault.at(|s| &mut s.keyboard_reads) += 1;
            KEYBOARD_ABSENT
        }
        (CONTROL_A, _) => A20,
        (_, 0 | 1) => half(vault.status(now)),
        (_, 2 | 3) => half(vault.enable),
        (_, 4 | 5) => half(vault.control),
        (_, 8..=11) => (vault.timer(now) >> (8 * (offset & 3))) as u8,
        _ => 0xff,
    }
}

fn write(vault: &mut Vault<'_, PmServer>, port: u16, value: u8, effects: &mut Effects<'_, Power>) {
    let offset = port.wrapping_sub(vault.base);
    // The register with one half replaced.
    let half = |old: u16| {
        let shift = 8 * (offset & 1);
        old & !(0xff << shift) | u16::from(value) << shift
    };
    match (port, offset) {
        (RESET_CONTROL, _) => {
            // Bit 2 resets when it rises; bits 1 and 3 say how thoroughly, which makes no difference to a virtual machine.
            if value & 0x04 != 0 && vault.reset_control & 0x04 == 0 {
                stop(Stop::Reset, effects);
            }
            *vault.at(|s| &mut s.reset_control) = value & 0x0a;
        }
        (KEYBOARD, _) if value == KEYBOARD_RESET => stop(Stop::Reset, effects),
        (CONTROL_A, _) if value & 1 != 0 => stop(Stop::Reset, effects),
        (_, 0) if value & TIMER as u8 != 0 => {
            let seen = vault.changes(effects.now());
            *vault.at(|s| &mut s.seen) = seen;
            update(vault, effects);
        }
        (_, 2 | 3) => {
            let enable = half(vault.enable) & ENABLE_MASK;
            *vault.at(|s| &mut s.enable) = enable;
            update(vault, effects);
        }
        (_, 4 | 5) => {
            let control = half(vault.control);
            *vault.at(|s| &mut s.control) = control & CONTROL_MASK;
            if control & SLEEP_ENABLE != 0 && control & SLEEP_TYPE == 0 {
                stop(Stop::PowerOff, effects);
            }
            update(vault, effects);
        }
        _ => {}
    }
}

/// Stops the machine; once is enough for a string instruction.
fn stop(why: Stop, effects: &mut Effects<'_, Power>) {
    if !effects.is_crowded() {
        effects.emit(PowerEffect::Stop(why));
    }
}

/// Brings the SCI to the level that the registers ask for, and sees to it that the next change of the PM timer's top bit is noticed if
/// somebody wants to know.
fn update(vault: &mut Vault<'_, PmServer>, effects: &mut Effects<'_, Power>) {
    let now = effects.now();
    let level = vault.level(now);
    let wanted = vault.enable & TIMER != 0 && vault.control & SCI_ENABLE != 0;
    if level != vault.raised && !effects.is_crowded() {
        *vault.at(|s| &mut s.raised) = level;
        let signal = if level != 0 {
            Signal::Raise
        } else {
            Signal::Lower
        };
        effects.emit(PowerEffect::Line(LineId::nth(vault.line), signal));
    }
    // A string instruction may change the level more often than one answer can say: then it follows at the next tick.
    if level != vault.raised {
        if vault.armed != AT_ONCE {
            *vault.at(|s| &mut s.armed) = AT_ONCE;
            effects.emit(PowerEffect::Arm(CHANGE, now));
        }
    } else if vault.armed == 0 && wanted && level == 0 {
        *vault.at(|s| &mut s.armed) = AT_CHANGE;
        effects.emit(PowerEffect::Arm(CHANGE, vault.next_change(now)));
    }
}
