//! Devices behind ports: serial ports, interval timers, clocks, power management.

use super::{Input, Role, RoleKind};
use crate::effect::{Effect, Signal};
use crate::fixed::Fixed;
use crate::interchange::{ClockState, PowerState, SerialState, TimerState};
use crate::message::{Body, Message, Stop};
use crate::units::{LineId, ServerId, Ticks, TimerId};

/// One access to a port. String instructions arrive as single accesses: the SDK takes the chunks apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRequest {
    /// Port number.
    pub port: u16,
    /// Bytes: 1, 2 or 4.
    pub size: u8,
    /// The value of a write; `None` for a read.
    pub write: Option<u32>,
}

impl PortRequest {
    /// What a read of nobody's port gives: all ones in the access's width.
    #[must_use]
    pub const fn all_ones(self) -> u32 {
        match self.size {
            1 => 0xff,
            2 => 0xffff,
            _ => u32::MAX,
        }
    }

    #[inline(always)]
    pub(super) fn of(message: &Message<'_>) -> Option<PortRequest> {
        match &message.body {
            Body::PortRead(exit) => Some(PortRequest {
                port: exit.0.port,
                size: exit.0.size,
                write: None,
            }),
            Body::PortWrite(exit) => Some(PortRequest {
                port: exit.0.port,
                size: exit.0.size,
                write: Some(exit.0.value),
            }),
            _ => None,
        }
    }
}

/// What happens to a device on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceEvent {
    /// One of its timers expired.
    Timer(TimerId),
}

/// What happens to a serial port on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SerialEvent<'m> {
    /// One of its timers expired.
    Timer(TimerId),
    /// The other end sent bytes.
    Mail(ServerId, &'m [u8]),
}

/// What a timer or a clock may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceEffect {
    /// Drive an interrupt line.
    Line(LineId, Signal),
    /// Arm a timer at an absolute time.
    Arm(TimerId, Ticks),
    /// Disarm a timer.
    Disarm(TimerId),
}

/// What a serial port may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SerialEffect<'a> {
    /// Drive an interrupt line.
    Line(LineId, Signal),
    /// Arm a timer at an absolute time.
    Arm(TimerId, Ticks),
    /// Disarm a timer.
    Disarm(TimerId),
    /// Send bytes to the other end.
    Mail(ServerId, &'a [u8]),
}

/// What power management may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerEffect {
    /// Drive an interrupt line.
    Line(LineId, Signal),
    /// Arm a timer at an absolute time.
    Arm(TimerId, Ticks),
    /// Disarm a timer.
    Disarm(TimerId),
    /// Stop the virtual machine.
    Stop(Stop),
}

impl From<DeviceEffect> for Effect<'_> {
    #[inline(always)]
    fn from(effect: DeviceEffect) -> Self {
        match effect {
            DeviceEffect::Line(line, signal) => Effect::Line(line, signal),
            DeviceEffect::Arm(timer, at) => Effect::Arm(timer, Fixed(at)),
            DeviceEffect::Disarm(timer) => Effect::Disarm(timer),
        }
    }
}

impl<'a> From<SerialEffect<'a>> for Effect<'a> {
    #[inline(always)]
    fn from(effect: SerialEffect<'a>) -> Self {
        match effect {
            SerialEffect::Line(line, signal) => Effect::Line(line, signal),
            SerialEffect::Arm(timer, at) => Effect::Arm(timer, Fixed(at)),
            SerialEffect::Disarm(timer) => Effect::Disarm(timer),
            SerialEffect::Mail(to, bytes) => Effect::Mail(to, bytes),
        }
    }
}

impl From<PowerEffect> for Effect<'_> {
    #[inline(always)]
    fn from(effect: PowerEffect) -> Self {
        match effect {
            PowerEffect::Line(line, signal) => Effect::Line(line, signal),
            PowerEffect::Arm(timer, at) => Effect::Arm(timer, Fixed(at)),
            PowerEffect::Disarm(timer) => Effect::Disarm(timer),
            PowerEffect::Stop(why) => Effect::Stop(why),
        }
    }
}

#[inline(always)]
fn device_input(message: &Message<'_>) -> Option<Input<PortRequest, DeviceEvent>> {
    match &message.body {
        Body::Timer(timer) => Some(Input::Event(DeviceEvent::Timer(*timer))),
        _ => PortRequest::of(message).map(Input::Request),
    }
}

/// Declares a role of devices behind ports: the reply is the value read (ignored for a write), the fallback all ones.
macro_rules! port_role {
    ($(#[$doc:meta])* $name:ident, $state:ty, $event:ty, $effect:ty, $input:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Role for $name {
            const KIND: RoleKind = RoleKind::$name;
            type Request<'m> = PortRequest;
            type Event<'m> = $event;
            type Reply = u32;
            type Effect<'a> = $effect;
            type State = $state;

            #[inline(always)]
            fn input<'m>(message: &'m Message<'m>) -> Option<Input<PortRequest, Self::Event<'m>>> {
                $input(message)
            }

            #[inline(always)]
            fn reply(value: u32) -> Option<Effect<'static>> {
                Some(Effect::Value(Fixed(value as u64)))
            }

            fn fallback(request: PortRequest) -> u32 {
                request.all_ones()
            }
        }
    };
}

port_role! {
    /// Serial ports.
    Serial, SerialState, SerialEvent<'m>, SerialEffect<'a>, |message: &'m Message<'m>| match &message.body {
        Body::Timer(timer) => Some(Input::Event(SerialEvent::Timer(*timer))),
        Body::Mail(from, bytes) => Some(Input::Event(SerialEvent::Mail(*from, bytes))),
        _ => PortRequest::of(message).map(Input::Request),
    }
}
port_role! {
    /// Interval timers.
    Timer, TimerState, DeviceEvent, DeviceEffect, device_input
}
port_role! {
    /// Real-time clocks.
    Clock, ClockState, DeviceEvent, DeviceEffect, device_input
}
port_role! {
    /// Power management: timer, reset, power off.
    Power, PowerState, DeviceEvent, PowerEffect, device_input
}
