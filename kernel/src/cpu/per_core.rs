//! What each core has of its own: segments, the activation it is in, the host's events it has seen.
//!
//! Found through GS, which [`super::start`] sets. Only the core itself and its interrupt handlers touch it; the fields are atomic because a handler may come between
//! two instructions, not because cores share them.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use atoll_core::patience::Patience;
use atoll_protocol::units::Ticks;
use crossbeam_utils::CachePadded;
use spin::{Mutex, Once};
use x86_64::VirtAddr;
use x86_64::structures::gdt::GlobalDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;

use super::core_id::{CORES, CoreId, PerCore};
use super::registers::Registers;
use crate::memory::space::Generation;

/// Looks of the watchdog on time, past the deadline, that make a hang: 2 ms lie between two of them, and no server needs as much for all that
/// it does.
const HANG_LOOKS: u32 = 16;

/// What happened on the host's side since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostEvents(u32);

impl HostEvents {
    /// The bit of the timer.
    pub(super) const TIMER: u32 = 1 << 16;

    /// The IRQs that fired (and are masked now), one bit each.
    pub(crate) const fn irqs(self) -> u16 {
        self.0 as u16
    }

    /// The timer fired.
    pub(crate) const fn timer(self) -> bool {
        self.0 & Self::TIMER != 0
    }
}

/// What a server was doing when it was stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped {
    /// Its registers.
    pub(crate) registers: Registers,
    /// The address of a page fault.
    pub(crate) cr2: u64,
}

/// A core.
#[repr(C)]
pub(crate) struct Core {
    /// Its own address, for [`Core::current`].
    address: AtomicUsize,
    /// The kernel's stack pointer while a server runs.
    pub(super) kernel_rsp: AtomicU64,
    /// The [`Generation`] of the space that is loaded.
    pub(super) loaded: AtomicU64,
    events: AtomicU32,
    deadline: AtomicU64,
    /// With an activation that is past its deadline: no two have the same. Held by handlers that came from ring 3 only.
    patience: Mutex<Patience>,
    /// Whether the last activation was stopped, and did not answer.
    pub(super) stopped: AtomicBool,
    /// The server that was stopped last.
    pub(super) last: Mutex<Option<Stopped>>,
    pub(super) tss: Once<TaskStateSegment>,
    pub(super) gdt: Once<GlobalDescriptorTable>,
}

/// All cores, each on cache lines of its own.
static CORE: PerCore<CachePadded<Core>> = PerCore::new(
    [const {
        CachePadded::new(Core {
            address: AtomicUsize::new(0),
            kernel_rsp: AtomicU64::new(0),
            loaded: AtomicU64::new(Generation::KERNEL.0),
            events: AtomicU32::new(0),
            deadline: AtomicU64::new(u64::MAX),
            patience: Mutex::new(Patience::of(HANG_LOOKS)),
            stopped: AtomicBool::new(false),
            last: Mutex::new(None),
            tss: Once::new(),
            gdt: Once::new(),
        })
    }; CORES],
);

impl Core {
    /// The core of this number, whoever runs on it.
    pub(super) fn of(id: CoreId) -> &'static Core {
        &CORE[id]
    }

    /// Its own address, which its GS base is to be.
    pub(super) fn address(&'static self) -> VirtAddr {
        let address = VirtAddr::from_ptr(self);
        self.address
            .store(address.as_u64() as usize, Ordering::Relaxed);
        address
    }

    /// The core that this runs on.
    #[inline(always)]
    pub(crate) fn current() -> &'static Core {
        let address: *const Core;
        // SAFETY: GS points at this core's `Core` from `super::start` on, and `address` is its first field.
        unsafe {
            asm!("mov {}, gs:[0]", out(reg) address, options(nostack, readonly, preserves_flags))
        };
        // SAFETY: it is an element of `CORE`.
        unsafe { &*address }
    }

    /// Something happened on the host's side.
    #[inline(always)]
    pub(crate) fn has_events(&self) -> bool {
        self.events.load(Ordering::Relaxed) != 0
    }

    /// What happened; forgets it.
    pub(crate) fn take_events(&self) -> HostEvents {
        HostEvents(self.events.swap(0, Ordering::Relaxed))
    }

    /// An IRQ (bits 0 to 15) or the timer: something happened.
    pub(super) fn note(&self, event: u32) {
        self.events.fetch_or(event, Ordering::Relaxed);
    }

    /// When the next activation is to be over; holds until it is set again. The caller arms the timer, unless something earlier does.
    #[inline(always)]
    pub(crate) fn set_deadline(&self, deadline: Ticks) {
        self.deadline.store(deadline.0, Ordering::Relaxed);
    }

    /// A tick is an instruction: the first look past the deadline makes a hang.
    pub(crate) fn be_exact(&self) {
        self.patience.lock().be_exact();
    }

    /// When the activation that is under way is to be over.
    pub(super) fn deadline(&self) -> Ticks {
        Ticks(self.deadline.load(Ordering::Relaxed))
    }

    /// The watchdog looks at an activation that is past its deadline, and will again in `later` if it does not hang.
    pub(super) fn hangs(&self, now: Ticks, later: Ticks) -> bool {
        self.patience.lock().look(self.deadline(), now, later)
    }

    /// The server that the last activation stopped by an exception or as hung.
    pub(crate) fn last_stopped(&self) -> Option<Stopped> {
        *self.last.lock()
    }
}
