//! The server as a whole, on small guests.

mod access;
mod control;
mod execute;
mod machine;
mod modify;
mod opcodes;
mod paging;
mod port;
mod strings;
