//! The register file that rarely changes, and reading and writing registers by number (Intel SDM vol. 3, table 11-1: number is
//! offset / 16, also the x2APIC MSR minus 0x800).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::base::{BOOTSTRAP, DEFAULT, ENABLE, X2APIC};
use super::{Lapic, MASKED};
use crate::interrupt::{Interrupt, Mode};

/// Register numbers.
pub(crate) mod number {
    pub(crate) const ID: u8 = 0x02;
    pub(crate) const VERSION: u8 = 0x03;
    pub(crate) const TPR: u8 = 0x08;
    pub(crate) const APR: u8 = 0x09;
    pub(crate) const PPR: u8 = 0x0a;
    pub(crate) const EOI: u8 = 0x0b;
    pub(crate) const RRD: u8 = 0x0c;
    pub(crate) const LDR: u8 = 0x0d;
    pub(crate) const DFR: u8 = 0x0e;
    pub(crate) const SVR: u8 = 0x0f;
    pub(crate) const ISR: u8 = 0x10;
    pub(crate) const TMR: u8 = 0x18;
    pub(crate) const IRR: u8 = 0x20;
    pub(crate) const ESR: u8 = 0x28;
    pub(crate) const ICR: u8 = 0x30;
    pub(crate) const ICR_HIGH: u8 = 0x31;
    pub(crate) const LVT_TIMER: u8 = 0x32;
    pub(crate) const LVT_THERMAL: u8 = 0x33;
    pub(crate) const LVT_PERFORMANCE: u8 = 0x34;
    pub(crate) const LVT_LINT0: u8 = 0x35;
    pub(crate) const LVT_LINT1: u8 = 0x36;
    pub(crate) const LVT_ERROR: u8 = 0x37;
    pub(crate) const INITIAL_COUNT: u8 = 0x38;
    pub(crate) const CURRENT_COUNT: u8 = 0x39;
    pub(crate) const DIVIDE: u8 = 0x3e;
    pub(crate) const SELF_IPI: u8 = 0x3f;
}
use number as n;

/// ESR: a vector below 16 was to be sent.
pub const SENT_ILLEGAL_VECTOR: u8 = 1 << 5;
/// ESR: a vector below 16 arrived.
pub const RECEIVED_ILLEGAL_VECTOR: u8 = 1 << 6;
/// ESR: a register that does not exist was accessed.
pub const ILLEGAL_REGISTER: u8 = 1 << 7;

/// Integrated APIC, six LVT entries.
const VERSION: u32 = 0x0005_0014;
const SOFTWARE_ENABLE: u32 = 1 << 8;
/// ICR: the delivery status, always idle here.
const PENDING: u32 = 1 << 12;

/// The register file. One vault line.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Registers {
    /// MSR APIC_BASE.
    pub base: u64,
    /// ICR, the high half above.
    pub icr: u64,
    /// LDR.
    pub ldr: u32,
    /// DFR.
    pub dfr: u32,
    /// SVR.
    pub svr: u32,
    /// LVT thermal sensor; nothing raises it.
    pub lvt_thermal: u32,
    /// LVT performance counters; nothing raises it.
    pub lvt_performance: u32,
    /// LVT LINT0: the 8259s' output.
    pub lint0: u32,
    /// LVT LINT1; nothing raises it.
    pub lint1: u32,
    /// LVT error.
    pub lvt_error: u32,
    /// The timer's initial count.
    pub initial_count: u32,
    /// By how many millionths of a tick the timer's deadline was rounded up.
    pub early: u32,
    /// ESR as last latched by a write.
    pub esr: u8,
    /// Errors since.
    pub errors: u8,
    /// The timer's divide configuration.
    pub divide: u8,
    /// The APIC's identification: the vCPU's number.
    pub id: u8,
    pub(super) reserved: u32,
}

/// What a register write asks of the rest of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing.
    Nothing,
    /// An end of interrupt.
    End,
    /// Send what ICR says.
    Send,
}

impl Registers {
    /// As after reset.
    #[must_use]
    pub fn new(id: u8) -> Registers {
        Registers {
            base: DEFAULT | ENABLE | if id == 0 { BOOTSTRAP } else { 0 },
            dfr: u32::MAX,
            svr: 0xff,
            lvt_thermal: MASKED,
            lvt_performance: MASKED,
            lint0: MASKED,
            lint1: MASKED,
            lvt_error: MASKED,
            id,
            ..Registers::default()
        }
    }

    /// What firmware adds for the bootstrap CPU.
    pub(super) fn virtual_wire(&mut self) {
        self.svr |= SOFTWARE_ENABLE;
        self.lint0 = 7 << 8;
        self.lint1 = 4 << 8;
    }

    /// What entering x2APIC mode does (SDM vol. 3 §11.12.10.2).
    pub(super) fn extend(&mut self) {
        self.ldr = u32::from(self.id >> 4) << 16 | 1 << (self.id & 15);
        self.icr &= 0xffff_ffff;
    }

