//! MSR 0x1b, APIC_BASE: which of the modes the APIC is in, and the legal ways between them (Intel SDM vol. 3 §11.12.5).

use super::registers::Registers;
use super::{Lapic, Live, MASKED};

/// Bootstrap CPU; read-only (AMD APM vol. 2 §16.3.1).
pub(super) const BOOTSTRAP: u64 = 1 << 8;
/// x2APIC mode.
pub(super) const X2APIC: u64 = 1 << 10;
/// Enabled.
pub(super) const ENABLE: u64 = 1 << 11;
/// Where the registers are after reset.
pub const DEFAULT: u64 = 0xfee0_0000;

const OFF: u64 = 0;
const XAPIC: u64 = ENABLE;
const EXTENDED: u64 = ENABLE | X2APIC;

/// Whether the registers are in memory by `base`, and one of them at `gpa` (or a place that none of them has).
#[inline(always)]
pub(crate) fn is_register(base: u64, gpa: u64) -> bool {
    const NUMBER: u64 = 0xff0;
    base & !BOOTSTRAP == gpa & !NUMBER | XAPIC
}

impl Lapic {
    /// WRMSR of APIC_BASE; `None` is a #GP. The registers do not move: the machine's memory is divided when it starts.
    pub fn set_base(&mut self, value: u64) -> Option<()> {
        if value & !(BOOTSTRAP | EXTENDED) != DEFAULT {
            return None;
        }
        let (old, new) = (self.registers.base & EXTENDED, value & EXTENDED);
        match (old, new) {
            (OFF | XAPIC | EXTENDED, OFF) => {
                if old != OFF {
                    self.reset();
                }
            }
            (OFF | XAPIC, XAPIC) | (EXTENDED, EXTENDED) => {}
            (XAPIC, EXTENDED) => self.registers.extend(),
            _ => return None,
        }
        self.registers.base = value & !BOOTSTRAP | self.registers.base & BOOTSTRAP;
        self.rewire();
        Some(())
    }

    /// The register file and what is pending as after reset. What the kernel was told stays told.
    fn reset(&mut self) {
        self.registers = Registers::new(self.registers.id);
        let Live {
            offered,
            wired,
            nmi,
            ..
        } = self.live;
        self.live = Live {
            offered,
            wired,
            nmi,
            lvt_timer: MASKED,
            ..Live::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_legal_mode_changes_are_taken() {
        let base = |mode: u64| DEFAULT | mode;
        let modes = [OFF, XAPIC, EXTENDED, X2APIC];
        let legal = [
            (OFF, OFF),
            (OFF, XAPIC),
            (XAPIC, OFF),
            (XAPIC, XAPIC),
            (XAPIC, EXTENDED),
            (EXTENDED, EXTENDED),
            (EXTENDED, OFF),
        ];
        for from in [OFF, XAPIC, EXTENDED] {
            for to in modes {
                let mut lapic = Lapic::new(0);
                match from {
                    OFF => assert_eq!(lapic.set_base(base(OFF)), Some(())),
                    EXTENDED => assert_eq!(lapic.set_base(base(EXTENDED)), Some(())),
                    _ => {}
                }
                let before = lapic;
                let done = lapic.set_base(base(to));
                assert_eq!(
                    done.is_some(),
                    legal.contains(&(from, to)),
                    "{from:#x} to {to:#x}"
                );
                if done.is_none() {
                    assert_eq!(lapic, before);
                } else {
                    assert_eq!(lapic.registers.base, base(to) | BOOTSTRAP);
                }
            }
        }
    }

    #[test]
    fn reserved_bits_and_another_place_are_refused() {
        for bit in [0, 1, 7, 9, 12, 16, 40, 63] {
            assert_eq!(
                Lapic::new(0).set_base(DEFAULT | ENABLE | 1 << bit),
                None,
                "bit {bit}"
            );
        }
    }

    #[test]
    fn switching_the_apic_off_forgets_what_was_pending_and_leaves_the_pin_to_the_8259s() {
        let mut lapic = Lapic::new(0);
        lapic.registers.lint0 = MASKED;
        lapic.receive(0x41, false);
        lapic.rewire();
        assert_eq!(lapic.live.wired, 0);
        assert_eq!(lapic.set_base(DEFAULT), Some(()));
        assert_eq!(
            (lapic.live.irr.highest(), lapic.live.wired),
            (0, super::super::BY_LINT0)
        );
        assert_eq!(lapic.set_base(DEFAULT | ENABLE), Some(()));
        assert_eq!(lapic.live.wired, 0, "after reset LINT0 is masked");
    }
}
