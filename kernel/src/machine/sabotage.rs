//! Fault injection below the portable kernel (feature `fault-injection`): the page in which the host leaves its plan, what a server
//! is made to do ([`failing`] has the code), and bits that flip in a server's memory.

use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

use atoll_core::inject::{Act, Area};
use atoll_protocol::inject::{Place, Plan};
use atoll_protocol::layout::{
    GUEST, IMAGE, IMAGE_END, MESSAGE, SABOTAGE, STACK_MAX_PAGES, STACK_TOP,
};
use atoll_protocol::units::Hpa;

use super::server::Memory;
use super::{failing, keyboard};
use crate::host::tsc;
use crate::memory::direct;
use crate::memory::layout::{DIRECT_MAP, KERNEL_BASE, PAGE_SIZE};
use crate::memory::physical::Physical;

/// Where no server has anything: as near to "another server" as it can name.
const NOBODYS: u64 = 0x5000_0000;
/// QEMU's pvpanic device: a write to it stops the machine at that very instruction.
pub(super) const PAUSE_PORT: u16 = 0x505;
/// What to write: "the guest has panicked".
pub(super) const PAUSE: u8 = 1;
const BITS_PER_PAGE: u64 = PAGE_SIZE * 8;

/// The plan, in a page of its own that the host writes while the machine is stopped.
///
/// In `.data`, so that it is in the image and nothing clears it after the host has written it before the first instruction.
// SAFETY: no other symbol has this name; the host finds the page by it.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.plan")]
static ATOLL_PLAN: Physical<Plan> = Physical::new(Plan::NONE);

/// When the last activation began: for a host that has stopped the machine and asks what time it is there.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
static ATOLL_CLOCK: AtomicU64 = AtomicU64::new(0);

/// The plan, if it is another than that with the number `known`.
pub(super) fn plan(known: u64) -> Option<Plan> {
    ATOLL_CLOCK.store(tsc::now().0, Ordering::Relaxed);
    let page = ATOLL_PLAN.get();
    let sequence = page
        .wrapping_byte_add(offset_of!(Plan, sequence))
        .cast::<u64>();
    // SAFETY: the page is the plan's for good; nobody writes it while this core runs.
    let sequence = unsafe { sequence.read_volatile() };
    if sequence == known {
        return None;
    }
    // SAFETY: as above, and any bytes make a plan.
    let plan = unsafe { page.read_volatile() };
    keyboard::begin(&plan);
    Some(plan)
}

/// Writes the code for an act, before `entry` (where the server's own work begins) for those that go on with it.
pub(super) fn write_code(act: Act, entry: u64, memory: &Memory) {
    match act {
        Act::Crash => failing::crash(),
        Act::Hang => failing::hang(),
        Act::Delay(ticks) => failing::delay(ticks.0, entry),
        Act::Write(place) => failing::write_to(address_of(place, memory)),
    }
}

fn address_of(place: Place, memory: &Memory) -> u64 {
    match place {
        Place::Text => SABOTAGE,
        Place::Kernel => KERNEL_BASE + 0x10_0000,
        Place::Server => NOBODYS,
        Place::Vault => DIRECT_MAP + memory.committed[0].0,
        Place::Guest => GUEST,
        Place::Message => MESSAGE,
    }
}

/// Flips a bit of a server's memory; false if there is nothing.
pub(super) fn flip(memory: &Memory, area: Area, bit: u64) -> bool {
    let stack = STACK_TOP - STACK_MAX_PAGES * PAGE_SIZE..STACK_TOP;
    match area {
        Area::Vault => {
            let Some(bit) = bit.checked_rem(memory.vault * 8) else {
                return false;
            };
            let page = (bit / BITS_PER_PAGE) as usize;
            for copy in [&memory.working, &memory.committed] {
                copy.get(page)
                    .into_iter()
                    .for_each(|frame| flip_in(*frame, bit));
            }
            true
        }
        Area::Text => flip_image(memory, bit, |at, is_code| {
            (IMAGE..IMAGE_END).contains(&at) && is_code
        }),
        Area::Data => flip_image(memory, bit, |at, is_code| {
            (IMAGE..IMAGE_END).contains(&at) && !is_code
        }),
        Area::Stack => flip_image(memory, bit, |at, _| stack.contains(&at)),
    }
}

fn flip_image(memory: &Memory, bit: u64, belongs: impl Fn(u64, bool) -> bool) -> bool {
    let Some(space) = &memory.space else {
        return false;
    };
    let pages = || {
        space
            .own_pages()
            .filter(|(at, is_code, _)| belongs(*at, *is_code))
    };
    let Some(bit) = bit.checked_rem(pages().count() as u64 * BITS_PER_PAGE) else {
        return false;
    };
    let page = pages().nth((bit / BITS_PER_PAGE) as usize);
    page.into_iter()
        .for_each(|(_, _, frame)| flip_in(frame, bit));
    page.is_some()
}

/// Flips a bit of a frame, counted modulo its size.
fn flip_in(frame: Hpa, bit: u64) {
    let at = direct::pointer::<u8>(Hpa(frame.0 + bit % BITS_PER_PAGE / 8));
    // SAFETY: the frame belongs to a server, which does not run now; the byte lies within it.
    let byte = unsafe { at.read_volatile() };
    // SAFETY: as above.
    unsafe { at.write_volatile(byte ^ 1 << (bit % 8)) };
}
