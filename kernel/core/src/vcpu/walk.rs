//! A bounded walk of the guest's page tables, to fetch the instruction that exited (APM vol. 2 §5.2, §5.3).
//!
//! It only reads. Whatever does not translate gives `None`: the guest then runs the instruction again and takes its own fault.

use atoll_protocol::units::{Gpa, Gva};

use super::Vcpu;
use crate::machine::Machine;

const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Where the linear address lies in guest-physical memory.
pub(crate) fn translate<M: Machine>(vcpu: &Vcpu, machine: &M, at: Gva) -> Option<Gpa> {
    let save = &vcpu.vmcb.save;
    if save.cr0 & 1 << 31 == 0 {
        return Some(Gpa(at.0 & 0xffff_ffff));
    }
    if save.efer & 1 << 10 != 0 {
        // The root's index sits in bits 47 to 39, the leaf's in 20 to 12.
        return wide(machine, save.cr3 & ADDRESS, at.0, 39);
    }
    if save.cr4 & 1 << 5 != 0 {
        let root = entry(machine, (save.cr3 & 0xffff_ffe0) + (at.0 >> 30 & 3) * 8, 8)?;
        return wide(machine, root & ADDRESS, at.0, 21);
    }
    let directory = entry(machine, (save.cr3 & 0xffff_f000) + (at.0 >> 22 & 0x3ff) * 4, 4)?;
    if directory & LARGE != 0 && save.cr4 & 1 << 4 != 0 {
        let high = (directory >> 13 & 0xff) << 32;
        return Some(Gpa(high | directory & 0xffc0_0000 | at.0 & 0x3f_ffff));
    }
    let leaf = entry(machine, (directory & 0xffff_f000) + (at.0 >> 12 & 0x3ff) * 4, 4)?;
    Some(Gpa(leaf & 0xffff_f000 | at.0 & 0xfff))
}

fn wide<M: Machine>(machine: &M, root: u64, at: u64, top: u32) -> Option<Gpa> {
    let mut table = root;
    let mut shift = top;
    loop {
        let found = entry(machine, table + (at >> shift & 0x1ff) * 8, 8)?;
        if shift == 12 || (found & LARGE != 0 && shift <= 30) {
            let inside = (1 << shift) - 1;
            return Some(Gpa(found & ADDRESS & !inside | at & inside));
        }
        table = found & ADDRESS;
        shift -= 9;
    }
}

fn entry<M: Machine>(machine: &M, at: u64, size: usize) -> Option<u64> {
    let mut bytes = [0; 8];
    let found = bytes.get_mut(..size).is_some_and(|bytes| machine.guest_read(Gpa(at), bytes));
    let value = u64::from_le_bytes(bytes);
    (found && value & PRESENT != 0).then_some(value)
}
