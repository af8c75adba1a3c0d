//! A walk through the CPU's modes (APM vol. 2 §1.3, §14.6): from 64-bit mode down to one of them, there a battery of instructions of every
//! kind that exits, under control bits of the caller's choice, and up again.
//!
//! The code is copied to the lowest 64 KiB, where every mode reaches it; what it does there is in `modes/walk.s`, and where its vectors lead
//! in `modes/vectors.s`. Whatever faults is noted with its vector and passed by.

use core::arch::global_asm;
use core::mem::transmute;

use crate::alone::Alone;
use crate::apic::{LOCAL, out};

/// Where the code is, what it works with, the tables, and the stack between them.
const CODE: usize = 0x8000;
const DATA: usize = 0xc000;
const IDT_32: usize = 0xd000;
const GDT: usize = 0xd800;
const IDT_64: usize = 0xe000;
/// Vectors that have gates: exceptions, the timer's, and those of INT n.
const VECTORS: usize = 0x60;
/// Bytes of a stub.
const STUB: usize = 16;

const PRESENT_WRITABLE: u64 = 3;
const LARGE: u64 = 0x80;

/// CR4.PAE.
pub const PAE: u32 = 1 << 5;
/// EFER.LME.
pub const LME: u32 = 1 << 8;

/// Where the battery runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Mode {
    /// Real mode.
    Real = 0,
    /// Protected mode, no paging, code of 16 bits.
    Flat16 = 1,
    /// The same with 32 bits.
    Flat32 = 2,
    /// Two levels of page tables, code of 32 bits.
    Paged32 = 3,
    /// PAE, code of 32 bits.
    Pae32 = 4,
    /// Two levels of page tables, code of 16 bits.
    Paged16 = 5,
    /// Compatibility mode, code of 32 bits.
    Compatible32 = 6,
    /// The same with 16 bits.
    Compatible16 = 7,
    /// 64-bit mode.
    Long = 8,
    /// PAE, code of 16 bits.
    Pae16 = 11,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Real,
        Self::Flat16,
        Self::Flat32,
        Self::Paged32,
        Self::Paged16,
        Self::Pae32,
        Self::Pae16,
        Self::Compatible32,
        Self::Compatible16,
        Self::Long,
    ];

    /// Whether paging is on.
    #[must_use]
    pub fn is_paged(self) -> bool {
        !matches!(self, Self::Real | Self::Flat16 | Self::Flat32)
    }

    /// Whether long mode is active.
    #[must_use]
    pub fn is_long(self) -> bool {
        matches!(self, Self::Compatible32 | Self::Compatible16 | Self::Long)
    }

    fn has_pae(self) -> bool {
        self.is_long() || matches!(self, Self::Pae32 | Self::Pae16)
    }
}

/// Control bits that are toggled in the mode, one register after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Toggles {
    /// In EFER, first.
    pub efer: u32,
    /// In CR4.
    pub cr4: u32,
    /// In CR0, last.
    pub cr0: u32,
}

/// On the way from long mode to a mode without it: what is cleared first, and whether LME is cleared at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Way {
    /// LME, then PAE.
    LmeFirst = 0,
    /// PAE while LME is still set, then LME.
    PaeFirst = 1,
    /// PAE only: LME stays set in the mode.
    KeepLme = 2,
}

/// How many results a battery has: the vectors of the three toggles, and then one of each instruction.
pub const RESULTS: usize = 48;
/// Results that are Atoll's own: that of VMMCALL.
pub const HYPERCALL: usize = 30;

/// The vector that an instruction took, 0xff for none, and EAX behind it.
pub type Result = [u32; 2];

/// What the code works with; `walk.s` has the same offsets.
#[repr(C)]
#[derive(Clone, Copy)]
struct Data {
    mode: u32,
    toggle_cr0: u32,
    toggle_cr4: u32,
    toggle_efer: u32,
    resume: u32,
    vector: u32,
    error: u32,
    count: u32,
    root_long: u32,
    root: u32,
    cr4: u32,
    way: u32,
    base_cr0: u32,
    base_cr4: u32,
    base_efer: u32,
    cr4_long: u32,
    saved_rsp: u64,
    saved_gdt: [u64; 2],
    saved_idt: [u64; 2],
    gdt: [u64; 2],
    idt_64: [u64; 2],
    idt_32: [u64; 2],
    idt_real: [u64; 2],
    unused: [u64; 11],
    results: [Result; RESULTS],
    bytes: [u8; 64],
}

#[repr(C, align(4096))]
struct Table([u64; 512]);

static ROOT_32: Alone<Table> = Alone::new(Table([0; 512]));
static LOW_32: Alone<Table> = Alone::new(Table([0; 512]));
static APIC_32: Alone<Table> = Alone::new(Table([0; 512]));
static ROOT_PAE: Alone<Table> = Alone::new(Table([0; 512]));
static DIRECTORIES_PAE: Alone<[Table; 4]> = Alone::new([const { Table([0; 512]) }; 4]);

/// Stores a value at a physical address.
fn put<T>(at: usize, value: T) {
    // SAFETY: the addresses are of this module's own tables, or of the lowest 64 KiB, which nobody else uses.
    unsafe { core::ptr::with_exposed_provenance_mut::<T>(at).write_unaligned(value) };
}

fn address<T>(table: &Alone<T>) -> usize {
    table.get().expose_provenance()
}

