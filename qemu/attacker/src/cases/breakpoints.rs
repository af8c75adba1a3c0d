//! Instruction breakpoints by ptrace. A process owns its breakpoints' addresses only as long as nobody else uses the same ones: here they are
//! those of servers and of the hypervisor's kernel.

use nix::libc::user_regs_struct;
use nix::sys::signal::Signal;

use super::{CPUID_AT, Ground, cpuid_loop, exits, expect};
use crate::puppet::{CODE, Puppet, Stop, Wrong};

/// What Linux says of a breakpoint that fired (`TRAP_HWBKPT`).
const FIRED: Stop = Stop::Signal(Signal::SIGTRAP, 4);
/// What DR7 has for each of the four, if it is enabled by a task.
const ENABLED: u64 = 0b0101_0101;
/// Where servers' images begin, and what is beyond their ends.
const SERVERS: (u64, u64) = (0x40_0000, 0x42_0000);
/// Where the hypervisor's kernel is linked to, and what is beyond its end.
const KERNEL: (u64, u64) = (0xffff_ffff_8010_0000, 0xffff_ffff_8040_0000);
/// Other places that servers have something at: messages, stacks, guest memory.
const OTHERS: [u64; 6] = [
    0x1000,
    0x10_0000,
    0x20_0000,
    0x7000_0000,
    0x7000_1000,
    0x7000_2000,
];
/// Batches of four addresses in a round.
const BATCHES: usize = 24;
/// Exits under each.
const EXITS: u64 = 12;

/// Breakpoints on one's own instructions fire each time, once, at the right place: on one that leaves the guest, too.
pub(super) fn at_home(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    let puppet = Puppet::new()?;
    let code = cpuid_loop(ground.dice.pick(&[0, 1, 7, 0x4000_0000, 0x8000_0001]));
    // mov, xor, cpuid, dec, jnz
    let places = [CODE, CODE + 5, CPUID_AT, CODE + 9, CODE + 11];
    for _ in 0..6 {
        let (times, chosen) = (1 + ground.dice.below(9), ground.dice.below(16));
        puppet.load(&code)?;
        puppet.set(user_regs_struct {
            rbp: times,
            ..puppet.fresh()
        })?;
        puppet.disarm()?;
        let mut armed: Vec<(usize, u64)> = Vec::new();
        for slot in 0..4 {
            let place = ground.dice.pick(&places);
            if chosen >> slot & 1 != 0 && !armed.iter().any(|(_, other)| *other == place) {
                armed.push((slot, place));
            }
        }
        let mut control = 0;
        for (slot, place) in &armed {
            puppet
                .debug(*slot, *place)
                .map_err(|error| format!("DR{slot} = {place:#x}: {error}"))?;
            control |= 1 << (2 * slot);
        }
        puppet
            .debug(7, control)
            .map_err(|error| format!("DR7 = {control:#x}: {error}"))?;
        let stops = puppet.run_to(CODE + code.len() as u64)?;
        for (stop, rip) in &stops {
            expect("a stop", *stop, FIRED)?;
            expect(
                "whether somebody waits there",
                armed.iter().any(|(_, place)| place == rip),
                true,
            )?;
        }
        for (slot, place) in &armed {
            let fired = stops.iter().filter(|(_, rip)| rip == place).count() as u64;
            expect(
                &format!("how often DR{slot} at {place:#x} fired, with {armed:x?}"),
                fired,
                times,
            )?;
        }
        expect("all stops", stops.len() as u64, times * armed.len() as u64)?;
        ground
            .facts
            .note(format_args!("{times} {armed:x?} {stops:x?}"));
        puppet.disarm()?;
    }
    exits(&puppet, 1, EXITS)
}

/// Breakpoints where others have their code: they never fire, and nobody else notices.
pub(super) fn sweep(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    let puppet = Puppet::new()?;
    let mut aims: Vec<u64> = ground.targets.to_vec();
    aims.extend([SERVERS.0, SERVERS.0 + 1, SERVERS.0 + 2, SERVERS.0 + 3]);
    // A stretch of neighbours, and places all over.
    let start = SERVERS.0 + ground.dice.below(SERVERS.1 - SERVERS.0);
    aims.extend(start..start + BATCHES as u64);
    while aims.len() < 4 * BATCHES + ground.targets.len() {
        let aim = match ground.dice.below(8) {
            0..5 => SERVERS.0 + ground.dice.below(SERVERS.1 - SERVERS.0),
            5 => ground.dice.pick(&OTHERS) + ground.dice.below(0x1000),
            6 => 0x1000 + ground.dice.below(SERVERS.0 - 0x1000),
            _ => ground.dice.wild() >> 17,
        };
        aims.push(aim);
    }
    aims.retain(|aim| !(CODE..CODE + 0x1_0000).contains(aim));
    for batch in aims.chunks(4) {
        puppet.disarm()?;
        let mut control = 0;
        for (slot, aim) in batch.iter().enumerate() {
            if puppet.debug(slot, *aim).is_ok() {
                control |= ENABLED & 3 << (2 * slot);
            }
        }
        puppet
            .debug(7, control)
            .map_err(|error| format!("DR7 = {control:#x} for {batch:x?}: {error}"))?;
        exits(
            &puppet,
            ground.dice.pick(&[0, 1, 7, 0xd, 0x4000_0000]),
            EXITS,
        )?;
        for (slot, aim) in batch
            .iter()
            .enumerate()
            .filter(|(slot, _)| control >> (2 * slot) & 1 != 0)
        {
            expect(&format!("DR{slot}"), puppet.debug_value(slot)?, *aim)?;
        }
    }
    puppet.disarm()?;
    refused(ground, &puppet)?;
    exits(&puppet, 0, EXITS)
}

/// What a user may not ask for is refused.
fn refused(ground: &mut Ground<'_>, puppet: &Puppet) -> Result<(), Wrong> {
    for _ in 0..BATCHES {
        let aim = match ground.dice.below(3) {
            0 => KERNEL.0 + ground.dice.below(KERNEL.1 - KERNEL.0),
            1 => 0xffff_8000_0000_0000 | ground.dice.wild(),
            _ => 1 << 63 | ground.dice.wild(),
        };
        let slot = ground.dice.below(4) as usize;
        let written = puppet.debug(slot, aim).is_ok();
        // A disabled one may be of any address; not an enabled one.
        let armed = written && puppet.debug(7, 1 << (2 * slot)).is_ok();
        if armed && puppet.debug_value(slot)? == aim {
            return Err(format!("a user may set a breakpoint at {aim:#x}"));
        }
        let _ = puppet.debug(slot, 0x1000);
        puppet.disarm()?;
    }
    for number in [4, 5] {
        expect(
            &format!("whether DR{number} can be written"),
            puppet.debug(number, 1).is_ok(),
            false,
        )?;
    }
    Ok(())
}
