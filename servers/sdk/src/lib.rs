//! What Atoll's servers are written with.
//!
//! A server is a type that implements [`Server`]: a function from its vault and a request to a reply and effects. The same code runs
//! in ring 3 (through [`image!`]) and on the developer's machine (through [`harness`]).
//!
//! - [`server`]: the trait.
//! - [`vault`]: the state that survives, and how a server names what it changed.
//! - [`effects`]: what a server does beside replying, and what it may look at.
//! - [`activation`]: one message in, one answer out: the same code in ring 3 and on the host.
//! - [`bundle`]: the archive that a machine is packed into.
//! - [`clock`]: conversions between the time-stamp counter and other clocks.
//! - [`ring3`]: the entry point, the one system call and the panic handler of an image. All of the SDK's unsafe code is there and in
//!   [`guest`].
#![no_std]

#[cfg(any(test, feature = "harness"))]
extern crate std;

pub mod activation;
pub mod bundle;
pub mod clock;
pub mod effects;
pub mod guest;
#[cfg(feature = "harness")]
pub mod harness;
pub mod ring3;
pub mod server;
mod text;
pub mod vault;

pub use atoll_protocol as protocol;
pub use clock::Clock;
pub use effects::Effects;
pub use guest::GuestMemory;
pub use server::{Refuse, Server};
pub use vault::{Vault, Vaulted};
