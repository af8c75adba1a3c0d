//! A machine on the host: the portable kernel with the real servers in one process. No QEMU, no ring 3: a message-level fault takes
//! microseconds, so that a million of them take minutes.
//!
//! 1. [`island`]: a server and its three memories; [`bundle`]: all of them.
//! 2. [`host`]: the simulated hardware below the kernel; [`conversation`], [`serial`] and [`frames`] are parts of it.
//! 3. [`cast`]: who is on the machine, with the rights of a manifest; [`supervisor`]: the script that the supervisor follows.
//! 4. [`guest`]: what the guest and the outside world do, drawn from a seed.
//! 5. [`mod@play`]: the same happens on two machines, one of them under faults. What must hold: what the guest and the world can see is equal
//!    ([`sight`]); what was committed is equal ([`ledger`]); the kernel's books balance ([`books`]).
//! 6. [`packed`]: a bundle for the real supervisor; [`hostile`]: servers that were compromised; [`siege`]: what they do to a machine.
//! 7. [`cells`]: which faults can hit which effects; [`tally`]: which have; [`aim`]: how to hit the others; [`campaign`]: many plays.
#![forbid(unsafe_code)]

pub mod aim;
pub mod books;
pub mod bundle;
pub mod campaign;
pub mod cast;
pub mod cells;
pub mod conversation;
pub mod dice;
pub mod frames;
pub mod guest;
pub(crate) mod happen;
pub mod host;
pub mod hostile;
pub mod island;
pub mod ledger;
pub mod packed;
pub mod play;
pub mod serial;
pub mod siege;
pub mod sight;
pub mod supervisor;
pub mod tally;

/// The portable kernel on the simulated hardware.
pub type Kernel = atoll_core::Kernel<host::Host>;
