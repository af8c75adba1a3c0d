//! Code segments of a process's own, with bases, limits and widths: an instruction that leaves the guest must be found in each.

use nix::libc::{SI_KERNEL, user_regs_struct};
use nix::sys::signal::Signal;

use super::{Ground, expect};
use crate::puppet::{CODE, DATA, INT3, Puppet, Stop, Wrong};

const MODIFY_LDT: u64 = 154;
/// `set_thread_area` of 32-bit Linux.
const SET_THREAD_AREA: u64 = 243;
const PAGE: u64 = 0x1000;
/// `-EINVAL`.
const REFUSED: i32 = -22;
/// CPUID with prefixes that change nothing, in 16-bit and 32-bit code.
const FORMS: [&[u8]; 5] = [
    &[0x0f, 0xa2],
    &[0x66, 0x0f, 0xa2],
    &[0x67, 0x0f, 0xa2],
    &[0x2e, 0x0f, 0xa2],
    &[0xf3, 0x66, 0x0f, 0xa2],
];

/// A `user_desc` of Linux.
#[derive(Debug)]
struct Descriptor {
    entry: u32,
    base: u32,
    limit: u32,
    flags: u32,
}

impl Descriptor {
    const WIDE: u32 = 1;
    const CODE: u32 = 2 << 1;
    const PAGES: u32 = 1 << 4;
    const NOT_PRESENT: u32 = 1 << 5;

    fn bytes(&self) -> Vec<u8> {
        [self.entry, self.base, self.limit, self.flags]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    /// Puts it into the table; Linux gives an `int` back.
    fn set(&self, puppet: &Puppet) -> Result<i32, Wrong> {
        puppet.write(DATA, &self.bytes())?;
        puppet
            .call(MODIFY_LDT, [1, DATA, 16, 0, 0, 0])
            .map(|result| result as i32)
    }
}

pub(super) fn run(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    let mut puppet = Puppet::new()?;
    puppet.load(&[0x0f, 0xa2, INT3])?;
    puppet.set(user_regs_struct {
        rcx: 0,
        ..puppet.fresh()
    })?;
    puppet.run_to(CODE + 3)?;
    let known = answer(&puppet)?;
    for _ in 0..24 {
        cpuid(ground, &mut puppet, known)?;
    }
    for _ in 0..16 {
        anything(ground, &puppet)?;
    }
    for _ in 0..8 {
        let descriptor = Descriptor {
            entry: u32::MAX,
            base: ground.dice.any() as u32,
            limit: 0xf_ffff,
            flags: Descriptor::WIDE | Descriptor::PAGES,
        };
        puppet.write(DATA, &descriptor.bytes())?;
        let result = puppet.call_compatible(SET_THREAD_AREA, [DATA, 0, 0, 0, 0])?;
        ground.facts.note(format_args!("set_thread_area: {result}"));
    }
    Ok(())
}

fn answer(puppet: &Puppet) -> Result<[u64; 4], Wrong> {
    let registers = puppet.registers()?;
    Ok([registers.rax, registers.rbx, registers.rcx, registers.rdx])
}

/// CPUID says the same, and what follows is executed, wherever the segment begins.
fn cpuid(ground: &mut Ground<'_>, puppet: &mut Puppet, known: [u64; 4]) -> Result<(), Wrong> {
    let entry = ground.dice.below(64) as u32;
    let wide = ground.dice.below(2) as u32;
    let offset = ground.dice.pick(&[0, 1, 0x10, 0x80, 0xffd, 0xfff]);
    let below = ground.dice.pick(&[0, 0x1000, 0xf000])
        + if ground.astray {
            ground.dice.below(PAGE)
        } else {
            0
        };
    let aligned = below.is_multiple_of(PAGE);
    // Code that begins in the segment at what the base is too low by.
    let base = CODE - below;
    let descriptor = Descriptor {
        entry,
        base: base as u32,
        limit: 0xf_ffff,
        flags: wide | Descriptor::CODE | Descriptor::PAGES,
    };
    match descriptor.set(puppet)? {
        0 => {}
        // Linux may have been built without 16-bit segments.
        REFUSED if wide == 0 => return Ok(()),
        other => return Err(format!("modify_ldt of {descriptor:?} is {other}")),
    }
    let code = [ground.dice.pick(&FORMS), &[INT3]].concat();
    let start = below + offset;
    puppet.write(CODE + offset, &code)?;
    let cs = u64::from(entry) << 3 | 7;
    ground
        .facts
        .note(format_args!("{descriptor:x?} from {start:#x}: {code:x?}"));
    puppet.set(user_regs_struct {
        rip: start,
        cs,
        rcx: 0,
        ..puppet.fresh()
    })?;
    if !aligned {
        puppet.run_astray()?;
        *puppet = Puppet::new()?;
        return Ok(());
    }
    let stop = puppet.run()?;
    let what = format!("{descriptor:x?} from {start:#x}, {code:x?}");
    expect(&what, stop, Stop::Signal(Signal::SIGTRAP, SI_KERNEL))?;
    let registers = puppet.registers()?;
    expect(
        &what,
        (registers.rip, registers.cs),
        (start + code.len() as u64, cs),
    )?;
    expect(&what, answer(puppet)?, known)
}

/// Any descriptor that Linux takes, loaded into a register, with an access, or as code.
fn anything(ground: &mut Ground<'_>, puppet: &Puppet) -> Result<(), Wrong> {
    let dice = &mut *ground.dice;
    let entry = dice.below(64) as u32;
    let flags = dice.any() as u32 & 0x5f & !Descriptor::NOT_PRESENT;
    let base = dice.pick(&[0, CODE, CODE - PAGE, DATA, u64::from(u32::MAX), 0x40_0000]) as u32;
    let descriptor = Descriptor {
        entry,
        base,
        limit: dice.pick(&[0, 1, 0x82, 0x83, 0xfff, 0xf_ffff]),
        flags,
    };
    let set = descriptor.set(puppet)?;
    let selector = u64::from(entry) << 3 | 7;
    // In DS a base counts for QEMU's TCG even in 64-bit code, where a prefix says DS: such as Linux has in place of LOCK on one CPU.
    let data = [
        0x8e,
        if ground.astray { 0xd8 } else { 0xe0 },
        0x8a,
        0x03,
        INT3,
    ];
    let (code, cs) = dice.pick(&[
        (&data[..], 0x33),
        (&[0x8e, 0xe0, 0x64, 0x8a, 0x03, INT3][..], 0x33),
        (&[0x8e, 0xe8, 0x65, 0x8a, 0x03, INT3][..], 0x33),
        (&[0x31, 0xc0, 0x0f, 0xa2, INT3][..], selector),
    ]);
    puppet.load(&[0x90; 0x90])?;
    puppet.write(CODE + 0x80, code)?;
    let rip = if cs == 0x33 { CODE + 0x80 } else { 0x80 };
    let begin = user_regs_struct {
        rax: selector,
        rbx: 0x80,
        rip,
        cs,
        ..puppet.fresh()
    };
    ground
        .facts
        .note(format_args!("{descriptor:x?}: {set}; {code:x?}"));
    puppet.set(begin)?;
    let stop = puppet.run()?;
    let registers = puppet.registers()?;
    ground.facts.note(format_args!(
        "{stop} at {:x}, cs {:x}",
        registers.rip, registers.cs
    ));
    Ok(())
}
