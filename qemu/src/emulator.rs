//! QEMU: found or fetched, told what machine to be, and kept on a leash.

pub mod arguments;
pub mod confine;
pub mod find;
pub mod leash;
pub mod process;

pub use arguments::Arguments;
pub use find::Emulator;
pub use process::Process;
