//! Atoll's host tool: it builds the kernel and the servers, packs them and a guest into a bundle, boots that in QEMU, and shows the
//! guest's console.
//!
//! Read it in the order in which a boot goes:
//!
//! 1. [`cli`]: what can be asked for; [`command`]: one module for each sub-command.
//! 2. [`bare`]: the compiler for the bare machine, and what it builds.
//! 3. [`atoll_manifest`]: the TOML manifest, checked; a crate of its own.
//! 4. [`guest`]: Linux from Debian's packages ([`mod@package`]) with an initramfs of ours, or a test guest.
//! 5. [`atoll_manifest::bundle`]: all of it in one archive.
//! 6. [`emulator`]: QEMU, found or fetched, and its command line.
//! 7. [`run`]: a boot from start to end, with the [`console`] between guest and user.
//! 8. [`control`]: the line into a running machine.
//!
//! [`shown`] is what may be printed of all that; [`mod@bench`] measures all that; [`testing`] does the same for tests.
#![forbid(unsafe_code)]
// They panic where nobody reads: `shown` prints.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod bare;
pub mod bench;
pub mod campaign;
pub mod cli;
pub mod command;
pub mod console;
pub mod control;
pub mod emulator;
pub mod error;
pub mod guest;
pub mod package;
pub mod place;
pub mod progress;
pub mod run;
pub mod shown;
pub mod template;
pub mod testing;

pub use error::{Error, Result};
