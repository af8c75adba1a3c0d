//! A bounded walk of the guest's page tables, to fetch the instruction that exited (APM vol. 2 §5.2, §5.3).
//!
//! It only reads. Whatever does not translate gives `None`: the guest then runs the instruction again and takes its own fault.

use atoll_protocol::units::{Gpa, Gva};

use super::Vcpu;
use crate::machine::Machine;

const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Accessed and dirty: the CPU sets them, and they decide nothing.
const USED: u64 = 3 << 5;

/// Where an address leads, and the last entry on the way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// Where it lies in guest-physical memory.
    pub(crate) gpa: Gpa,
    /// Where the last entry is, and which bits of the eight bytes there make it; 0 without paging.
    pub(crate) leaf: Gpa,
    pub(crate) mask: u64,
}

/// Where the linear address lies in guest-physical memory.
pub(crate) fn translate<M: Machine>(vcpu: &Vcpu, machine: &M, at: Gva) -> Option<Found> {
    let save = &vcpu.vmcb.save;
    if vcpu.cr0() & 1 << 31 == 0 {
        return Some(Found {
            gpa: Gpa(at.0 & 0xffff_ffff),
            leaf: Gpa(0),
            mask: 0,
        });
    }
    if vcpu.efer() & 1 << 10 != 0 {
        // The root's index sits in bits 47 to 39, the leaf's in 20 to 12.
        return wide(machine, save.cr3 & ADDRESS, at.0, 39);
    }
    if save.cr4 & 1 << 5 != 0 {
        let root = entry(machine, (save.cr3 & 0xffff_ffe0) + (at.0 >> 30 & 3) * 8, 8)?;
        return wide(machine, root & ADDRESS, at.0, 21);
    }
    let place = (save.cr3 & 0xffff_f000) + (at.0 >> 22 & 0x3ff) * 4;
    let directory = entry(machine, place, 4)?;
    let mask = 0xffff_ffff & !USED;
    if directory & LARGE != 0 && save.cr4 & 1 << 4 != 0 {
        let high = (directory >> 13 & 0xff) << 32;
        return Some(Found {
            gpa: Gpa(high | directory & 0xffc0_0000 | at.0 & 0x3f_ffff),
            leaf: Gpa(place),
            mask,
        });
    }
    let place = (directory & 0xffff_f000) + (at.0 >> 12 & 0x3ff) * 4;
    let leaf = entry(machine, place, 4)?;
    Some(Found {
        gpa: Gpa(leaf & 0xffff_f000 | at.0 & 0xfff),
        leaf: Gpa(place),
        mask,
    })
}

fn wide<M: Machine>(machine: &M, root: u64, at: u64, top: u32) -> Option<Found> {
    let mut table = root;
    let mut shift = top;
    loop {
        let place = table + (at >> shift & 0x1ff) * 8;
        let found = entry(machine, place, 8)?;
        if shift == 12 || (found & LARGE != 0 && shift <= 30) {
            let inside = (1 << shift) - 1;
            let gpa = Gpa(found & ADDRESS & !inside | at & inside);
            return Some(Found {
                gpa,
                leaf: Gpa(place),
                mask: !USED,
            });
        }
        table = found & ADDRESS;
        shift -= 9;
    }
}

fn entry<M: Machine>(machine: &M, at: u64, size: usize) -> Option<u64> {
    let mut bytes = [0; 8];
    let found = bytes
        .get_mut(..size)
        .is_some_and(|bytes| machine.guest_read(Gpa(at), bytes));
    let value = u64::from_le_bytes(bytes);
    (found && value & PRESENT != 0).then_some(value)
}
