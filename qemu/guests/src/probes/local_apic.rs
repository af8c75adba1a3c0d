//! Loads from and stores to the local APIC: the register is the task priority, as a system that uses it writes it at every change.
//!
//! *Warm* is the same instruction again and again, as in a driver's loop. *Cold* is each time an instruction at an address that was not
//! seen before: whoever keeps what it decoded has to decode it.

use core::arch::global_asm;

use super::measure::{ALL, Figure, figure, nothing, ticks_of};

/// Task priority (APM vol. 2, 16.6.4).
const TASK_PRIORITY: u64 = 0xfee0_0080;
/// Spurious-interrupt vector, with the bit that switches the APIC on.
const SPURIOUS: u64 = 0xfee0_00f0;
/// LINT0.
const LINT0: u64 = 0xfee0_0350;
/// From one cold instruction to the next.
const STRIDE: usize = 16;

global_asm!(
    r#"
    .section .text.cold, "ax"
    .balign 4096
probe_cold_loads:
    .rept 256
    mov eax, [rdi]
    ret
    .balign 16
    .endr
probe_cold_stores:
    .rept 256
    mov [rdi], eax
    ret
    .balign 16
    .endr
probe_cold_nothing:
    ret
"#
);

unsafe extern "C" {
    static probe_cold_loads: [[u8; STRIDE]; 256];
    static probe_cold_stores: [[u8; STRIDE]; 256];
    static probe_cold_nothing: [u8; 1];
}

const _: () = assert!(ALL <= 256);

/// Switches it on, with the 8259 at its LINT0 (virtual wire).
pub fn enable() {
    for (register, value) in [(SPURIOUS, 0x1ff_u32), (LINT0, 0x700)] {
        // SAFETY: the address is the APIC's, which nobody else uses.
        unsafe { (register as *mut u32).write_volatile(value) };
    }
}

/// A load, warm.
pub fn load() -> Figure {
    // SAFETY: the address is the APIC's; reading the priority has no effect.
    figure("mmio_load", nothing(), |_| unsafe {
        ticks_of!("mov eax, [rdi]", 0, 0, 0, TASK_PRIORITY)
    })
}

/// A store, warm.
pub fn store() -> Figure {
    // SAFETY: the address is the APIC's; a priority of zero is what it has.
    figure("mmio_store", nothing(), |_| unsafe {
        ticks_of!("mov [rdi], eax", 0, 0, 0, TASK_PRIORITY)
    })
}

/// A load, cold.
pub fn load_cold() -> Figure {
    cold("mmio_load_cold", &raw const probe_cold_loads)
}

/// A store, cold.
pub fn store_cold() -> Figure {
    cold("mmio_store_cold", &raw const probe_cold_stores)
}

fn cold(name: &'static str, code: *const [[u8; STRIDE]; 256]) -> Figure {
    // SAFETY: the code is there; reading it brings its pages in, but runs none of it.
    let _ = unsafe { code.read_volatile() };
    let call = |address: usize| {
        let address = address as u64;
        // SAFETY: the code makes one access to the APIC, or none, and returns.
        unsafe { ticks_of!("call rcx", 0, address, 0, TASK_PRIORITY) }
    };
    let nothing = (&raw const probe_cold_nothing).addr();
    // The first call brings its page in.
    call(nothing);
    let empty = call(nothing);
    figure(name, empty, |round| call(code.addr() + round * STRIDE))
}
