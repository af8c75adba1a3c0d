//! Instructions that are not for ring 3: privileged ones, ports, the counter, the FPU, and what would lead out of the ring.

use core::arch::asm;

use crate::memory::{KERNEL, STACK};

misdeeds! {
    /// Executing an instruction.
    Instruction {
        /// HLT.
        Halt,
        /// CLI.
        DisableInterrupts,
        /// MOV from CR3.
        ReadControlRegister,
        /// MOV to CR3.
        WriteControlRegister,
        /// RDMSR.
        ReadMsr,
        /// WRMSR.
        WriteMsr,
        /// LIDT.
        LoadInterruptTable,
        /// INVLPG.
        InvalidatePage,
        /// SWAPGS.
        SwapGs,
        /// WRGSBASE, which the kernel's way in relies on being off.
        WriteGsBase,
        /// VMRUN.
        RunGuest,
        /// CLGI.
        ClearGlobalInterrupts,
        /// VMMCALL: for guests only.
        Hypercall,
        /// INT with the vector of a host's device.
        ForgeInterrupt,
        /// INT3, whose gate is not for ring 3 either.
        Breakpoint,
        /// IRET to ring 0.
        ReturnToRing0,
        /// POPF with the trap flag.
        SingleStep,
        /// UD2.
        Undefined,
        /// DIV by zero.
        DivideByZero,
        /// OUT to the port that ends the host.
        PortOut,
        /// IN from the console's device.
        PortIn,
        /// RDTSC.
        ReadTimestamp,
        /// RDTSCP.
        ReadTimestampAndProcessor,
        /// FLD1.
        Fpu,
        /// XORPS.
        Sse,
    }
}

/// One instruction sequence. It either faults, or comes back and the test that asked for it fails.
macro_rules! execute {
    ($($line:literal),+ $(; $register:tt = $value:expr)*) => {{
        // SAFETY: every register that the C ABI lets a callee change counts as changed; what else these could change is the machine's,
        // and that they cannot is what is tested.
        unsafe { asm!($($line),+, $(in($register) $value,)* clobber_abi("sysv64")) }
    }};
}

impl Instruction {
    pub(crate) fn commit(self) {
        match self {
            Instruction::Halt => execute!("hlt"),
            Instruction::DisableInterrupts => execute!("cli"),
            Instruction::ReadControlRegister => execute!("mov rax, cr3"),
            Instruction::WriteControlRegister => execute!("mov cr3, rax"; "rax" = 0_u64),
            Instruction::ReadMsr => execute!("rdmsr"; "ecx" = 0xc000_0080_u32),
            Instruction::WriteMsr => {
                execute!("wrmsr"; "ecx" = 0xc000_0080_u32; "eax" = 0; "edx" = 0)
            }
            Instruction::LoadInterruptTable => execute!("lidt [rsp]"),
            Instruction::InvalidatePage => execute!("invlpg [rsp]"),
            Instruction::SwapGs => execute!("swapgs"),
            Instruction::WriteGsBase => execute!("wrgsbase rax"; "rax" = u64::MAX << 47),
            Instruction::RunGuest => execute!("vmrun"; "rax" = 0_u64),
            Instruction::ClearGlobalInterrupts => execute!("clgi"),
            Instruction::Hypercall => execute!("vmmcall"),
            Instruction::ForgeInterrupt => execute!("int 0x24"),
            Instruction::Breakpoint => execute!("int3"),
            Instruction::ReturnToRing0 => return_to_ring_0(),
            Instruction::SingleStep => execute!("push 0x302", "popfq", "nop"),
            Instruction::Undefined => execute!("ud2"),
            Instruction::DivideByZero => execute!("div ecx"; "ecx" = 0; "eax" = 1; "edx" = 0),
            Instruction::PortOut => execute!("out 0xf4, al"; "al" = 16_u8),
            Instruction::PortIn => execute!("in al, dx"; "dx" = 0x3f8_u16),
            Instruction::ReadTimestamp => execute!("rdtsc"),
            Instruction::ReadTimestampAndProcessor => execute!("rdtscp"),
            Instruction::Fpu => execute!("fld1"),
            Instruction::Sse => execute!("xorps xmm0, xmm0"),
        }
    }
}

/// IRET with a frame for ring 0, at a fixed place on the stack.
fn return_to_ring_0() -> ! {
    // SAFETY: the frame leads into the kernel; that it does not get there is what is tested.
    unsafe {
        asm!(
            "mov rsp, {stack}",
            "push 0x10",
            "push rsp",
            "push 2",
            "push 8",
            "push {kernel}",
            "iretq",
            stack = in(reg) STACK,
            kernel = in(reg) KERNEL,
            options(noreturn),
        )
    }
}