/// The walk, prepared.
#[derive(Debug)]
pub struct Walk(());

impl Walk {
    /// Copies the code and makes all tables. The timer's interrupt is the only one that is let through.
    #[must_use]
    pub fn new() -> Self {
        unsafe extern "C" {
            static modes_start: u8;
            static modes_end: u8;
        }
        let (from, to) = (
            (&raw const modes_start).addr(),
            (&raw const modes_end).addr(),
        );
        for offset in 0..to - from {
            // SAFETY: the code is there.
            let byte = unsafe { (&raw const modes_start).wrapping_add(offset).read() };
            put(CODE + offset, byte);
        }
        gates();
        for (index, entry) in [
            0,
            0x00af_9b00_0000_ffff, // 0x08: code, 64 bits
            0x00cf_9300_0000_ffff, // 0x10: data
            0x00cf_9b00_0000_ffff, // 0x18: code, 32 bits
            0x008f_9b00_0000_ffff, // 0x20: code, 16 bits, 4 GiB
            0x0000_9b00_0000_ffff, // 0x28: code, 16 bits, 64 KiB
            0x0000_9300_0000_ffff, // 0x30: data, 64 KiB
        ]
        .into_iter()
        .enumerate()
        {
            put::<u64>(GDT + 8 * index, entry);
        }
        tables();
        out(0x21, 0xfe);
        Self(())
    }

    /// Goes to the mode, and gives what the battery found there.
    pub fn visit(&mut self, mode: Mode, way: Way, toggles: Toggles) -> [Result; RESULTS] {
        let pointer = |base: usize, limit: u64| [limit | (base as u64) << 16, (base as u64) >> 48];
        let data = Data {
            mode: mode as u32,
            toggle_cr0: toggles.cr0,
            toggle_cr4: toggles.cr4,
            toggle_efer: toggles.efer,
            resume: 0,
            vector: 0,
            error: 0,
            count: 0,
            root_long: 0,
            root: if mode.has_pae() {
                address(&ROOT_PAE)
            } else {
                address(&ROOT_32)
            } as u32,
            cr4: if mode.has_pae() { 0x620 } else { 0x600 },
            way: way as u32,
            base_cr0: 0,
            base_cr4: 0,
            base_efer: 0,
            cr4_long: 0x620,
            saved_rsp: 0,
            saved_gdt: [0; 2],
            saved_idt: [0; 2],
            gdt: pointer(GDT, 7 * 8 - 1),
            idt_64: pointer(IDT_64, 16 * VECTORS as u64 - 1),
            idt_32: pointer(IDT_32, 8 * VECTORS as u64 - 1),
            idt_real: pointer(0, 0x3ff),
            unused: [0; 11],
            results: [[0; 2]; RESULTS],
            bytes: *b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        };
        put(DATA, data);
        // SAFETY: the code was copied there, and it is a function of that kind.
        let enter = unsafe { transmute::<usize, extern "C" fn()>(CODE) };
        enter();
        // SAFETY: the data are there, and the code has filled them.
        unsafe { core::ptr::with_exposed_provenance::<Data>(DATA).read() }.results
    }
}

impl Default for Walk {
    fn default() -> Self {
        Self::new()
    }
}

/// The three interrupt tables, for each of which there are stubs.
fn gates() {
    unsafe extern "C" {
        static modes_start: u8;
        static modes_stubs_16: u8;
        static modes_stubs_32: u8;
        static modes_stubs_64: u8;
    }
    let start = (&raw const modes_start).addr();
    let at = |stubs: *const u8, vector: usize| (stubs.addr() - start + CODE + vector * STUB) as u64;
    for vector in 0..VECTORS {
        put::<u32>(4 * vector, at(&raw const modes_stubs_16, vector) as u32);
        let stub = at(&raw const modes_stubs_32, vector);
        put::<u64>(
            IDT_32 + 8 * vector,
            stub & 0xffff | 0x18 << 16 | 0x8e00 << 32,
        );
        let stub = at(&raw const modes_stubs_64, vector);
        put::<[u64; 2]>(
            IDT_64 + 16 * vector,
            [stub & 0xffff | 0x08 << 16 | 0x8e00 << 32, 0],
        );
    }
}

/// One to one: the lowest megabytes, and the local APIC's.
fn tables() {
    for page in 0..1024 {
        put::<u32>(address(&LOW_32) + 4 * page, (page << 12) as u32 | 3);
        put::<u32>(
            address(&APIC_32) + 4 * page,
            (LOCAL as usize & !0x3f_ffff | page << 12) as u32 | 3,
        );
    }
    put::<u32>(address(&ROOT_32), address(&LOW_32) as u32 | 3);
    put::<u32>(
        address(&ROOT_32) + 4 * (LOCAL as usize >> 22),
        address(&APIC_32) as u32 | 3,
    );
    for page in 0..2048 {
        put::<u64>(
            address(&DIRECTORIES_PAE) + 8 * page,
            (page as u64) << 21 | PRESENT_WRITABLE | LARGE,
        );
    }
    for directory in 0..4 {
        put::<u64>(
            address(&ROOT_PAE) + 8 * directory,
            (address(&DIRECTORIES_PAE) + 4096 * directory) as u64 | 1,
        );
    }
}

global_asm!(
    concat!(
        include_str!("modes/walk.s"),
        include_str!("modes/vectors.s")
    ),
    options(att_syntax)
);
