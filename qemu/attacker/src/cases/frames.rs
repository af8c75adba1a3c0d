//! Returns from signal handlers that never ran: with odd flags, segments, addresses and FPU states.

use nix::libc::user_regs_struct;

use super::{Ground, is_exception};
use crate::puppet::{CODE, DATA, FLAGS, INT3, Puppet, STACK, Stop, TOP, Wrong};

/// `rt_sigreturn`.
const RETURN: [u8; 8] = [0xb8, 15, 0, 0, 0, 0x0f, 0x05, INT3];
/// Where the frame leads.
const LANDING: u64 = CODE + 0x80;
/// Words of a frame, from `uc_flags` to the mask of signals; and where in it what is.
const WORDS: usize = 38;
const SP: usize = 20;
const IP: usize = 21;
const EFLAGS: usize = 22;
const SEGMENTS: usize = 23;
const FPU: usize = 28;
/// Steps behind a landing with TF.
const STEPS: usize = 6;

pub(super) fn run(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    let mut puppet = Puppet::new()?;
    for _ in 0..48 {
        let frame = draw(ground);
        let mut garbage: Vec<u8> = (0..64)
            .flat_map(|_| ground.dice.any().to_le_bytes())
            .collect();
        // No summary of exceptions in the status word: see `fpu`. At DATA and 8 bytes behind it.
        (garbage[2], garbage[10]) = (0, 0);
        puppet.write(DATA, &garbage)?;
        puppet.write(LANDING, &[0x90, 0x31, 0xc0, 0x0f, 0xa2, 0x9b, 0x90, INT3])?;
        puppet.load(&RETURN)?;
        let at = STACK + 0x1000;
        puppet.write(
            at,
            &frame
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect::<Vec<_>>(),
        )?;
        puppet.set(user_regs_struct {
            rsp: at,
            ..puppet.fresh()
        })?;
        let mut seen = Vec::new();
        for _ in 0..STEPS {
            let stop = puppet.run()?;
            let Stop::Signal(signal, code) = stop else {
                seen.push(stop.to_string());
                puppet = Puppet::new()?;
                break;
            };
            if !is_exception(signal) {
                return Err(format!("{frame:x?}: {stop}"));
            }
            let registers = puppet.registers()?;
            // Without RF, which QEMU's TCG keeps over instructions that do not end a block.
            let flags = registers.eflags & 0x3e_7fd5;
            seen.push(format!(
                "{signal}/{code} at {:x}, cs {:x} ss {:x} flags {flags:x}",
                registers.rip, registers.cs, registers.ss
            ));
            if signal.as_str() != "SIGTRAP" || flags & 0x100 == 0 {
                break;
            }
        }
        ground
            .facts
            .note(format_args!("{:x?}: {}", &frame[SP..=FPU], seen.join("; ")));
    }
    Ok(())
}

fn draw(ground: &mut Ground<'_>) -> [u64; WORDS] {
    let dice = &mut *ground.dice;
    let mut frame = [0; WORDS];
    frame[0] = dice.pick(&[0, 1, 2, 4, 6, 7]);
    frame[SP] = dice.pick(&[TOP, TOP, TOP, 0, 1 << 63, TOP + 3]);
    frame[IP] = dice.pick(&[
        LANDING,
        LANDING,
        LANDING,
        0,
        1 << 47,
        1 << 63,
        0x40_0000,
        0xffff_ffff_8100_0000,
    ]);
    let odd = [
        0x100, 0x4000, 0x4_0000, 0x400, 0x3000, 0x1_0000, 0x2_0000, 0x10_0000, 0x8_0000,
    ];
    frame[EFLAGS] = FLAGS | dice.pick(&odd) | (dice.pick(&odd) * dice.below(2));
    let code = dice.pick(&[0x33, 0x33, 0x33, 0x23, 0x10, 0x13, 0, 0x2b, 7, 0xf, 0xffff]);
    let stack = dice.pick(&[0x2b, 0x2b, 0x2b, 0, 0x18, 0x33, 7, 0x53]);
    frame[SEGMENTS] = code | stack << 48;
    frame[FPU] = dice.pick(&[0, 0, 0, DATA, DATA + 8, 1, 1 << 63, 0xffff_8000_0000_0000]);
    frame
}
