//! The server as a whole, on small guests.

mod access;
mod control;
mod machine;
mod modify;
mod paging;
mod port;
mod strings;
