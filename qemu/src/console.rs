//! The guest's console on this side: the terminal, what is typed, and what is watched for in what the guest prints.

pub mod escape;
pub mod exec;
pub mod keyboard;
pub mod terminal;
pub mod watch;

pub use keyboard::Keyboard;
pub use watch::Watch;

/// What happens while a machine runs.
#[derive(Debug)]
pub enum Event {
    /// The guest printed.
    Output(Vec<u8>),
    /// Nothing more will come from the guest.
    Closed,
    /// The user asked to end QEMU.
    Quit,
    /// The user asked what the escape key does.
    Help,
    /// The tool was asked to end.
    Signal(i32),
}
