//! Out of long mode and back: a few instructions in legacy protected mode, with page tables of 32 bits or with PAE (APM vol. 2 §5.2,
//! §14.6.2). There is no IDT for that mode: what runs there must not fault.

use core::arch::global_asm;

use x86_64::registers::control::{Cr4, Cr4Flags};

use crate::alone::Alone;

/// Where the first mebibytes, with the code in them, are mapped once more by one large page.
pub const ALIAS: u32 = 0x4000_0000;
/// A window of 4 KiB pages: the local APIC, and behind it RAM whose entry has neither accessed nor dirty bit.
const WINDOW: u32 = 0x5000_0000;
const APIC: u64 = 0xfee0_0000;
const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const LARGE: u64 = 0x80;

/// The kinds of page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    /// Two levels of entries of 32 bits.
    Bits32,
    /// Three levels of entries of 64 bits.
    Pae,
}

/// What the instructions found.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// CPUID leaf 0: EBX, EDX, ECX.
    pub vendor: [u32; 3],
    /// EBX of a CPUID with prefixes.
    pub prefixed: u32,
    /// EFER by RDMSR.
    pub efer: u32,
    /// What IN read from the scratch register, to which 0x5c was written.
    pub port: u32,
    /// What a load through the window found, after a store of 0x11223344 to the APIC's own address.
    pub loaded: u32,
    /// What a load from the APIC's own address found, after 1 was added through the window.
    pub added: u32,
    /// EDI behind three bytes of REP INSB at the window's RAM.
    pub edi: u32,
    /// The bytes.
    pub bytes: u32,
    /// How far the code was from where it is linked.
    pub distance: u32,
}

#[repr(C, align(4096))]
struct Frame([u64; 512]);

static ROOT: Alone<Frame> = Alone::new(Frame([0; 512]));
static DIRECTORIES: Alone<[Frame; 4]> = Alone::new([const { Frame([0; 512]) }; 4]);
static LOW: Alone<Frame> = Alone::new(Frame([0; 512]));
static LEAVES: Alone<Frame> = Alone::new(Frame([0; 512]));
static RAM: Alone<Frame> = Alone::new(Frame([0; 512]));
static FOUND: Alone<Found> = Alone::new(Found {
    vendor: [0; 3],
    prefixed: 0,
    efer: 0,
    port: 0,
    loaded: 0,
    added: 0,
    edi: 0,
    bytes: 0,
    distance: 0,
});

#[repr(C)]
struct Order {
    cr3: u32,
    cr4: u32,
    code: u32,
    found: u32,
}

unsafe extern "C" {
    fn guest_legacy(order: *const Order);
    static guest_legacy_code: u8;
}

/// Where a table is.
fn address<T>(table: &Alone<T>) -> u64 {
    table.get().addr() as u64
}

/// Writes entry `index` of the table at `table`.
fn set(paging: Paging, table: u64, index: u64, entry: u64) {
    let table = table as usize;
    match paging {
        // SAFETY: all tables are pages of this module's, and indices are below their number of entries.
        Paging::Bits32 => unsafe {
            core::ptr::with_exposed_provenance_mut::<u32>(table + index as usize * 4)
                .write_volatile(entry as u32)
        },
        // SAFETY: as above.
        Paging::Pae => unsafe {
            core::ptr::with_exposed_provenance_mut::<u64>(table + index as usize * 8)
                .write_volatile(entry)
        },
    }
}

/// Makes the tables: all 4 GiB one to one by large pages, but the first by small ones; then the alias and the window.
fn tables(paging: Paging) -> u64 {
    let (shift, entries) = match paging {
        Paging::Bits32 => (22, 1024),
        Paging::Pae => (21, 512),
    };
    for table in [&ROOT, &LOW, &LEAVES] {
        // SAFETY: nobody else holds a reference, and no paging uses it now.
        unsafe { table.get().write_volatile(Frame([0; 512])) };
        table.get().expose_provenance();
    }
    DIRECTORIES.get().expose_provenance();
    let directory = |address: u32| match paging {
        Paging::Bits32 => (self::address(&ROOT), u64::from(address) >> shift),
        Paging::Pae => (
            self::address(&DIRECTORIES) + u64::from(address >> 30) * 4096,
            u64::from(address) >> shift & 511,
        ),
    };
    let enter = |at: u32, entry: u64| {
        let (table, index) = directory(at);
        set(paging, table, index, entry | PRESENT | WRITABLE);
    };
    for page in 0..(1_u64 << 32) >> shift {
        enter((page << shift) as u32, page << shift | LARGE);
    }
    enter(0, address(&LOW));
    enter(ALIAS, LARGE);
    enter(WINDOW, address(&LEAVES));
    for page in 0..entries {
        set(paging, address(&LOW), page, page << 12 | PRESENT | WRITABLE);
    }
    set(paging, address(&LEAVES), 0, APIC | PRESENT | WRITABLE);
    set(
        paging,
        address(&LEAVES),
        1,
        address(&RAM) | PRESENT | WRITABLE,
    );
    if paging == Paging::Pae {
        for directory in 0..4 {
            set(
                paging,
                address(&ROOT),
                directory,
                (address(&DIRECTORIES) + directory * 4096) | PRESENT,
            );
        }
    }
    address(&ROOT)
}

