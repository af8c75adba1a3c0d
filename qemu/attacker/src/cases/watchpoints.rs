//! Data breakpoints: on what the child itself moves, while what it moves to is not there yet, and on addresses that others have something at.
//! Whether they fire is not looked at (QEMU's TCG can only have them for the whole machine), only that nothing else comes of them.

use nix::libc::user_regs_struct;

use super::{Ground, exits, expect};
use crate::puppet::{CODE, DATA, FRESH, INT3, Puppet, SIZE, TOP, Wrong};

/// `madvise`, and `MADV_DONTNEED`.
const MADVISE: u64 = 28;
const GIVE_BACK: u64 = 4;
/// Instructions that move from `[rsi]` to `[rdi]`, with what they need of RCX, and how many bytes they move.
const MOVES: [(&[u8], u64, usize); 6] = [
    (&[0xf3, 0xa4], 48, 48),
    (&[0xf3, 0x48, 0xa5], 6, 48),
    (&[0xa4], 1, 1),
    (&[0x48, 0xa5], 1, 8),
    (&[0x8a, 0x06, 0x88, 0x07], 1, 1),
    (&[0x48, 0x8b, 0x06, 0x48, 0x89, 0x07], 1, 8),
];

pub(super) fn run(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    let puppet = Puppet::new()?;
    for _ in 0..12 {
        moved(ground, &puppet)?;
    }
    for _ in 0..24 {
        elsewhere(ground, &puppet)?;
    }
    puppet.disarm()
}

/// Arms up to four data breakpoints at addresses that `place` draws.
fn arm(
    ground: &mut Ground<'_>,
    puppet: &Puppet,
    place: impl Fn(&mut Ground<'_>) -> u64,
) -> Result<(), Wrong> {
    puppet.disarm()?;
    let mut control = 0;
    for slot in 0..1 + ground.dice.below(4) as usize {
        let (kind, length) = (ground.dice.pick(&[1, 3]), ground.dice.below(4));
        let size = [1_u64, 2, 8, 4][length as usize];
        let address = place(ground) & !(size - 1);
        if puppet.debug(slot, address).is_ok() {
            control |= 1 << (2 * slot) | (kind | length << 2) << (16 + 4 * slot);
        }
    }
    puppet
        .debug(7, control)
        .map_err(|error| format!("DR7 = {control:#x}: {error}"))
}

/// From a watched page to one that has to be made first.
fn moved(ground: &mut Ground<'_>, puppet: &Puppet) -> Result<(), Wrong> {
    expect(
        "madvise",
        puppet.call(MADVISE, [FRESH, SIZE, GIVE_BACK, 0, 0, 0])?,
        0,
    )?;
    let (code, rcx, length) = ground.dice.pick(&MOVES);
    // Over the end of a page, more often than not.
    let source = DATA + 0x1000 - ground.dice.below(64);
    let target = FRESH + 0x1000 * (1 + ground.dice.below(8)) - ground.dice.below(64);
    let content: Vec<u8> = (0..length).map(|_| ground.dice.any() as u8).collect();
    puppet.write(source, &content)?;
    arm(ground, puppet, |ground| {
        let base = ground.dice.pick(&[source, target, TOP]);
        base + ground.dice.below(length as u64)
    })?;
    let all = [code, &[INT3]].concat();
    puppet.load(&all)?;
    puppet.set(user_regs_struct {
        rcx,
        rsi: source,
        rdi: target,
        ..puppet.fresh()
    })?;
    puppet.run_to(CODE + all.len() as u64)?;
    expect("what was moved", puppet.read(target, length)?, content)
}

/// Where the child has nothing: low addresses, where physical ones of the hypervisor and its servers' pages would be.
fn elsewhere(ground: &mut Ground<'_>, puppet: &Puppet) -> Result<(), Wrong> {
    arm(ground, puppet, |ground| match ground.dice.below(5) {
        0 => ground.dice.below(4 << 20),
        1 => 0x40_0000 + ground.dice.below(0x4_0000),
        2 => 0x7000_0000 + ground.dice.below(0x8000),
        3 => 0x10_0000 + ground.dice.below(0x40_0000),
        _ => 0xfee0_0000 + ground.dice.below(0x1000),
    })?;
    exits(puppet, ground.dice.pick(&[0, 1, 0x4000_0001]), 8)
}
