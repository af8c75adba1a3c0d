//! An image's entry point, the one system call, and what a panic does.

use core::fmt::Write;
use core::panic::PanicInfo;

use atoll_protocol::layout::{ANSWER, BUNDLE, GUEST, MESSAGE, VAULT, VAULT_MAX};
use atoll_protocol::{MAIL_BYTES, PAGE, PANICKED};

use crate::activation::{activate, quick};
use crate::effects::Surroundings;
use crate::guest::GuestMemory;
use crate::server::Server;
use crate::text::Text;

/// Ends the activation: the one system call. `length` is the answer's length, or [`PANICKED`] plus that of a text.
#[inline(always)]
fn answer(length: u64) -> ! {
    // SAFETY: SYSCALL is how an activation ends; the kernel never returns from it, so that no register or memory matters afterwards.
    unsafe { core::arch::asm!("syscall", in("rdi") length, options(noreturn, nostack)) }
}

/// What the loader of the machine tells every activation in registers.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Bytes of the message.
    pub message: usize,
    /// Bytes of guest memory mapped; 0 without the grant.
    pub guest: u64,
    /// Bytes of the bundle mapped; 0 without the grant.
    pub bundle: usize,
    /// Bytes of the vault.
    pub vault: usize,
}

/// Runs one activation; called by the entry point that [`image!`](crate::image!) makes.
///
/// # Safety
/// Only the kernel's registers at the entry point may be passed on: they say what is mapped.
#[inline(always)]
pub unsafe fn enter<S: Server>(entry: Entry, cache: &mut Option<S::Cache>) -> ! {
    if size_of::<S::Cache>() == 0 {
        // SAFETY: the caller's promise.
        unsafe { attempt::<S>(entry, &mut S::Cache::default()) };
    } else if let Some(cache) = cache {
        // SAFETY: the caller's promise.
        unsafe { attempt::<S>(entry, cache) };
    }
    // SAFETY: the caller's promise; nothing of the attempt is used any more.
    unsafe { enter_fully::<S>(entry.message, entry.guest, entry.bundle, cache, entry.vault) }
}

/// Answers what is quick, and returns from the rest.
///
/// # Safety
/// As for [`enter`].
#[inline(always)]
unsafe fn attempt<S: Server>(entry: Entry, cache: &mut S::Cache) {
    // SAFETY: the kernel maps the message page read-only, as a whole.
    let page = unsafe { &*(MESSAGE as *const [u8; PAGE]) };
    // What is quick is never a server's first message, and that one has found the vault no smaller than the state.
    // SAFETY: the caller's promise, and so much of the vault is there.
    let Mapped {
        answer: room,
        vault,
        around,
        ..
    } = unsafe {
        mapped(Entry {
            vault: size_of::<S::State>(),
            ..entry
        })
    };
    quick::<S>(page, room, vault, cache, around, |used| answer(used as u64));
}

/// Runs one activation that is not quick. The arguments are where the kernel has put them: an attempt costs no instruction to save them.
///
/// # Safety
/// As for [`enter`].
#[cold]
#[inline(never)]
unsafe fn enter_fully<S: Server>(
    message: usize,
    guest: u64,
    bundle: usize,
    cache: &mut Option<S::Cache>,
    vault: usize,
) -> ! {
    // SAFETY: the caller's promise.
    let Mapped {
        message,
        answer: page,
        vault,
        around,
    } = unsafe {
        mapped(Entry {
            message,
            guest,
            bundle,
            vault,
        })
    };
    let cache = cache.get_or_insert_with(S::Cache::default);
    answer(activate::<S>(message, page, vault, cache, around) as u64)
}

/// What an activation finds in its address space.
struct Mapped {
    message: &'static [u8],
    answer: &'static mut [u8],
    vault: &'static mut [u8],
    around: Surroundings<'static>,
}

/// Makes references of what the kernel says is mapped.
///
/// # Safety
/// `entry` is the kernel's, its `message` at most [`PAGE`], and what an earlier call in the same activation gave is not used any more.
#[inline(always)]
unsafe fn mapped(entry: Entry) -> Mapped {
    // SAFETY: the kernel maps the message page read-only, as a whole, and says how much of it is the message.
    let message = unsafe { core::slice::from_raw_parts(MESSAGE as *const u8, entry.message) };
    // SAFETY: the answer page is this server's alone until it answers, and this is the only reference to it.
    let answer = unsafe { core::slice::from_raw_parts_mut(ANSWER as *mut u8, PAGE) };
    // SAFETY: the vault's working copy is this server's alone, and this is the only reference to it.
    let vault = unsafe {
        core::slice::from_raw_parts_mut(VAULT as *mut u8, entry.vault.min(VAULT_MAX as usize))
    };
    // SAFETY: the kernel says how many bytes of guest memory it has mapped here.
    let guest = unsafe { GuestMemory::mapped(GUEST as *const u8, entry.guest) };
    // SAFETY: the kernel says how many bytes of the bundle it has mapped here; nobody writes them.
    let bundle = unsafe { core::slice::from_raw_parts(BUNDLE as *const u8, entry.bundle) };
    Mapped {
        message,
        answer,
        vault,
        around: Surroundings { guest, bundle },
    }
}

/// Discards the activation and tells the kernel why; called by the panic handler that [`image!`](crate::image!) makes.
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    let mut said = Text::<MAIL_BYTES>::of(info.message());
    if let Some(place) = info.location() {
        let _ = write!(said, " ({}:{})", place.file(), place.line());
    }
    for (index, byte) in said.as_str().bytes().enumerate() {
        // SAFETY: the answer page is mapped and this server's alone; what was in it is discarded by a panic.
        unsafe { (ANSWER as *mut u8).wrapping_add(index).write_volatile(byte) };
    }
    answer(PANICKED | said.as_str().len() as u64)
}

/// Makes a ring-3 program of a server: its entry point, its cache and its panic handler.
#[macro_export]
macro_rules! image {
    ($server:ty) => {
        /// What this image is, and that it is called like its program: the first bytes of its constants.
        #[unsafe(link_section = ".rodata.note")]
        #[used]
        static NOTE: $crate::protocol::interchange::Note =
            $crate::protocol::interchange::Note::of::<<$server as $crate::Server>::Role>(
                <$server as $crate::Server>::STATE_VERSION,
                ::core::env!("CARGO_BIN_NAME"),
            );

        /// Entry point of every activation: message length, guest memory, bundle and vault sizes in the argument registers; the fourth,
        /// RCX, is SYSRET's.
        #[unsafe(no_mangle)]
        extern "sysv64" fn _start(
            message: usize,
            guest: u64,
            bundle: usize,
            _: u64,
            vault: usize,
        ) -> ! {
            static mut CACHE: Option<<$server as $crate::Server>::Cache> = None;
            let entry = $crate::ring3::Entry {
                message,
                guest,
                bundle,
                vault,
            };
            // SAFETY: a server has one thread and is never entered again before it answers: this is the only reference to the cache.
            let cache = unsafe { &mut *&raw mut CACHE };
            // SAFETY: these are the kernel's registers.
            unsafe { $crate::ring3::enter::<$server>(entry, cache) }
        }

        #[panic_handler]
        fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
            $crate::ring3::panicked(info)
        }
    };
}