/// Runs the instructions, at `distance` from where they are linked; also gives the low bits of the window's second entry.
#[must_use]
pub fn run(paging: Paging, distance: u32) -> (Found, u64) {
    let cr3 = tables(paging) as u32;
    let pae = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION;
    let cr4 = if paging == Paging::Pae {
        Cr4::read() | pae
    } else {
        Cr4::read() - pae
    };
    let cr4 = (cr4 | Cr4Flags::PAGE_SIZE_EXTENSION).bits() as u32;
    let code = (&raw const guest_legacy_code).addr() as u32 + distance;
    let order = Order {
        cr3,
        cr4,
        code,
        found: address(&FOUND) as u32,
    };
    // SAFETY: the tables map everything that the code needs one to one, interrupts are off, and it comes back in long mode.
    unsafe { guest_legacy(&raw const order) };
    let leaf = core::ptr::with_exposed_provenance::<u32>(
        address(&LEAVES) as usize + if paging == Paging::Pae { 8 } else { 4 },
    );
    // SAFETY: it lies within the table.
    let leaf = unsafe { leaf.read_volatile() };
    // SAFETY: the code has filled it, and nobody holds a reference.
    (
        unsafe { FOUND.get().read_volatile() },
        u64::from(leaf & 0xfff),
    )
}

global_asm!(
    r#"
    .section .text.legacy, "ax"
    .code64
    .global guest_legacy
guest_legacy:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [legacy_rsp], rsp
    mov rax, cr3
    mov [legacy_cr3], rax
    mov rax, cr4
    mov [legacy_cr4], rax
    mov rbp, rdi
    push 0x38                           // code of 32 bits
    lea rax, [rip + legacy_compatible]
    push rax
    retfq

    .code32
legacy_compatible:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov esi, [ebp]
    mov edi, [ebp + 4]
    mov ebx, [ebp + 8]
    mov ebp, [ebp + 12]
    mov esp, offset legacy_stack_end
    mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax                        // out of long mode
    mov ecx, 0xc0000080
    rdmsr
    and eax, 0xfffffeff
    wrmsr
    mov cr4, edi
    mov cr3, esi
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax                        // legacy paging
    mov edi, ebp
    call ebx
    mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax
    mov eax, [legacy_cr4]
    mov cr4, eax
    mov eax, [legacy_cr3]
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x100
    wrmsr
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax                        // long mode again
    push 0x08
    mov eax, offset legacy_long
    push eax
    retf

    .global guest_legacy_code
guest_legacy_code:                      // EDI: where the results go
    xor eax, eax
    xor ecx, ecx
    cpuid
    mov [edi], ebx
    mov [edi + 4], edx
    mov [edi + 8], ecx
    xor eax, eax
    xor ebx, ebx
    .byte 0x66, 0x2e
    cpuid
    mov [edi + 12], ebx
    mov ecx, 0xc0000080
    rdmsr
    mov [edi + 16], eax
    mov edx, 0x3ff
    mov al, 0x5c
    out dx, al
    xor eax, eax
    in al, dx
    mov [edi + 20], eax
    mov eax, 0x11223344
    mov ecx, 0xfee00310
    mov ebx, 0x50000310
    mov [ecx], eax
    mov eax, [ebx]
    mov [edi + 24], eax
    add dword ptr [ebx], 1
    mov eax, [ecx]
    mov [edi + 28], eax
    mov dword ptr [ecx], 0
    mov esi, edi
    mov edi, 0x50001000
    mov ecx, 3
    rep insb
    xchg esi, edi
    mov [edi + 32], esi
    mov eax, [0x50001000]
    mov [edi + 36], eax
    call legacy_here
legacy_here:
    pop eax
    sub eax, offset legacy_here
    mov [edi + 40], eax
    ret

    .code64
legacy_long:
    mov rsp, [legacy_rsp]
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

    .section .bss.legacy, "aw", @nobits
    .balign 16
legacy_rsp:
    .skip 8
legacy_cr3:
    .skip 8
legacy_cr4:
    .skip 8
    .balign 16
legacy_stack:
    .skip 4096
legacy_stack_end:
"#
);
