//! Where an instruction that exits ends, on CPUs without next-RIP save: the kernel knows the few opcodes that exit, and needs only
//! their length, with prefixes.
//!
//! Fetching walks the guest's tables, so what was found is kept by (CR3, RIP) and is used again as long as the last entry of the
//! translation and the bytes in memory are still the same. An upper-level entry that changes under the same CR3 goes unnoticed if the old
//! last entry and the old bytes stay as they were.

use atoll_protocol::units::{Gpa, Gva};

use super::Vcpu;
use crate::machine::{Machine, Place};

/// An instruction that the kernel completes: its opcode bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// 0F A2.
    Cpuid,
    /// 0F 32.
    Rdmsr,
    /// 0F 30.
    Wrmsr,
    /// F4.
    Hlt,
    /// 0F 01 D9.
    Vmmcall,
}

impl Opcode {
    const fn bytes(self) -> &'static [u8] {
        match self {
            Opcode::Cpuid => &[0x0f, 0xa2],
            Opcode::Rdmsr => &[0x0f, 0x32],
            Opcode::Wrmsr => &[0x0f, 0x30],
            Opcode::Hlt => &[0xf4],
            Opcode::Vmmcall => &[0x0f, 0x01, 0xd9],
        }
    }
}

const ENTRIES: usize = 64;

#[derive(Clone, Copy)]
struct Known {
    cr3: u64,
    rip: u64,
    place: Place,
    bytes: u64,
    mask: u64,
    length: u64,
    /// The last entry of the translation, masked; with its mask 0 there was no paging.
    leaf: Place,
    entry: u64,
    entry_mask: u64,
}

/// Instructions found before.
pub struct SkipCache {
    known: [Known; ENTRIES],
}

impl SkipCache {
    /// Nothing known.
    pub const EMPTY: SkipCache = SkipCache {
        known: [Known::NONE; ENTRIES],
    };

    /// Forgets everything: addresses may translate differently from here on.
    #[cold]
    pub(super) fn clear(&mut self) {
        self.known.iter_mut().for_each(|known| known.rip = u64::MAX);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.known.iter().all(|known| known.rip == u64::MAX)
    }
}

impl Known {
    const NONE: Known = Known {
        cr3: 0,
        rip: u64::MAX,
        place: Place(0),
        bytes: 0,
        mask: 0,
        length: 0,
        leaf: Place(0),
        entry: 0,
        entry_mask: 0,
    };
}

impl Vcpu {
    /// RIP behind the instruction at RIP, if that is `opcode`; `None` if it cannot be fetched or is another one by now.
    #[inline(always)]
    pub(crate) fn behind<M: Machine>(&mut self, machine: &M, opcode: Opcode) -> Option<u64> {
        let save = &self.vmcb.save;
        let [_, cs, ..] = &save.segments;
        let slot = (save.rip as usize ^ (save.rip >> 6) as usize) % ENTRIES;
        if let Some(known) = self.skip.known.get(slot)
            && (known.rip ^ save.rip) | (known.cr3 ^ save.cr3) | cs.base == 0
            && machine.guest_peek(known.leaf) & known.entry_mask == known.entry
            && machine.guest_peek(known.place) & known.mask == known.bytes
        {
            return Some(save.rip.wrapping_add(known.length));
        }
        self.fetch(machine, opcode, slot)
    }

    /// The linear address of the instruction: in 64-bit mode CS has no base (APM vol. 2 §4.5.3).
    fn linear_rip(&self) -> u64 {
        let [_, cs, ..] = &self.vmcb.save.segments;
        let rip = self.vmcb.save.rip;
        if self.long() {
            rip
        } else {
            cs.base.wrapping_add(rip) & 0xffff_ffff
        }
    }

    #[inline(always)]
    pub(super) fn long(&self) -> bool {
        let [_, cs, ..] = &self.vmcb.save.segments;
        self.efer() & 1 << 10 != 0 && cs.attributes & 1 << 9 != 0
    }

