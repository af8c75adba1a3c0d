//! The processor and the few devices that every PC has.

pub(crate) mod activation;
pub(crate) mod control;
pub(crate) mod debugcon;
pub(crate) mod entry;
pub(crate) mod exit;
pub(crate) mod fault;
pub(crate) mod gdt;
pub(crate) mod idt;
pub(crate) mod interrupts;
pub(crate) mod lapic;
pub(crate) mod percore;
pub(crate) mod pic;
pub(crate) mod port;
pub(crate) mod rtc;
pub(crate) mod stacks;
pub(crate) mod tcg;
pub(crate) mod tsc;
