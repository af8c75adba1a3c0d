//! Memory that is not the rogue's, or not to be used like this.
//!
//! Where another server's pages and all committed copies are in physical memory is the kernel's secret; what the rogue can try is the
//! direct map, in which all of them are, and the addresses at which others have something and it has not.

use atoll_protocol::PAGE;
use atoll_protocol::layout::{ANSWER, BUNDLE, GUEST, IMAGE, MESSAGE, STACK_TOP, VAULT};

use crate::ring3::{execute, page, read, write};

/// The kernel's image.
pub const KERNEL: u64 = 0xffff_ffff_8010_0000;
/// The kernel's map of all physical memory, 16 MiB into it: frames of servers, their vaults' committed copies, guest memory.
pub const DIRECT_MAP: u64 = 0xffff_8000_0100_0000;
/// The second page of the vault: the console has one, the rogue has not.
pub const ANOTHERS_VAULT: u64 = VAULT + PAGE as u64;
/// Where other servers see the bundle.
pub const ANOTHERS_BUNDLE: u64 = BUNDLE;
/// Not an address at all: bits 63 to 48 are no copies of bit 47.
pub const NON_CANONICAL: u64 = 0x8000_0000_0000;
/// On the stack.
pub const STACK: u64 = STACK_TOP - 64;
/// RET.
const RETURN: u8 = 0xc3;

misdeeds! {
    /// Touching memory.
    Memory {
        /// Reads the kernel's image.
        ReadKernel,
        /// Writes the kernel's image.
        WriteKernel,
        /// Runs the kernel's code.
        ExecuteKernel,
        /// Reads committed state.
        ReadCommittedState,
        /// Writes committed state.
        WriteCommittedState,
        /// Reads where another server has its vault.
        ReadAnothersVault,
        /// Writes there.
        WriteAnothersVault,
        /// Reads guest memory.
        ReadGuest,
        /// Writes guest memory.
        WriteGuest,
        /// Reads the bundle.
        ReadBundle,
        /// Writes the message page.
        WriteMessage,
        /// Reads the page between message and answer.
        ReadGuardPage,
        /// Reads address 0.
        ReadNull,
        /// Reads an address that is none.
        ReadNonCanonical,
        /// Writes its text.
        WriteText,
        /// Runs its vault.
        ExecuteVault,
        /// Runs its stack.
        ExecuteStack,
        /// Runs its answer.
        ExecuteAnswer,
        /// Runs its message.
        ExecuteMessage,
    }
}

impl Memory {
    /// The address that it touches.
    #[must_use]
    pub const fn address(self) -> u64 {
        match self {
            Memory::ReadKernel | Memory::WriteKernel | Memory::ExecuteKernel => KERNEL,
            Memory::ReadCommittedState | Memory::WriteCommittedState => DIRECT_MAP,
            Memory::ReadAnothersVault | Memory::WriteAnothersVault => ANOTHERS_VAULT,
            Memory::ReadGuest | Memory::WriteGuest => GUEST,
            Memory::ReadBundle => ANOTHERS_BUNDLE,
            Memory::WriteMessage | Memory::ExecuteMessage => MESSAGE,
            Memory::ReadGuardPage => MESSAGE + PAGE as u64,
            Memory::ReadNull => 0,
            Memory::ReadNonCanonical => NON_CANONICAL,
            Memory::WriteText => IMAGE,
            Memory::ExecuteVault => VAULT,
            Memory::ExecuteStack => STACK,
            Memory::ExecuteAnswer => ANSWER,
        }
    }

    pub(crate) fn commit(self) {
        let address = self.address();
        match self {
            Memory::ReadKernel
            | Memory::ReadCommittedState
            | Memory::ReadAnothersVault
            | Memory::ReadGuest
            | Memory::ReadBundle
            | Memory::ReadGuardPage
            | Memory::ReadNull
            | Memory::ReadNonCanonical => read(address),
            Memory::WriteKernel
            | Memory::WriteCommittedState
            | Memory::WriteAnothersVault
            | Memory::WriteGuest
            | Memory::WriteMessage
            | Memory::WriteText => write(address),
            Memory::ExecuteAnswer => {
                page().fill(RETURN);
                execute(address);
            }
            Memory::ExecuteKernel
            | Memory::ExecuteVault
            | Memory::ExecuteStack
            | Memory::ExecuteMessage => execute(address),
        }
    }
}
