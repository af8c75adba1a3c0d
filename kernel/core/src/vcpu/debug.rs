//! The guest's debug registers (APM vol. 2 §13.1): kept here, and in the CPU only while the guest runs.
//!
//! A #VMEXIT of QEMU's TCG leaves breakpoints in place: what a guest had armed would go off in the kernel and in its servers. So accesses to
//! DR0 to DR3 and DR7 exit, their values are kept here, and what is armed is loaded around VMRUN alone (`Machine`'s business, by
//! [`Debug::armed`]). DR6 is VMRUN's to switch.
//!
//! Where `armed` is told that breakpoints linger, it arms instruction breakpoints only: a watchpoint that an instruction hits before it
//! exits goes off behind the #VMEXIT, where nothing can take it.

use core::ops::Range;

/// DR7: the low byte is two enable bits per breakpoint.
const ENABLES: u64 = 0xff;
/// DR7: a bit that is always set.
const FIXED: u64 = 1 << 10;
/// DR7: the next access to a debug register raises #DB. Those accesses exit, so that the CPU need not look.
const GENERAL_DETECT: u64 = 1 << 13;
/// DR7: bits that are always clear, beside the upper half: 11, 12, 14, 15.
const CLEAR: u64 = 0xd800;
/// DR6: bits that are always set, and bit 12, which is always clear.
const STATUS_SET: u64 = 0xffff_0ff0;
const STATUS_CLEAR: u64 = 1 << 12;

/// DR6: a single step.
const STEP: u64 = 1 << 14;

/// The values of DR0 to DR3 and DR7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debug {
    address: [u64; 4],
    control: u64,
}

impl Debug {
    /// DR7 with nothing armed.
    pub const DISARMED: u64 = FIXED;
    /// As at reset.
    pub(crate) const RESET: Debug = Debug {
        address: [0; 4],
        control: FIXED,
    };

    pub(super) fn set_address(&mut self, number: usize, value: u64) {
        if let Some(address) = self.address.get_mut(number) {
            *address = value;
        }
    }

    pub(super) fn set_control(&mut self, value: u64) {
        self.control = value & u64::from(u32::MAX) & !CLEAR | FIXED;
    }

    /// What DR6 holds when `value` is written to it.
    pub(super) const fn status(value: u64) -> u64 {
        value & (u32::MAX as u64) & !STATUS_CLEAR | STATUS_SET
    }

    /// DR0 to DR3.
    pub fn addresses(&self) -> [u64; 4] {
        self.address
    }

    /// DR7 as the guest sees it.
    pub fn control(&self) -> u64 {
        self.control
    }

    /// Whether the guest has enabled a breakpoint.
    #[inline(always)]
    pub fn is_enabled(&self) -> bool {
        self.control & ENABLES != 0
    }

    /// Of the breakpoints with these bits in DR6, whether one is for instructions: then #DB is a fault, else a trap. A single step is one in any
    /// case: TCG reports with it the breakpoint that the next instruction will hit.
    pub(super) fn is_fault(&self, status: u64) -> bool {
        status & STEP == 0
            && (0..4).any(|number| status & 1 << number != 0 && self.kind(number) == Kind::Execute)
    }

    /// DR7 for the CPU. With `lingering`, breakpoints stay in place over a #VMEXIT: until they are taken out again the host executes the
    /// addresses in `window`, and those are not armed.
    pub fn armed(&self, lingering: bool, window: Range<u64>) -> u64 {
        let refused = (0..4).filter(|number| {
            let address = self.address.get(*number as usize).copied().unwrap_or(0);
            let canonical = (address as i64) << 16 >> 16 == address as i64;
            !canonical
                || lingering && (self.kind(*number) != Kind::Execute || window.contains(&address))
        });
        refused.fold(self.control & !GENERAL_DETECT, |control, number| {
            control & !(0b11 << (number * 2))
        })
    }

    fn kind(&self, number: u32) -> Kind {
        match self.control >> (16 + number * 4) & 0b11 {
            0b00 => Kind::Execute,
            0b10 => Kind::Io,
            _ => Kind::Data,
        }
    }
}

/// What a breakpoint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Execute,
    Data,
    Io,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: Range<u64> = 0..0;

    fn debug(addresses: [u64; 4], control: u64) -> Debug {
        let mut debug = Debug {
            address: addresses,
            ..Debug::RESET
        };
        debug.set_control(control);
        debug
    }

    #[test]
    fn control_and_status_have_bits_that_no_write_changes() {
        assert_eq!(debug([0; 4], u64::MAX).control(), 0xffff_27ff);
        assert_eq!(debug([0; 4], 0).control(), 0x400);
        assert_eq!(
            (Debug::status(0), Debug::status(u64::MAX)),
            (0xffff_0ff0, 0xffff_efff)
        );
    }

    #[test]
    fn where_breakpoints_do_not_linger_all_are_armed() {
        let all = debug([0x40_0000, 1, 2, 3], 0xff | 0b1101_1001_0101_0000 << 16);
        assert_eq!(
            debug([0; 4], 1 | GENERAL_DETECT).armed(false, NOWHERE),
            FIXED | 1
        );
        assert_eq!(all.armed(false, 0..u64::MAX), all.control());
    }

    #[test]
    fn where_breakpoints_linger_only_instructions_outside_the_hosts_window_are_watched() {
        // An instruction in the window, one outside, data, and a port.
        let debug = debug(
            [0x1004, 0x40_0000, 0x5000, 0x60],
            0b10_01_10_11 | 0b0010_0001_0000_0000 << 16,
        );
        assert!(debug.is_enabled());
        assert_eq!(debug.armed(true, 0x1000..0x1010) & ENABLES, 0b00_00_10_00);
        assert_eq!(debug.armed(true, NOWHERE) & ENABLES, 0b00_00_10_11);
    }

    #[test]
    fn an_address_that_no_instruction_can_have_is_not_armed() {
        assert_eq!(debug([1 << 60, 0, 0, 0], 1).armed(false, NOWHERE), FIXED);
    }

    #[test]
    fn a_debug_exception_is_a_fault_if_an_instruction_breakpoint_was_hit() {
        let debug = debug([0; 4], 0b0101 | 0b0001_0000 << 16);
        assert!(debug.is_fault(0b01));
        assert!(!debug.is_fault(0b10));
        assert!(debug.is_fault(0b11));
    }

    #[test]
    fn a_single_step_is_a_trap_even_where_the_next_instruction_has_a_breakpoint() {
        let debug = debug([0; 4], 1);
        assert!(!debug.is_fault(STEP));
        assert!(!debug.is_fault(STEP | 1));
    }
}
