//! The server as a whole, on small guests.

mod access;
mod machine;
