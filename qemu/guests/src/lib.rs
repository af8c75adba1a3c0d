//! What every guest stands on: the way from the multiboot entry to Rust in long mode, a serial port to print on, and a way to power off.
//! All of it works on any PC, so that the same guest runs on Atoll and directly in QEMU.
//!
//! A guest is a file in `src/bin` that calls [`guest!`] with its main function:
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//! atoll_guests::guest!(main);
//! fn main() { atoll_guests::println!("Hello"); }
//! ```
#![no_std]

pub mod alone;
pub mod apic;
pub mod check;
pub mod forms;
pub mod fuzz;
pub mod legacy;
pub mod memory;
pub mod modes;
pub mod paging;
pub mod parameters;
pub mod power;
pub mod probes;
pub mod run;
pub mod serial;
mod start;
pub mod system;
pub mod traps;

/// Makes `main` (a `fn()`) the guest's program; the machine is powered off when it returns.
#[macro_export]
macro_rules! guest {
    ($main:path) => {
        /// Called by the start-up code, in long mode, on a stack.
        // SAFETY: nothing else defines this symbol: a guest is one program.
        #[unsafe(no_mangle)]
        extern "C" fn guest_main() -> ! {
            let main: fn() = $main;
            $crate::start();
            main();
            $crate::power::off()
        }
    };
}

/// Prepares what every guest has; called before its main function.
pub fn start() {
    traps::start();
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    println!("guest panicked: {info}");
    power::off()
}
