//! Exceptions of the x87 and of SSE, masked and not, denormals, and states that are none.

use nix::libc::user_regs_struct;

use super::{Ground, is_exception};
use crate::puppet::{CODE, DATA, INT3, Puppet, Stop, Wrong};

/// What the x87 does between FNINIT, FLDCW and FWAIT; RDI has doubles and garbage, RBX is for results.
const X87: [(&str, &[u8]); 15] = [
    ("1 / 0", &[0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9]),
    ("0 / 0", &[0xd9, 0xee, 0xd9, 0xee, 0xde, 0xf9]),
    ("sqrt -1", &[0xd9, 0xe8, 0xd9, 0xe0, 0xd9, 0xfa]),
    ("1 / 3", &[0xd9, 0xe8, 0xdc, 0x77, 0x08]),
    ("denormal + 1", &[0xdd, 0x07, 0xd9, 0xe8, 0xde, 0xc1]),
    ("2^huge", &[0xdd, 0x47, 0x10, 0xd9, 0xe8, 0xd9, 0xfd]),
    (
        "overflow of the stack",
        &[
            0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8,
            0xd9, 0xe8, 0xd9, 0xe8,
        ],
    ),
    ("underflow of the stack", &[0xde, 0xc1]),
    ("huge to an integer", &[0xdd, 0x47, 0x10, 0xdb, 0x1b]),
    ("a decimal that is none", &[0xdf, 0x67, 0x20]),
    ("an environment that is none", &[0xd9, 0x67, 0x20]),
    ("a state that is none", &[0xdd, 0x67, 0x20]),
    ("sine of huge", &[0xdd, 0x47, 0x10, 0xd9, 0xfe]),
    (
        "remainder",
        &[0xdd, 0x47, 0x08, 0xdd, 0x47, 0x10, 0xd9, 0xf8],
    ),
    (
        "mmx, emms",
        &[0x0f, 0x6f, 0x07, 0x0f, 0xfc, 0x47, 0x08, 0x0f, 0x77],
    ),
];
/// What SSE does behind LDMXCSR.
const SSE: [(&str, &[u8]); 8] = [
    (
        "1 / 0",
        &[
            0xf2, 0x0f, 0x10, 0x47, 0x18, 0x0f, 0x57, 0xc9, 0xf2, 0x0f, 0x5e, 0xc1,
        ],
    ),
    ("0 / 0", &[0x0f, 0x57, 0xc0, 0xf2, 0x0f, 0x5e, 0xc0]),
    ("sqrt of garbage", &[0xf2, 0x0f, 0x51, 0x47, 0x20]),
    (
        "denormal + 3",
        &[0xf2, 0x0f, 0x10, 0x07, 0xf2, 0x0f, 0x58, 0x47, 0x08],
    ),
    (
        "huge * huge",
        &[0xf2, 0x0f, 0x10, 0x47, 0x10, 0xf2, 0x0f, 0x59, 0xc0],
    ),
    ("huge to an integer", &[0xf2, 0x48, 0x0f, 0x2d, 0x47, 0x10]),
    ("garbage compared", &[0x66, 0x0f, 0x2f, 0x47, 0x20]),
    ("packed, not aligned", &[0x66, 0x0f, 0x58, 0x47, 0x21]),
];
/// A denormal, 3, 1e308, 1: what RDI points to; garbage follows.
const NUMBERS: [u64; 4] = [
    1,
    0x4008_0000_0000_0000,
    0x7fe1_ccf3_85eb_c8a0,
    0x3ff0_0000_0000_0000,
];

pub(super) fn run(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    let puppet = Puppet::new()?;
    for _ in 0..30 {
        let (name, what) = ground.dice.pick(&X87);
        let control = ground
            .dice
            .pick(&[0x37f, 0x340, 0x37e, 0x37b, 0x35f, 0x33f, 0x360, 0x277]);
        // fninit; fldcw [rsi]; ..; fwait; fnstsw ax; int3
        let code = [
            &[0xdb, 0xe3, 0xd9, 0x2e][..],
            what,
            &[0x9b, 0xdf, 0xe0, INT3],
        ]
        .concat();
        let how = execute(ground, &puppet, &code, control)?;
        ground
            .facts
            .note(format_args!("x87 {name} under {control:x}: {how}"));
    }
    for _ in 0..30 {
        let (name, what) = ground.dice.pick(&SSE);
        let control = ground
            .dice
            .pick(&[0x1f80, 0x1f00, 0x1d80, 0x0, 0x9fc0, 0x1e80, 0x7f80, 0xffc0]);
        // ldmxcsr [rsi]; ..; stmxcsr [rbx]; mov eax, [rbx]; int3
        let code = [
            &[0x0f, 0xae, 0x16][..],
            what,
            &[0x0f, 0xae, 0x1b, 0x8b, 0x03, INT3],
        ]
        .concat();
        let how = execute(ground, &puppet, &code, control)?;
        ground
            .facts
            .note(format_args!("SSE {name} under {control:x}: {how}"));
    }
    for _ in 0..8 {
        // fxrstor [rdi + 32], of garbage.
        let how = execute(ground, &puppet, &[0x0f, 0xae, 0x4f, 0x20, INT3], 0x37f)?;
        ground.facts.note(format_args!("fxrstor: {how}"));
    }
    Ok(())
}

fn execute(
    ground: &mut Ground<'_>,
    puppet: &Puppet,
    code: &[u8],
    control: u32,
) -> Result<String, Wrong> {
    let garbage = (0..64).map(|_| ground.dice.any());
    let mut data: Vec<u8> = NUMBERS
        .into_iter()
        .chain(garbage)
        .flat_map(u64::to_le_bytes)
        .collect();
    // The status word of a state (FXRSTOR's, FLDENV's) says nothing of exceptions. QEMU's TCG believes a summary of none, and Linux tries for ever
    // to find out which.
    (data[0x22], data[0x24]) = (0, 0);
    puppet.write(DATA + 0x200, &data)?;
    puppet.write(DATA, &control.to_le_bytes())?;
    puppet.load(code)?;
    puppet.set(user_regs_struct {
        rsi: DATA,
        rdi: DATA + 0x200,
        rbx: DATA + 0x800,
        ..puppet.fresh()
    })?;
    let Stop::Signal(signal, number) = puppet.run()? else {
        return Err(format!("{code:x?} ended it"));
    };
    if !is_exception(signal) {
        return Err(format!("{code:x?}: {signal}"));
    }
    let registers = puppet.registers()?;
    // A state that is left with an exception pending is nobody's but this code's.
    puppet.load(&[0xdb, 0xe3, INT3])?;
    puppet.run()?;
    Ok(format!(
        "{signal}/{number} at {:x}, {:x}",
        registers.rip.wrapping_sub(CODE),
        registers.rax as u32
    ))
}
