//! Interrupts and exceptions: every vector leads to one handler, which calls what was set for the vector, or else ends the [run](crate::run).
//!
//! What ends a run comes on a stack of its own (IST 1), so that a run may have any stack pointer. What is set with [`on`] comes on the
//! run's stack, as on any PC.

use core::arch::global_asm;
use core::mem::transmute;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, Segment};
use x86_64::instructions::tables::{lgdt, lidt, load_tss, sgdt};
use x86_64::registers::control::Cr2;
use x86_64::registers::segmentation::SegmentSelector;
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable};
use x86_64::structures::tss::TaskStateSegment;

use crate::alone::Alone;
use crate::run;

/// Selector of the data segment of CPL 3.
pub const USER_DATA: u64 = 0x2b;
/// Selector of the code segment of CPL 3.
pub const USER_CODE: u64 = 0x33;
/// Selector of the code segment of 32 bits.
pub const COMPATIBLE_CODE: u64 = 0x38;
/// Its descriptor: present, readable, flat (APM vol. 2 §4.8.1).
const CODE_32_BITS: u64 = 0x00cf_9b00_0000_ffff;
/// Selector of the code segment of 64 bits with a base, which does not count there.
pub const BASED_CODE: u64 = 0x40;
/// Its descriptor: the base is 0x12345000.
const CODE_WITH_BASE: u64 = 0x12af_9b34_5000_ffff;
/// Entries of the GDT: those that [`start`] appends, and the first.
const ENTRIES: usize = 16;
/// Vectors.
const VECTORS: usize = 256;
/// Bytes of a stub.
const STUB: usize = 16;
/// A present interrupt gate of 64 bits (APM vol. 2 §4.8.4).
const GATE: u64 = 0x8e00;

/// What a trap leaves on the stack, with the registers below it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// General registers in encoding order. RSP's place is not used.
    pub general: [u64; 16],
    /// The vector. (The stub leaves its own address here.)
    pub vector: u64,
    /// The error code, or 0.
    pub error: u64,
    /// Where the trap came.
    pub rip: u64,
    /// Code segment.
    pub cs: u64,
    /// Flags.
    pub rflags: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Stack segment.
    pub ss: u64,
}

/// What is called for a vector; the trap returns when it does.
pub type Handler = fn(&mut Frame);

static HANDLERS: [AtomicPtr<()>; VECTORS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; VECTORS];
/// Where traps of the vectors with handlers came, in order; the vector is in the uppermost byte.
static TAKEN: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];
static COUNT: AtomicU64 = AtomicU64::new(0);

/// An IDT: two words per gate.
pub type Gates = [u64; 2 * VECTORS];

#[repr(C, align(16))]
struct Stack([u8; 16384]);

static IDT: Alone<Gates> = Alone::new([0; 2 * VECTORS]);
static TSS: Alone<TaskStateSegment> = Alone::new(TaskStateSegment::new());
static GDT: Alone<GlobalDescriptorTable<ENTRIES>> = Alone::new(GlobalDescriptorTable::empty());
static KEPT: Alone<DescriptorTablePointer> = Alone::new(DescriptorTablePointer {
    limit: 0,
    base: VirtAddr::zero(),
});
static STOPS: Alone<Stack> = Alone::new(Stack([0; 16384]));

/// Loads GDT, TSS and IDT. Once, at the start.
pub(crate) fn start() {
    // SAFETY: nothing else refers to the TSS yet.
    let tss = unsafe { &mut *TSS.get() };
    let stops = VirtAddr::from_ptr(STOPS.get()) + size_of::<Stack>() as u64;
    tss.interrupt_stack_table[0] = stops;
    tss.privilege_stack_table[0] = stops;
    // SAFETY: nothing else refers to the GDT yet.
    let gdt = unsafe { &mut *GDT.get() };
    let code = gdt.append(Descriptor::kernel_code_segment());
    gdt.append(Descriptor::kernel_data_segment());
    // SAFETY: the TSS is static.
    let task = gdt.append(unsafe { Descriptor::tss_segment_unchecked(TSS.get()) });
    gdt.append(Descriptor::user_data_segment());
    gdt.append(Descriptor::user_code_segment());
    gdt.append(Descriptor::UserSegment(CODE_32_BITS));
    gdt.append(Descriptor::UserSegment(CODE_WITH_BASE));
    gdt.load();
    // SAFETY: nobody has begun to run.
    unsafe { KEPT.get().write_volatile(sgdt()) };
    // SAFETY: the selector is of the 64-bit code segment that was just loaded.
    unsafe { CS::set_reg(code) };
    // SAFETY: the selector is of the TSS.
    unsafe { load_tss(task) };
    load(IDT.get());
}

/// Fills an IDT and makes it the CPU's; `gates` stays as long as it is.
pub fn load(gates: *mut Gates) {
    for vector in 0..VECTORS {
        set_gate(gates, vector);
    }
    let pointer = DescriptorTablePointer {
        limit: (size_of::<Gates>() - 1) as u16,
        base: VirtAddr::from_ptr(gates),
    };
    // SAFETY: every gate leads to its stub.
    unsafe { lidt(&pointer) };
}

fn set_gate(gates: *mut Gates, vector: usize) {
    unsafe extern "C" {
        static guest_stubs: u8;
    }
    let stub = (&raw const guest_stubs).addr() as u64 + (vector * STUB) as u64;
    let stack = if HANDLERS[vector].load(Ordering::Relaxed).is_null() {
        1
    } else {
        0
    };
    let low = stub & 0xffff | 0x08 << 16 | stack << 32 | GATE << 32 | (stub >> 16 & 0xffff) << 48;
    let word = gates.cast::<u64>().wrapping_add(2 * vector);
    // SAFETY: the caller's table has two words for every vector.
    unsafe { word.write_volatile(low) };
    // SAFETY: as above.
    unsafe { word.wrapping_add(1).write_volatile(stub >> 32) };
}

