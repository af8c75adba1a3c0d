//! What the guest does to the controllers.

use atoll_protocol::message::MmioExit;
use atoll_protocol::role::{IrqchipReply, IrqchipRequest, PortRequest};
use atoll_protocol::units::Ticks;

use crate::State;
use crate::lapic::ILLEGAL_REGISTER;

const APIC_BASE: u32 = 0x1b;
const TSC_DEADLINE: u32 = 0x6e0;
const X2APIC: u32 = 0x800;
/// Where the I/O APIC is.
const IOAPIC: u64 = 0xfec0_0000;

/// Whose page an access is to, and where in it.
enum Place {
    Ioapic(u64),
    Lapic(u64),
    Nowhere,
}

impl State {
    /// Carries a request out.
    pub(crate) fn answer(&mut self, request: IrqchipRequest<'_>, now: Ticks) -> IrqchipReply {
        let done = |done: Option<()>| {
            done.map_or(IrqchipReply::GeneralProtection, |()| IrqchipReply::Done)
        };
        match request {
            IrqchipRequest::Port(request) => self.port(request),
            IrqchipRequest::Load(exit) => IrqchipReply::Value(self.load(exit, now.0)),
            IrqchipRequest::Store(exit) => {
                self.store(exit, now.0);
                IrqchipReply::Done
            }
            IrqchipRequest::ReadMsr(exit) => self
                .rdmsr(exit.index, now.0)
                .map_or(IrqchipReply::GeneralProtection, IrqchipReply::Value),
            IrqchipRequest::WriteMsr(exit) => done(self.wrmsr(exit.index, exit.value, now.0)),
        }
    }

    /// A wide access is as many narrow ones.
    fn port(&mut self, request: PortRequest) -> IrqchipReply {
        let bytes = (0..request.size.min(4))
            .map(|byte| (8 * u32::from(byte), request.port.wrapping_add(byte.into())));
        self.with_pics(|pics| match request.write {
            Some(value) => {
                bytes.for_each(|(shift, port)| pics.write(port, (value >> shift) as u8));
                IrqchipReply::Done
            }
            None => IrqchipReply::Value(
                bytes
                    .map(|(shift, port)| u64::from(pics.read(port)) << shift)
                    .sum(),
            ),
        })
    }

    fn place(&self, gpa: u64) -> Place {
        let offset = gpa & 0xfff;
        match gpa - offset {
            IOAPIC => Place::Ioapic(offset),
            page if self.page() == Some(page) => Place::Lapic(offset),
            _ => Place::Nowhere,
        }
    }

    fn load(&mut self, exit: &MmioExit, now: u64) -> u64 {
        let (offset, value) = match self.place(exit.gpa.0) {
            Place::Ioapic(offset) => (offset, self.load_ioapic(offset & !3)),
            // Registers are sixteen bytes apart; between them is nothing.
            Place::Lapic(offset) if offset & 0xc != 0 => return 0,
            Place::Lapic(offset) => {
                let value = if offset < 0x400 {
                    self.read((offset >> 4) as u8, now)
                } else {
                    None
                };
                let Some(value) = value else {
                    self.error(ILLEGAL_REGISTER);
                    return 0;
                };
                (offset, value)
            }
            Place::Nowhere => return u64::MAX,
        };
        let bytes = u64::from(value) >> (8 * (offset & 3));
        if exit.size < 4 {
            bytes & ((1 << (8 * exit.size)) - 1)
        } else {
            bytes
        }
    }

    /// Of a wide store the upper half is ignored; a narrow one can only select a register of the I/O APIC's.
    fn store(&mut self, exit: &MmioExit, now: u64) {
        match (self.place(exit.gpa.0), exit.size) {
            (Place::Ioapic(0), _) | (Place::Ioapic(_), 4..) => {
                self.store_ioapic(exit.gpa.0 & 0xfff, exit.value as u32)
            }
            (Place::Lapic(offset), 4..) if offset & 0xf == 0 => {
                let written = if offset < 0x400 {
                    self.write((offset >> 4) as u8, exit.value as u32, now)
                } else {
                    None
                };
                if written.is_none() {
                    self.error(ILLEGAL_REGISTER);
                }
            }
            _ => {}
        }
    }

    fn rdmsr(&self, index: u32, now: u64) -> Option<u64> {
        match index {
            APIC_BASE => Some(self.base),
            TSC_DEADLINE => Some(if self.by_deadline() {
                self.timer.deadline()
            } else {
                0
            }),
            _ => self.read_msr(u8::try_from(index.checked_sub(X2APIC)?).ok()?, now),
        }
    }

    fn wrmsr(&mut self, index: u32, value: u64, now: u64) -> Option<()> {
        match index {
            APIC_BASE => self.set_base(value),
            TSC_DEADLINE => {
                if self.by_deadline() {
                    self.timer.set_deadline(value);
                }
                Some(())
            }
            _ => self.write_msr(u8::try_from(index.checked_sub(X2APIC)?).ok()?, value, now),
        }
    }
}