    /// Enabled by APIC_BASE.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.base & ENABLE != 0
    }

    /// Enabled by SVR, too.
    #[must_use]
    pub fn software_enabled(&self) -> bool {
        self.enabled() && self.svr & SOFTWARE_ENABLE != 0
    }

    /// In x2APIC mode.
    #[must_use]
    pub fn extended(&self) -> bool {
        self.base & X2APIC != 0
    }

    /// Where the registers are in memory, if they are there.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        (self.base & (ENABLE | X2APIC) == ENABLE).then_some(self.base & !0xfff)
    }

    /// Whether the 8259s reach the CPU through LINT0.
    #[must_use]
    pub fn external_through(&self) -> bool {
        !self.enabled() || self.lint0 & MASKED == 0 && Mode::of(self.lint0 >> 8) == Mode::External
    }

    /// Whether an interrupt's destination names this APIC (SDM vol. 3 §11.6.2).
    #[must_use]
    pub fn addressed(&self, interrupt: &Interrupt) -> bool {
        let to = interrupt.destination;
        if interrupt.broadcast {
            true
        } else if !interrupt.logical {
            to == u32::from(self.id)
        } else if self.extended() {
            to >> 16 == self.ldr >> 16 && to & self.ldr & 0xffff != 0
        } else if self.dfr >> 28 == 0xf {
            self.ldr >> 24 & to != 0
        } else {
            self.ldr >> 28 == to >> 4 && self.ldr >> 24 & to & 0xf != 0
        }
    }

    /// Notes an error; whether it is a new one.
    pub(super) fn note_error(&mut self, error: u8) -> bool {
        let new = self.errors & error == 0;
        self.errors |= error;
        new
    }
}

impl Lapic {
    /// A register's value; `None` if there is none of this number, or it cannot be read.
    #[must_use]
    pub fn read(&self, register: u8, now: u64, tsc_khz: u64) -> Option<u32> {
        let (live, file) = (&self.live, &self.registers);
        Some(match register {
            n::ID if file.extended() => u32::from(file.id),
            n::ID => u32::from(file.id) << 24,
            n::VERSION => VERSION,
            n::TPR => u32::from(live.tpr),
            n::APR | n::RRD if !file.extended() => 0,
            n::PPR => u32::from(live.processor_priority()),
            n::EOI if !file.extended() => 0,
            n::LDR => file.ldr,
            n::DFR if !file.extended() => file.dfr,
            n::SVR => file.svr,
            n::ISR..n::TMR => live.isr.register(register - n::ISR),
            n::TMR..n::IRR => live.tmr.register(register - n::TMR),
            n::IRR..n::ESR => live.irr.register(register - n::IRR),
            n::ESR => u32::from(file.esr),
            n::ICR => file.icr as u32,
            n::ICR_HIGH if !file.extended() => (file.icr >> 32) as u32,
            n::LVT_TIMER => live.lvt_timer,
            n::LVT_THERMAL => file.lvt_thermal,
            n::LVT_PERFORMANCE => file.lvt_performance,
            n::LVT_LINT0 => file.lint0,
            n::LVT_LINT1 => file.lint1,
            n::LVT_ERROR => file.lvt_error,
            n::INITIAL_COUNT => file.initial_count,
            n::CURRENT_COUNT => self.current_count(now, tsc_khz),
            n::DIVIDE => u32::from(file.divide),
            _ => return None,
        })
    }

    /// The value of one of the registers that systems read in memory as they go, all of them kept as they are shown.
    #[inline(always)]
    pub(crate) fn plain(&self, register: u8) -> Option<u32> {
        Some(match register {
            n::TPR => u32::from(self.live.tpr),
            n::SVR => self.registers.svr,
            n::ICR => self.registers.icr as u32,
            n::LVT_TIMER => self.live.lvt_timer,
            _ => return None,
        })
    }

    /// Writes a register; `None` if there is none of this number. Read-only ones ignore it.
    pub fn write(&mut self, register: u8, value: u32, now: u64, tsc_khz: u64) -> Option<Written> {
        let file = &mut self.registers;
        match register {
            n::TPR => self.live.tpr = value as u8,
            n::EOI => return Some(Written::End),
            n::LDR if !file.extended() => file.ldr = value & 0xff00_0000,
            n::DFR if !file.extended() => file.dfr = value | 0x0fff_ffff,
            n::SVR => self.set_svr(value & 0x3ff),
            n::ESR => file.esr = core::mem::take(&mut file.errors),
            n::ICR => {
                file.icr = file.icr & !0xffff_ffff | u64::from(value & !PENDING);
                return Some(Written::Send);
            }
            n::ICR_HIGH if !file.extended() => {
                file.icr = file.icr & 0xffff_ffff | u64::from(value) << 32
            }
            n::LVT_TIMER..=n::LVT_ERROR => self.set_lvt(register, value),
            n::INITIAL_COUNT => self.set_initial_count(value, now, tsc_khz),
            n::DIVIDE => self.set_divide(value as u8, now, tsc_khz),
            _ => {
                self.read(register, now, tsc_khz)?;
            }
        }
        Some(Written::Nothing)
    }

    /// SVR. A software-disabled APIC has all its LVT entries masked (SDM vol. 3 §11.4.7.2).
    fn set_svr(&mut self, value: u32) {
        self.registers.svr = value;
        if value & SOFTWARE_ENABLE == 0 {
            self.live.lvt_timer |= MASKED;
            let file = &mut self.registers;
            for entry in [
                &mut file.lvt_thermal,
                &mut file.lvt_performance,
                &mut file.lint0,
                &mut file.lint1,
                &mut file.lvt_error,
            ] {
                *entry |= MASKED;
            }
            self.rewire();
        }
    }

    fn set_lvt(&mut self, register: u8, value: u32) {
        let masked = if self.registers.svr & SOFTWARE_ENABLE == 0 {
            MASKED
        } else {
            0
        };
        let value = |writable: u32| value & writable | masked;
        let file = &mut self.registers;
        match register {
            n::LVT_TIMER => self.set_lvt_timer(value(0x0007_00ff)),
            n::LVT_THERMAL => file.lvt_thermal = value(0x0001_07ff),
            n::LVT_PERFORMANCE => file.lvt_performance = value(0x0001_07ff),
            n::LVT_LINT0 => file.lint0 = value(0x0001_a7ff),
            n::LVT_LINT1 => file.lint1 = value(0x0001_a7ff),
            _ => file.lvt_error = value(0x0001_00ff),
        }
        self.rewire();
    }
}
