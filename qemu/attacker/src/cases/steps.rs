//! Single steps over what steps have gone astray at: instructions that leave the guest, system calls, loads of SS, changes of TF, breakpoints
//! on what is stepped over.

use nix::libc::user_regs_struct;

use super::{Ground, is_exception};
use crate::puppet::{CODE, FLAGS, INT3, Puppet, Stop, Wrong};

/// Pieces of code, by what they do.
const PIECES: [(&str, &[u8]); 22] = [
    ("cpuid", &[0x31, 0xc0, 0x0f, 0xa2]),
    (
        "cpuid with prefixes",
        &[0x31, 0xc0, 0x66, 0x2e, 0xf3, 0x48, 0x0f, 0xa2],
    ),
    ("syscall", &[0xb8, 39, 0, 0, 0, 0x0f, 0x05]),
    ("int 0x80", &[0xb8, 20, 0, 0, 0, 0xcd, 0x80]),
    ("rdtsc", &[0x0f, 0x31]),
    ("pushf, popf", &[0x9c, 0x9d]),
    (
        "tf cleared",
        &[0x9c, 0x81, 0x24, 0x24, 0xff, 0xfe, 0xff, 0xff, 0x9d, 0x90],
    ),
    (
        "tf set",
        &[
            0x9c, 0x81, 0x0c, 0x24, 0x00, 0x01, 0x00, 0x00, 0x9d, 0x90, 0x90,
        ],
    ),
    (
        "nt set",
        &[
            0x9c, 0x81, 0x0c, 0x24, 0x00, 0x40, 0x00, 0x00, 0x9d, 0x90, 0x9c, 0x9d,
        ],
    ),
    (
        "ac set",
        &[0x9c, 0x81, 0x0c, 0x24, 0x00, 0x00, 0x04, 0x00, 0x9d, 0x90],
    ),
    ("int3", &[0xcc, 0x90]),
    ("icebp", &[0xf1, 0x90]),
    ("ud2", &[0x0f, 0x0b]),
    ("ss loaded", &[0x8c, 0xd0, 0x8e, 0xd0, 0x90, 0x90]),
    (
        "ss loaded, cpuid",
        &[0x8c, 0xd0, 0x8e, 0xd0, 0x0f, 0xa2, 0x90],
    ),
    ("ss loaded, int3", &[0x8c, 0xd0, 0x8e, 0xd0, 0xcc, 0x90]),
    ("ss loaded, icebp", &[0x8c, 0xd0, 0x8e, 0xd0, 0xf1, 0x90]),
    (
        "ss loaded, syscall",
        &[0xb8, 39, 0, 0, 0, 0x8c, 0xd1, 0x8e, 0xd1, 0x0f, 0x05, 0x90],
    ),
    ("rep movsb", &[0xb9, 3, 0, 0, 0, 0xf3, 0xa4]),
    // push ss; push rsp + 8 as it was; pushf; push cs; lea rax, [rip + 5]; push rax; iretq; nop
    (
        "iretq",
        &[
            0x48, 0x89, 0xe0, 0x8c, 0xd1, 0x51, 0x50, 0x9c, 0x8c, 0xc9, 0x51, 0x48, 0x8d, 0x05, 3,
            0, 0, 0, 0x50, 0x48, 0xcf, 0x90,
        ],
    ),
    (HYPERCALL, &[0x0f, 0x01, 0xd9, 0x90]),
    ("xgetbv", &[0x31, 0xc9, 0x0f, 0x01, 0xd0]),
];
/// What is not noted.
const HYPERCALL: &str = "vmmcall";
/// What is only done where far returns are.
const FAR: &str = "iretq";
/// Steps through one sequence, at most.
const STEPS: usize = 48;

pub(super) fn run(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    let mut puppet = Puppet::new()?;
    for _ in 0..30 {
        let (mut code, mut starts, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..1 + ground.dice.below(3) {
            let (name, piece) = ground.dice.pick(&PIECES);
            if name == FAR && !ground.far {
                continue;
            }
            starts.push(CODE + code.len() as u64);
            names.push(name);
            code.extend(piece);
        }
        code.extend([INT3, INT3, INT3]);
        let end = CODE + code.len() as u64;
        puppet.load(&code)?;
        let how = ground.dice.below(4);
        // It sets its own TF, or it is stepped by its tracer.
        let flags = if how == 1 { FLAGS | 0x100 } else { FLAGS };
        puppet.set(user_regs_struct {
            eflags: flags,
            ..puppet.fresh()
        })?;
        let armed = ground.dice.below(3) == 0;
        if armed {
            let _ = puppet.debug(
                0,
                *starts.get(ground.dice.below(3) as usize).unwrap_or(&CODE),
            );
            puppet
                .debug(7, 1)
                .map_err(|error| format!("DR7 = 1: {error}"))?;
        }
        let mut seen = Vec::new();
        while seen.len() < STEPS {
            let stop = match how {
                0 | 1 => puppet.run()?,
                2 => puppet.step_into()?,
                _ => puppet.step()?,
            };
            let Stop::Signal(signal, code) = stop else {
                seen.push(stop.to_string());
                puppet = Puppet::new()?;
                break;
            };
            let registers = puppet.registers()?;
            if !is_exception(signal) {
                return Err(format!("{names:?}: {stop} at {:#x}", registers.rip));
            }
            seen.push(format!(
                "{signal}/{code}+{:x}f{:x}",
                registers.rip.wrapping_sub(CODE),
                registers.eflags & 0x4_4500
            ));
            // What faults would fault for ever.
            if registers.rip >= end
                || registers.rip < CODE
                || matches!(signal.as_str(), "SIGILL" | "SIGSEGV" | "SIGBUS")
            {
                break;
            }
        }
        // What a user's VMMCALL does is the hypervisor's business.
        if !names.contains(&HYPERCALL) {
            ground.facts.note(format_args!(
                "{names:?} by {how}, armed {armed}: {}",
                seen.join(" ")
            ));
        }
        if armed {
            puppet.disarm()?;
        }
    }
    Ok(())
}