/// Makes the guest's own GDT and IDT the CPU's again, as they are, and its 64-bit code segment that of the caller.
pub fn reload() {
    // SAFETY: nobody holds a reference.
    let kept = unsafe { KEPT.get().read_volatile() };
    // SAFETY: it is the guest's own GDT.
    unsafe { lgdt(&kept) };
    // SAFETY: the selector is of the 64-bit code segment.
    unsafe { CS::set_reg(SegmentSelector(0x08)) };
    let pointer = DescriptorTablePointer {
        limit: (size_of::<Gates>() - 1) as u16,
        base: VirtAddr::from_ptr(IDT.get()),
    };
    // SAFETY: every gate leads to its stub.
    unsafe { lidt(&pointer) };
}

/// Makes the guest's own IDT the CPU's again.
pub fn load_own() {
    load(IDT.get());
}

/// Says whether the vector's gate is present.
pub fn set_present(vector: u8, present: bool) {
    const PRESENT: u64 = 1 << 47;
    let word = IDT
        .get()
        .cast::<u64>()
        .wrapping_add(2 * usize::from(vector));
    // SAFETY: the table has two words for every vector.
    let gate = unsafe { word.read_volatile() };
    // SAFETY: as above.
    unsafe {
        word.write_volatile(if present {
            gate | PRESENT
        } else {
            gate & !PRESENT
        })
    };
}

/// Lets the vector's traps come on the stack of IST 2, which begins at `top`.
pub fn on_stack(vector: u8, top: u64) {
    // SAFETY: the CPU alone reads it, and no trap uses IST 2 but those that are given it here.
    let tss = unsafe { &mut *TSS.get() };
    tss.interrupt_stack_table[1] = VirtAddr::new_truncate(top);
    let word = IDT
        .get()
        .cast::<u64>()
        .wrapping_add(2 * usize::from(vector));
    // SAFETY: the table has two words for every vector.
    let gate = unsafe { word.read_volatile() };
    // SAFETY: as above.
    unsafe { word.write_volatile(gate & !(7 << 32) | 2 << 32) };
}

/// Sets what is called for a vector, instead of ending the run.
pub fn on(vector: u8, handler: Handler) {
    HANDLERS[usize::from(vector)].store(handler as *mut (), Ordering::Relaxed);
    set_gate(IDT.get(), usize::from(vector));
}

/// Traps of the vector end the run again.
pub fn forget(vector: u8) {
    HANDLERS[usize::from(vector)].store(core::ptr::null_mut(), Ordering::Relaxed);
    set_gate(IDT.get(), usize::from(vector));
}

/// How many traps their handlers have taken since [`clear`].
#[must_use]
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// The vector and RIP of the `index`th of them.
#[must_use]
pub fn taken(index: usize) -> (u8, u64) {
    let taken = TAKEN[index % TAKEN.len()].load(Ordering::Relaxed);
    ((taken >> 56) as u8, taken << 8 >> 8)
}

/// Forgets them.
pub fn clear() {
    COUNT.store(0, Ordering::Relaxed);
}

/// A handler that does nothing: the trap is counted.
pub fn counted(_: &mut Frame) {}

#[unsafe(no_mangle)]
extern "C" fn guest_trap(frame: &mut Frame) {
    unsafe extern "C" {
        static guest_stubs: u8;
    }
    // The address behind the stub's call.
    let vector = (frame.vector as usize).wrapping_sub((&raw const guest_stubs).addr()) / STUB;
    frame.vector = vector as u64;
    let handler = HANDLERS[vector % VECTORS].load(Ordering::Relaxed);
    if handler.is_null() {
        frame.general[4] = frame.rsp;
        run::stop(frame, Cr2::read_raw());
    }
    let index = COUNT.fetch_add(1, Ordering::Relaxed) as usize;
    TAKEN[index % TAKEN.len()].store(
        frame.vector << 56 | frame.rip & 0x00ff_ffff_ffff_ffff,
        Ordering::Relaxed,
    );
    // SAFETY: only `on` stores there, and it stores handlers.
    let handler = unsafe { transmute::<*mut (), Handler>(handler) };
    handler(frame);
}

// Stubs of 16 bytes: those without an error code push 0 in its place; the call pushes an address that tells the vector.
global_asm!(
    r#"
    .section .text.traps, "ax"
    .balign 16
    .global guest_stubs
guest_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if !(vector == 8 || vector == 10 || vector == 11 || vector == 12 || vector == 13 || vector == 14 || vector == 17)
    push 0
    .endif
    call guest_trap_common
    .set vector, vector + 1
    .endr

    .balign 16
guest_trap_common:
    push r15
    push r14
    push r13
    push r12
    push r11
    push r10
    push r9
    push r8
    push rdi
    push rsi
    push rbp
    push 0
    push rbx
    push rdx
    push rcx
    push rax
    mov rdi, rsp
    mov rbx, rsp
    and rsp, -16
    cld
    call guest_trap
    mov rsp, rbx
    pop rax
    pop rcx
    pop rdx
    pop rbx
    add rsp, 8
    pop rbp
    pop rsi
    pop rdi
    pop r8
    pop r9
    pop r10
    pop r11
    pop r12
    pop r13
    pop r14
    pop r15
    add rsp, 16
    iretq
"#
);
