//! Instructions that a user may not execute, or that only just may: each raises what it raises on a processor.

use nix::libc::user_regs_struct;

use super::{Ground, is_exception};
use crate::puppet::{CODE, DATA, INT3, Puppet, Stop, Wrong};

/// By name. Some are seen to end differently on different CPUs: that is noted, not judged.
const ALL: [(&str, &[u8]); 66] = [
    ("hlt", &[0xf4]),
    ("cli", &[0xfa]),
    ("sti", &[0xfb]),
    ("in al, dx", &[0xec]),
    ("out dx, al", &[0xee]),
    ("in eax, 0x71", &[0xe5, 0x71]),
    ("rep insb", &[0xf3, 0x6c]),
    ("rep outsb", &[0xf3, 0x6e]),
    ("mov rax, cr0", &[0x0f, 0x20, 0xc0]),
    ("mov cr0, rax", &[0x0f, 0x22, 0xc0]),
    ("mov rax, cr2", &[0x0f, 0x20, 0xd0]),
    ("mov cr3, rax", &[0x0f, 0x22, 0xd8]),
    ("mov cr4, rax", &[0x0f, 0x22, 0xe0]),
    ("mov cr8, rax", &[0x44, 0x0f, 0x22, 0xc0]),
    ("mov rax, dr0", &[0x0f, 0x21, 0xc0]),
    ("mov dr7, rax", &[0x0f, 0x23, 0xf8]),
    ("lgdt", &[0x0f, 0x01, 0x16]),
    ("lidt", &[0x0f, 0x01, 0x1e]),
    ("lldt", &[0x0f, 0x00, 0xd0]),
    ("ltr", &[0x0f, 0x00, 0xd8]),
    ("lmsw", &[0x0f, 0x01, 0xf0]),
    ("clts", &[0x0f, 0x06]),
    ("invd", &[0x0f, 0x08]),
    ("wbinvd", &[0x0f, 0x09]),
    ("invlpg", &[0x0f, 0x01, 0x3e]),
    ("invpcid", &[0x66, 0x0f, 0x38, 0x82, 0x06]),
    ("rdmsr", &[0x0f, 0x32]),
    ("wrmsr", &[0x0f, 0x30]),
    ("rdpmc", &[0x0f, 0x33]),
    ("rdtsc", &[0x0f, 0x31]),
    ("rdtscp", &[0x0f, 0x01, 0xf9]),
    ("sgdt", &[0x0f, 0x01, 0x06]),
    ("sidt", &[0x0f, 0x01, 0x0e]),
    ("sldt", &[0x0f, 0x00, 0x06]),
    ("str", &[0x0f, 0x00, 0x0e]),
    ("smsw", &[0x0f, 0x01, 0x26]),
    ("smsw eax", &[0x0f, 0x01, 0xe0]),
    ("vmrun", &[0x0f, 0x01, 0xd8]),
    ("vmload", &[0x0f, 0x01, 0xda]),
    ("vmsave", &[0x0f, 0x01, 0xdb]),
    ("stgi", &[0x0f, 0x01, 0xdc]),
    ("clgi", &[0x0f, 0x01, 0xdd]),
    ("skinit", &[0x0f, 0x01, 0xde]),
    ("invlpga", &[0x0f, 0x01, 0xdf]),
    ("vmcall", &[0x0f, 0x01, 0xc1]),
    ("monitor", &[0x0f, 0x01, 0xc8]),
    ("mwait", &[0x0f, 0x01, 0xc9]),
    ("swapgs", &[0x0f, 0x01, 0xf8]),
    ("clac", &[0x0f, 0x01, 0xca]),
    ("stac", &[0x0f, 0x01, 0xcb]),
    ("xsetbv", &[0x0f, 0x01, 0xd1]),
    ("rsm", &[0x0f, 0xaa]),
    ("sysret", &[0x48, 0x0f, 0x07]),
    ("sysexit", &[0x48, 0x0f, 0x35]),
    ("into", &[0xce]),
    ("icebp", &[0xf1]),
    ("ud0", &[0x0f, 0xff, 0x06]),
    ("ud1", &[0x0f, 0xb9, 0x06]),
    ("ud2", &[0x0f, 0x0b]),
    ("lock cpuid", &[0xf0, 0x0f, 0xa2]),
    ("lock nop", &[0xf0, 0x90]),
    ("cmpxchg8b by lock, a register", &[0xf0, 0x0f, 0xc7, 0xc8]),
    (
        "14 prefixes",
        &[
            0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
            0x90,
        ],
    ),
    (
        "15 prefixes",
        &[
            0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
            0x66, 0x90,
        ],
    ),
    (
        "13 prefixes, cpuid",
        &[
            0x66, 0x2e, 0x66, 0x2e, 0x66, 0x2e, 0x66, 0x2e, 0x66, 0x2e, 0x66, 0x2e, 0x66, 0x0f,
            0xa2,
        ],
    ),
    ("vmmcall", &[0x0f, 0x01, 0xd9]),
];
/// What a user gets of SVM is the hypervisor's business, which has EFER.SVME set while a guest runs: how these fault, and whether VMMCALL does, is
/// not noted.
const OURS: [&str; 8] = [
    "vmmcall", "vmrun", "vmload", "vmsave", "stgi", "clgi", "skinit", "invlpga",
];

pub(super) fn run(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    // What is not noted leaves no trace in what is.
    let (puppet, unnoted) = (Puppet::new()?, Puppet::new()?);
    for (name, bytes) in ALL {
        let (value, index) = (
            ground.dice.wild(),
            ground
                .dice
                .pick(&[0, 0x10, 0x1b, 0x3f8, 0x604, 0xc000_0080]),
        );
        if OURS.contains(&name) {
            execute(&unnoted, bytes, value, index)?;
        } else {
            let how = execute(&puppet, bytes, value, index)?;
            ground.facts.note(format_args!("{name}: {how}"));
        }
    }
    for _ in 0..64 {
        let vector = ground.dice.any() as u8;
        // INT 0x80 is a system call.
        if vector != 0x80 {
            let how = execute(&puppet, &[0xcd, vector], 0, 0)?;
            ground.facts.note(format_args!("int {vector:#x}: {how}"));
        }
    }
    Ok(())
}

/// Executes one instruction; what comes of it.
fn execute(puppet: &Puppet, bytes: &[u8], value: u64, index: u64) -> Result<String, Wrong> {
    let code = [bytes, &[INT3]].concat();
    puppet.load(&code)?;
    puppet.set(user_regs_struct {
        rax: value,
        rcx: index,
        rdx: index,
        rsi: DATA,
        rdi: DATA + 0x800,
        ..puppet.fresh()
    })?;
    let stop = puppet.run()?;
    match stop {
        Stop::Signal(signal, code) if is_exception(signal) => Ok(format!(
            "{signal}/{code} at {:x}",
            puppet.registers()?.rip.wrapping_sub(CODE)
        )),
        _ => Err(format!("{bytes:x?}: {stop}")),
    }
}
