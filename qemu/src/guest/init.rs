//! What the guest's first program says on the console: where a command's output begins and ends, and that the shell is ready.

/// What the shell's banner begins with; input that was piped in is held back until then, since a booting kernel loses it.
pub const READY: &[u8] = b"This is Linux ";

/// The script that is the guest's `/init`.
pub const SCRIPT: &str = include_str!("init.sh");

/// What busybox's init does when there is no command to run. A script cannot stand in for it: what a script starts beside itself, to
/// be free for `poweroff`'s signal, has Ctrl-C ignored.
pub const INITTAB: &str = include_str!("inittab");

/// The interactive shell's script.
pub const SHELL: &str = include_str!("shell.sh");

/// Behind the prefix of a mark: the command has ended, and its status follows.
pub const END: &[u8] = b"end:";
/// Files that are brought back follow, as an archive in Base64.
pub const FILES: &[u8] = b"files\x1f";
/// They have ended.
pub const DONE: &[u8] = b"done\x1f";

/// Marks around a command's output. The nonce keeps a command from ending itself by printing one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    nonce: String,
}

impl Marks {
    /// Marks with this nonce.
    #[must_use]
    pub fn new(nonce: impl Into<String>) -> Self {
        Self {
            nonce: nonce.into(),
        }
    }

    /// The nonce.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Before the output.
    #[must_use]
    pub fn begin(&self) -> Vec<u8> {
        format!("\x1eatoll:{}:begin\x1f", self.nonce).into_bytes()
    }

    /// What each of them begins with.
    #[must_use]
    pub fn prefix(&self) -> Vec<u8> {
        format!("\x1eatoll:{}:", self.nonce).into_bytes()
    }

    /// After the output; the status and 0x1f follow.
    #[must_use]
    pub fn end(&self) -> Vec<u8> {
        format!("\x1eatoll:{}:end:", self.nonce).into_bytes()
    }
}
