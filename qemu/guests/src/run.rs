//! Running a few instructions with given registers up to the exception that ends them, and seeing all registers as they are then.
//!
//! A piece of code ends with INT3 or with a fault of its own. That is what makes a check: registers in, registers out.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::alone::Alone;
use crate::traps::{COMPATIBLE_CODE, Frame};

/// Numbers of general registers.
pub mod register {
    /// RAX.
    pub const RAX: usize = 0;
    /// RCX.
    pub const RCX: usize = 1;
    /// RDX.
    pub const RDX: usize = 2;
    /// RBX.
    pub const RBX: usize = 3;
    /// RSP.
    pub const RSP: usize = 4;
    /// RSI.
    pub const RSI: usize = 6;
    /// RDI.
    pub const RDI: usize = 7;
    /// R9.
    pub const R9: usize = 9;
}
use register::RSP;

/// Selector of the code segment of 64 bits.
const CODE: u64 = 0x08;
/// RFLAGS: the bit that is always set.
const FLAGS: u64 = 2;
/// RFLAGS: interrupts on.
pub const IF: u64 = 1 << 9;
/// RFLAGS: string instructions go down.
pub const DF: u64 = 1 << 10;
/// RFLAGS: resume, no instruction breakpoint at the next instruction.
pub const RF: u64 = 1 << 16;
/// RFLAGS: CF, PF, AF, ZF, SF, OF.
pub const STATUS: u64 = 0x8d5;

/// A piece of code.
#[derive(Clone, Copy, Debug)]
pub struct Code(pub u64);

impl Code {
    /// Bytes that are code.
    #[must_use]
    pub fn bytes(bytes: &'static [u8]) -> Self {
        Self(bytes.as_ptr().addr() as u64)
    }
}

/// Assembles a piece of code and puts INT3 behind it.
#[macro_export]
macro_rules! code {
    ($($line:expr),+ $(,)?) => {{
        #[unsafe(naked)]
        extern "C" fn code() {
            core::arch::naked_asm!($($line,)+ "int3")
        }
        $crate::run::Code(code as *const () as u64)
    }};
}

/// The same for 32 bits.
#[macro_export]
macro_rules! code32 {
    ($($line:expr),+ $(,)?) => {{
        #[unsafe(naked)]
        extern "C" fn code() {
            core::arch::naked_asm!(".code32", $($line,)+ "int3", ".code64")
        }
        $crate::run::Code(code as *const () as u64)
    }};
}

/// A run to be.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Run {
    general: [u64; 16],
    rflags: u64,
    rip: u64,
    cs: u64,
}

/// How it ended.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// The exception.
    pub vector: u8,
    /// Its error code.
    pub error: u64,
    /// The code's first address.
    pub start: u64,
    /// RIP less that.
    pub offset: u64,
    /// General registers.
    pub general: [u64; 16],
    /// Flags.
    pub rflags: u64,
    /// CR2.
    pub cr2: u64,
}

impl Stop {
    /// How a run ends that comes to its INT3 at `offset`.
    #[must_use]
    pub fn at(offset: u64) -> (u8, u64) {
        (3, offset + 1)
    }

    /// The exception and where it came.
    #[must_use]
    pub fn place(&self) -> (u8, u64) {
        (self.vector, self.offset)
    }

    /// The exception and its error code.
    #[must_use]
    pub fn fault(&self) -> (u8, u64) {
        (self.vector, self.error)
    }

    /// The status flags.
    #[must_use]
    pub fn status(&self) -> u64 {
        self.rflags & STATUS
    }
}

#[repr(C, align(4096))]
struct Stack([u8; 16384]);

static STACK: Alone<Stack> = Alone::new(Stack([0; 16384]));
static SAVED: AtomicU64 = AtomicU64::new(0);
static STOP: Alone<Stop> = Alone::new(Stop {
    vector: 0,
    error: 0,
    start: 0,
    offset: 0,
    general: [0; 16],
    rflags: 0,
    cr2: 0,
});

impl Run {
    /// Runs `code`, with registers that are 0, and a stack.
    #[must_use]
    pub fn new(code: Code) -> Self {
        let mut general = [0; 16];
        general[RSP] = STACK.get().addr() as u64 + size_of::<Stack>() as u64;
        Self {
            general,
            rflags: FLAGS,
            rip: code.0,
            cs: CODE,
        }
    }

    /// Runs the code in 32 bits.
    #[must_use]
    pub fn compatible(mut self) -> Self {
        self.cs = COMPATIBLE_CODE;
        self
    }

    /// Runs the code in another code segment.
    #[must_use]
    pub fn segment(mut self, selector: u64) -> Self {
        self.cs = selector;
        self
    }

    /// Sets a register.
    #[must_use]
    pub fn with(mut self, register: usize, value: u64) -> Self {
        self.general[register] = value;
        self
    }

    /// Sets flags.
    #[must_use]
    pub fn flags(mut self, flags: u64) -> Self {
        self.rflags |= flags;
        self
    }

    /// Runs.
    pub fn go(self) -> Stop {
        // SAFETY: the code ends in an exception, which comes back here; what it writes is where its registers point, and that is what
        // the caller checks.
        unsafe { enter(&raw const self) };
        // SAFETY: `stop` has filled it, and nobody holds a reference.
        let mut stop = unsafe { STOP.get().read_volatile() };
        stop.start = self.rip;
        stop.offset = stop.offset.wrapping_sub(self.rip);
        stop
    }
}

/// Ends the run.
pub(crate) fn stop(frame: &Frame, cr2: u64) -> ! {
    let stop = Stop {
        vector: frame.vector as u8,
        error: frame.error,
        start: 0,
        offset: frame.rip,
        general: frame.general,
        rflags: frame.rflags,
        cr2,
    };
    // SAFETY: nobody holds a reference.
    unsafe { STOP.get().write_volatile(stop) };
    if SAVED.load(Ordering::Relaxed) == 0 {
        panic!(
            "exception {} at {:x}, error {:x}, cr2 {cr2:x}, outside of a run",
            frame.vector, frame.rip, frame.error
        );
    }
    // SAFETY: a run is what was interrupted.
    unsafe { leave() }
}

#[unsafe(naked)]
unsafe extern "C" fn enter(run: *const Run) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [{saved}], rsp",
        "push 0x10",
        "push [rdi + 32]",
        "push [rdi + 128]",
        "push [rdi + 144]",
        "push [rdi + 136]",
        "mov rax, [rdi]",
        "mov rcx, [rdi + 8]",
        "mov rdx, [rdi + 16]",
        "mov rbx, [rdi + 24]",
        "mov rbp, [rdi + 40]",
        "mov rsi, [rdi + 48]",
        "mov r8, [rdi + 64]",
        "mov r9, [rdi + 72]",
        "mov r10, [rdi + 80]",
        "mov r11, [rdi + 88]",
        "mov r12, [rdi + 96]",
        "mov r13, [rdi + 104]",
        "mov r14, [rdi + 112]",
        "mov r15, [rdi + 120]",
        "mov rdi, [rdi + 56]",
        "iretq",
        saved = sym SAVED,
    )
}

#[unsafe(naked)]
unsafe extern "C" fn leave() -> ! {
    naked_asm!(
        "mov rsp, [{saved}]",
        "mov qword ptr [{saved}], 0",
        "push 2",
        "popfq",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        saved = sym SAVED,
    )
}