    #[cold]
    #[inline(never)]
    fn fetch<M: Machine>(&mut self, machine: &M, opcode: Opcode, slot: usize) -> Option<u64> {
        let at = self.linear_rip();
        let (code, fetched) = self.code(machine);
        let code = code.get(..fetched)?;
        let prefixes = self.prefixes(code);
        if !code.get(prefixes..)?.starts_with(opcode.bytes()) {
            return None;
        }
        let length = prefixes + opcode.bytes().len();
        // Instruction pointers wrap at the width of the code segment.
        let next = self.vmcb.save.rip.wrapping_add(length as u64);
        let next = if self.long() {
            next
        } else {
            next & 0xffff_ffff
        };
        // Kept only if it is short enough for one comparison, eight bytes can be read without leaving the page, nothing wraps behind it in
        // any mode, and no base of CS makes its address another one in another mode. The same bytes are as long in every mode: where a REX
        // prefix is none, its byte is an instruction of its own.
        let save = &self.vmcb.save;
        let [_, cs, ..] = save.segments;
        if length <= 8
            && at & 0xfff <= 0xff8
            && at >> 12 != 0xf_ffff
            && cs.base == 0
            && at == save.rip
        {
            let mask = if length == 8 {
                u64::MAX
            } else {
                (1 << (length * 8)) - 1
            };
            let bytes = code
                .iter()
                .take(length)
                .rev()
                .fold(0, |all, byte| all << 8 | u64::from(*byte));
            let found = super::walk::translate(self, machine, Gva(at))?;
            let place = machine.guest_place(found.gpa)?;
            let leaf = if found.mask == 0 {
                place
            } else {
                machine.guest_place(found.leaf)?
            };
            let entry = machine.guest_peek(leaf) & found.mask;
            let (cr3, rip, length) = (save.cr3, save.rip, length as u64);
            let new = Known {
                cr3,
                rip,
                place,
                bytes,
                mask,
                length,
                leaf,
                entry,
                entry_mask: found.mask,
            };
            if let Some(known) = self.skip.known.get_mut(slot) {
                *known = new;
            }
        }
        Some(next)
    }

    /// The two bytes of the next instruction's opcode, as far as they can be fetched; else 0.
    pub(crate) fn opcode<M: Machine>(&self, machine: &M) -> [u8; 2] {
        let (code, _) = self.code(machine);
        let mut opcode = code.iter().skip(self.prefixes(&code)).copied();
        [opcode.next().unwrap_or(0), opcode.next().unwrap_or(0)]
    }

    /// The bytes of the instruction at RIP, and how many could be fetched.
    pub(crate) fn code<M: Machine>(&self, machine: &M) -> ([u8; 15], usize) {
        let at = self.linear_rip();
        let mut code = [0; 15];
        let mut gpa = Gpa(0);
        let mut fetched = 0;
        for (index, byte) in code.iter_mut().enumerate() {
            let linear = at.wrapping_add(index as u64);
            if index == 0 || linear & 0xfff == 0 {
                match super::walk::translate(self, machine, Gva(linear)) {
                    Some(found) => gpa = Gpa(found.gpa.0.wrapping_sub(index as u64)),
                    None => break,
                }
            }
            if !machine.guest_read(
                Gpa(gpa.0.wrapping_add(index as u64)),
                core::slice::from_mut(byte),
            ) {
                break;
            }
            fetched = index + 1;
        }
        (code, fetched)
    }

    /// How many of the bytes are prefixes.
    fn prefixes(&self, code: &[u8]) -> usize {
        let legacy = |byte: &u8| {
            matches!(
                byte,
                0x66 | 0x67 | 0xf2 | 0xf3 | 0x2e | 0x36 | 0x3e | 0x26 | 0x64 | 0x65 | 0xf0
            )
        };
        let mut prefixes = code.iter().take_while(|byte| legacy(byte)).count();
        // One REX prefix may follow the legacy ones (APM vol. 3 §1.2.7).
        if self.long() && code.get(prefixes).is_some_and(|byte| byte & 0xf0 == 0x40) {
            prefixes += 1;
        }
        prefixes
    }
}
