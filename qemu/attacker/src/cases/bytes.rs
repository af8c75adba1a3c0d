//! Random instructions, step by step: after each step the same is so on every machine.

use nix::libc::user_regs_struct;

use super::{Ground, is_exception};
use crate::puppet::{CODE, DATA, INT3, Puppet, SIZE, STACK, Stop, Wrong};

/// Steps through one sequence.
const STEPS: usize = 12;
/// Bytes that more happens after than after most.
const LIKELY: [u8; 24] = [
    0x0f, 0x01, 0x66, 0xf2, 0xf3, 0x48, 0xf0, 0x2e, 0x64, 0x8e, 0x9d, 0xcf, 0xca, 0xff, 0xd9, 0xdf,
    0xae, 0xc7, 0x38, 0x3a, 0x80, 0xf6, 0x06, 0x00,
];
/// Bytes that once came to something else on two machines, played in each round before those that are drawn: they have STR and SLDT in them,
/// which a Linux with UMIP emulates.
const FOUND: [[u8; 24]; 2] = [
    [
        0x00, 0x0f, 0xf3, 0x7a, 0x1d, 0x0f, 0x00, 0xcd, 0x78, 0x0f, 0x5c, 0xae, 0x66, 0xf3, 0xf2,
        0xae, 0x6b, 0x3a, 0x7e, 0xff, 0xae, 0xf6, 0x00, 0x5f,
    ],
    [
        0x0f, 0x00, 0xc2, 0xf3, 0x06, 0x80, 0x66, 0x9a, 0xf3, 0x74, 0x0f, 0x55, 0x9d, 0x9d, 0x00,
        0x48, 0x64, 0xf0, 0x64, 0xad, 0x64, 0x0f, 0xe0, 0xf0,
    ],
];

pub(super) fn run(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    let mut puppet = Puppet::new()?;
    for code in &FOUND {
        step_through(&mut puppet, ground, code.to_vec())?;
    }
    for _ in 0..80 {
        let code: Vec<u8> = (0..24)
            .map(|_| {
                if ground.dice.below(2) == 0 {
                    ground.dice.pick(&LIKELY)
                } else {
                    ground.dice.any() as u8
                }
            })
            .collect();
        if depends_on_the_machine(&code) || !ground.far && has_far_call(&code) {
            continue;
        }
        step_through(&mut puppet, ground, code)?;
    }
    Ok(())
}

/// Notes where it is after each step. If it has ended, another takes its place.
fn step_through(
    puppet: &mut Puppet,
    ground: &mut Ground<'_>,
    mut code: Vec<u8>,
) -> Result<(), Wrong> {
    code.push(INT3);
    puppet.load(&code)?;
    puppet.write(DATA, &[0x5a; 0x400])?;
    puppet.write(STACK + SIZE / 2 - 64, &[0; 128])?;
    let rax = ground.dice.pick(&[0, 1, DATA, u64::MAX, 1 << 63]);
    puppet.set(user_regs_struct {
        rax,
        ..puppet.fresh()
    })?;
    let mut seen = Vec::new();
    for _ in 0..STEPS {
        let stop = puppet.step()?;
        let Stop::Signal(signal, number) = stop else {
            seen.push(stop.to_string());
            *puppet = Puppet::new()?;
            break;
        };
        if !is_exception(signal) {
            return Err(format!("{code:02x?}: {stop}"));
        }
        let rip = puppet.registers()?.rip;
        seen.push(format!("{signal}/{number}+{:x}", rip.wrapping_sub(CODE)));
        if signal.as_str() != "SIGTRAP" || !(CODE..CODE + code.len() as u64).contains(&rip) {
            break;
        }
    }
    ground
        .facts
        .note(format_args!("{code:02x?}: {}", seen.join(" ")));
    Ok(())
}

/// Whether there may be an IRET, a far return or a far call in it.
fn has_far_call(code: &[u8]) -> bool {
    code.iter().any(|byte| matches!(byte, 0xca | 0xcb | 0xcf))
        || code
            .windows(2)
            .any(|pair| pair[0] == 0xff && pair[1] >> 3 & 7 == 3)
}

/// Whether what it does may depend on time, chance, or on which features the guest was shown (then Linux has enabled them in CR4 and XCR0).
fn depends_on_the_machine(code: &[u8]) -> bool {
    let vector = |byte: &u8| matches!(byte, 0xc4 | 0xc5 | 0x62 | 0x8f);
    let two = |pair: &[u8]| matches!(pair, [0x0f, 0x01 | 0x31 | 0xa2 | 0xae | 0xc7 | 0x05 | 0x34]);
    code.iter().any(vector) || code.windows(2).any(two)
}
