//! The processor: what each core has, how it is brought up, and the ways into ring 0 and back.

pub(crate) mod activation;
pub(crate) mod control;
pub(crate) mod core_id;
mod entry;
mod fault;
mod gdt;
mod idt;
pub(crate) mod interrupts;
pub(crate) mod per_core;
pub(crate) mod registers;
pub(crate) mod stacks;
pub(crate) mod start;
