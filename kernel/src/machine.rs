//! The hardware below the portable kernel: implements [`atoll_core::machine::Machine`], and holds the loop that goes round guest and
//! servers.

mod conversation;
#[cfg(feature = "digest")]
mod digest;
#[cfg(feature = "fault-injection")]
mod failing;
mod guest;
mod hardware;
#[cfg(feature = "fault-injection")]
mod keyboard;
#[cfg(feature = "fault-injection")]
mod sabotage;
mod server;
mod start;

pub(crate) use start::run;
