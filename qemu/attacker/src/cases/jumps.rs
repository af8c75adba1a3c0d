//! Ways to go where nobody may: addresses that are none, the kernel's, the hypervisor's, the vsyscall page.

use nix::libc::user_regs_struct;

use super::{Ground, is_exception};
use crate::puppet::{CODE, DATA, INT3, Puppet, Stop, TOP, Wrong};

/// By name; each jumps to RAX, or with RAX as its stack.
const WAYS: [(&str, &[u8]); 10] = [
    ("jmp rax", &[0xff, 0xe0]),
    ("call rax", &[0xff, 0xd0]),
    ("push rax; ret", &[0x50, 0xc3]),
    ("push rax; ret 8", &[0x50, 0xc2, 8, 0]),
    ("mov rsp, rax; push rax", &[0x48, 0x89, 0xc4, 0x50]),
    ("mov rsp, rax; int3", &[0x48, 0x89, 0xc4, 0xcc]),
    ("mov rsp, rax; pop rax", &[0x48, 0x89, 0xc4, 0x58]),
    ("mov rax, [rax]", &[0x48, 0x8b, 0x00]),
    ("lock inc [rax]", &[0xf0, 0x48, 0xff, 0x00]),
    ("call [rax]", &[0xff, 0x10]),
];
/// Where to.
const PLACES: [u64; 14] = [
    0,
    1,
    0x7fff_ffff_ffff,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
    0xffff_7fff_ffff_ffff,
    0xffff_8000_0000_0000,
    0xffff_ffff_8011_0000,
    0xffff_ffff_8100_0000,
    0xffff_ffff_ffff_ffff,
    0x40_0000,
    0x7000_0000,
    0xfee0_0000,
    0x10_0000,
];
/// Entries of the vsyscall page, and what is beside them.
const VSYSCALLS: [u64; 6] = [0, 0x400, 0x800, 0xc00, 0x3ff, 0xfff];
const VSYSCALL: u64 = 0xffff_ffff_ff60_0000;

pub(super) fn run(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    let puppet = Puppet::new()?;
    for _ in 0..60 {
        let ((name, way), place) = (ground.dice.pick(&WAYS), ground.dice.pick(&PLACES));
        let place = if ground.dice.below(4) == 0 {
            place ^ ground.dice.wild()
        } else {
            place
        };
        // What the child has itself would go on.
        if (CODE..CODE + 0x5000_0000).contains(&place)
            || (0x5000_0000_0000..0x7fff_ffff_0000).contains(&place)
        {
            continue;
        }
        let how = go(&puppet, way, place, 0)?;
        ground
            .facts
            .note(format_args!("{name} with {place:#x}: {how}"));
    }
    for _ in 0..12 {
        let (entry, argument) = (
            ground.dice.pick(&VSYSCALLS),
            ground.dice.pick(&[0, DATA, 1, 1 << 63]),
        );
        let how = go(&puppet, &[0xff, 0xd0], VSYSCALL + entry, argument)?;
        ground.facts.note(format_args!(
            "vsyscall {entry:#x} with {argument:#x}: {how}"
        ));
    }
    for _ in 0..if ground.far { 40 } else { 0 } {
        let how = frame(ground, &puppet)?;
        ground.facts.note(how);
    }
    Ok(())
}

fn go(puppet: &Puppet, way: &[u8], place: u64, argument: u64) -> Result<String, Wrong> {
    puppet.load(&[way, &[INT3]].concat())?;
    puppet.set(user_regs_struct {
        rax: place,
        rdi: argument,
        rsi: 0,
        ..puppet.fresh()
    })?;
    told(puppet, puppet.run()?)
}

fn told(puppet: &Puppet, stop: Stop) -> Result<String, Wrong> {
    match stop {
        Stop::Signal(signal, code) if is_exception(signal) => {
            let registers = puppet.registers()?;
            Ok(format!(
                "{signal}/{code} at {:x}, cs {:x}",
                registers.rip, registers.cs
            ))
        }
        _ => Err(format!("{stop}")),
    }
}

/// IRET and far returns with odd frames.
fn frame(ground: &mut Ground<'_>, puppet: &Puppet) -> Result<String, Wrong> {
    let selectors = [
        0x33, 0x2b, 0x23, 0x10, 0x18, 0x13, 0, 3, 0x43, 7, 0xffff, 0x3b,
    ];
    let places = [
        CODE + 0x40,
        CODE + 0x40,
        0,
        1 << 47,
        1 << 63,
        0x40_0000,
        0xffff_ffff_8100_0000,
    ];
    let flags = [
        0x202,
        0x302,
        0x4202,
        0x4_0202,
        0x3202,
        0x1_0202,
        0x2_0202,
        0x20_0202,
        0,
        u64::MAX,
    ];
    let words = [
        ground.dice.pick(&places),
        ground.dice.pick(&selectors),
        ground.dice.pick(&flags),
        ground.dice.pick(&[TOP, TOP, TOP + 1, 0, 1 << 63]),
        ground.dice.pick(&selectors),
    ];
    let way: &[u8] = ground.dice.pick(&[
        &[0x48, 0xcf][..],
        &[0x48, 0xcb],
        &[0xcf],
        &[0x66, 0xcf],
        &[0xcb],
        &[0x48, 0xca, 8, 0],
    ]);
    puppet.write(
        TOP,
        &words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<_>>(),
    )?;
    puppet.write(CODE + 0x40, &[0x90, INT3])?;
    puppet.load(&[way, &[INT3]].concat())?;
    Ok(format!(
        "{way:x?} with {words:x?}: {}",
        told(puppet, puppet.run()?)?
    ))
}
