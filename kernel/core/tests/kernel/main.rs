//! The portable kernel on a simulated machine: what it does with tickets, mail, rights and answers, told as sentences, and what it does
//! with a million answers that nobody thought of.

mod cast;
mod exits;
mod machine;
mod memory;
mod nested;
mod script;
mod shortage;
mod simulation;
mod world;

mod dump;
mod emulation;
mod entry;
mod flush;
mod mail;
mod pauses;
mod place;
mod poison;
mod quarantine;
mod random;
mod rejection;
mod residue;
mod restart;
mod rights;
mod share;
mod stand_ins;
mod steps;
mod supervision;
mod supervisor;
mod swap;
mod system;
mod tickets;
mod time;
mod usual;

/// Together with the rest of the workspace the kernel is compiled with its feature `fault-injection`, which changes how a server is
/// activated. This says that it was not: `.ci/run` looks for the name.
#[cfg(not(feature = "fault-injection"))]
#[test]
fn these_tests_are_of_the_kernel_without_fault_injection() {}
