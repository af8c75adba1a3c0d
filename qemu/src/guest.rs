//! What runs inside: Debian's kernel with an initramfs of ours, a kernel given by hand, or a guest from `qemu/guests`.

pub mod addition;
pub(crate) mod archive;
pub mod choice;
pub mod format;
pub mod init;
pub mod initramfs;
pub mod intree;
pub mod linux;

pub use choice::{Choice, Guest};
