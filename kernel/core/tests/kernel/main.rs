//! The portable kernel on a simulated machine: what it does with tickets, mail, rights and answers, told as sentences, and what it does
//! with a million answers that nobody thought of.

mod cast;
mod exits;
mod machine;
mod memory;
mod script;
mod simulation;
mod world;

mod dump;
mod emulation;
mod entry;
mod mail;
mod quarantine;
mod random;
mod rejection;
mod restart;
mod rights;
mod steps;
mod supervision;
mod supervisor;
mod swap;
mod tickets;
mod time;
mod usual;
