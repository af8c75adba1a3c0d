//! A window of 4 KiB pages beside the one-to-one mapping, for what needs pages of its own kind.

use x86_64::VirtAddr;
use x86_64::instructions::tlb;

use crate::alone::Alone;

/// Where the window is: its ninth GiB.
pub const WINDOW: u64 = 8 << 30;
/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Entry: present.
pub const PRESENT: u64 = 1;
/// Entry: writable.
pub const WRITABLE: u64 = 1 << 1;
/// Entry: for CPL 3, too.
pub const USER: u64 = 1 << 2;
/// Entry: was read.
pub const ACCESSED: u64 = 1 << 5;
/// Entry: was written.
pub const DIRTY: u64 = 1 << 6;

/// A page of memory.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Page(pub [u8; PAGE as usize]);

impl Page {
    /// Full of zeros.
    pub const ZERO: Page = Page([0; PAGE as usize]);
}

#[repr(C, align(4096))]
struct Table([u64; 512]);

static DIRECTORY: Alone<Table> = Alone::new(Table([0; 512]));
static LEAVES: Alone<Table> = Alone::new(Table([0; 512]));

fn set(table: *mut Table, index: u64, entry: u64) {
    // SAFETY: the index is within the table, and only this module writes it.
    unsafe {
        table
            .cast::<u64>()
            .wrapping_add(index as usize % 512)
            .write_volatile(entry)
    };
}

/// The window's address of its page `page`.
#[must_use]
pub fn at(page: u64) -> u64 {
    WINDOW + page * PAGE
}

/// Maps the window's page `page` to `frame` with the flags given.
pub fn map(page: u64, frame: u64, flags: u64) {
    unsafe extern "C" {
        static mut guest_root: Table;
        static mut guest_pointers: Table;
    }
    set(LEAVES.get(), page, frame | flags);
    set(
        DIRECTORY.get(),
        0,
        LEAVES.get().addr() as u64 | PRESENT | WRITABLE | USER,
    );
    // What CPL 3 may reach is decided below: the one-to-one mapping's directories have no USER.
    set(
        &raw mut guest_root,
        0,
        (&raw mut guest_pointers).addr() as u64 | PRESENT | WRITABLE | USER,
    );
    set(
        &raw mut guest_pointers,
        WINDOW >> 30,
        DIRECTORY.get().addr() as u64 | PRESENT | WRITABLE | USER,
    );
    tlb::flush(VirtAddr::new(at(page)));
}

/// Maps nothing there.
pub fn unmap(page: u64) {
    map(page, 0, 0);
}

/// The entry of the window's page `page`.
#[must_use]
pub fn entry(page: u64) -> u64 {
    // SAFETY: the index is within the table.
    unsafe {
        LEAVES
            .get()
            .cast::<u64>()
            .wrapping_add(page as usize % 512)
            .read_volatile()
    }
}
