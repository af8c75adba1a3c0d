//! A machine on the host: the portable kernel with the real servers in one process. No QEMU, no ring 3: a message-level fault takes
//! microseconds, so that a million of them take minutes.
//!
//! 1. [`island`]: a server and its three memories.
//! 2. [`host`]: the simulated hardware below the kernel.
//! 3. [`cast`]: who is on the machine, with the rights of the manifest that boots Linux; supervisor and loader follow a script.
//! 4. [`guest`]: what the guest and the outside world do, drawn from a seed.
//! 5. [`lockstep`]: the same events on two machines, one of them under faults; what the guest and the world can see must be equal.
//! 6. [`tally`]: which faults have hit which effects; [`campaign`]: many plays.
#![forbid(unsafe_code)]

pub mod campaign;
pub mod cast;
pub mod dice;
pub mod guest;
pub mod host;
pub mod island;
pub mod lockstep;
pub mod tally;
