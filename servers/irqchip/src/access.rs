//! The guest's accesses: ports of the 8259s, memory of the APICs, MSRs.

use atoll_protocol::message::{MmioExit, MsrExit};
use atoll_protocol::role::{Irqchip, IrqchipEffect, IrqchipReply, IrqchipRequest, PortRequest};
use atoll_protocol::units::{Ticks, TimerId};
use atoll_sdk::{Effects, Vault};

use crate::ioapic::Stored;
use crate::lapic::Lapic;
use crate::lapic::registers::{ILLEGAL_REGISTER, Written};
use crate::wires::Wires;
use crate::{IrqchipServer, TSC_DEADLINE, place};

/// MSR APIC_BASE.
const APIC_BASE: u32 = 0x1b;
/// Where the I/O APIC is.
const IOAPIC: u64 = 0xfec0_0000;
/// Bytes of either APIC's page.
const PAGE: u64 = 0x1000;

/// Answers a request and makes the offers that follow from it.
#[inline(never)]
pub(crate) fn answer(
    vault: &mut Vault<'_, IrqchipServer>,
    request: IrqchipRequest<'_>,
    effects: &mut Effects<'_, Irqchip>,
) -> IrqchipReply {
    let mut wires = Wires { vault, effects };
    let reply = match request {
        IrqchipRequest::Port(request) => wires.port(request),
        IrqchipRequest::Load(exit) => IrqchipReply::Value(wires.load(exit)),
        IrqchipRequest::Store(exit) => {
            wires.store(exit);
            IrqchipReply::Done
        }
        IrqchipRequest::ReadMsr(exit) => wires
            .read_msr(exit)
            .map_or(IrqchipReply::GeneralProtection, IrqchipReply::Value),
        IrqchipRequest::WriteMsr(exit) => wires
            .write_msr(exit)
            .map_or(IrqchipReply::GeneralProtection, |()| IrqchipReply::Done),
    };
    wires.offer_all();
    reply
}

/// Whether `gpa` is in the page at `base`, and where.
fn offset(gpa: u64, base: u64) -> Option<u64> {
    gpa.checked_sub(base).filter(|offset| *offset < PAGE)
}

impl Wires<'_, '_, '_> {
    /// An access to the 8259s' ports; a wider one is one per byte.
    fn port(&mut self, request: PortRequest) -> IrqchipReply {
        let asked = self.vault.pics.output;
        let pics = self.vault.at(|state| &mut state.pics);
        let ports = (0..u32::from(request.size.min(4)))
            .map(|byte| (byte * 8, request.port.wrapping_add(byte as u16)));
        let reply = match request.write {
            Some(value) => {
                ports.for_each(|(shift, port)| pics.write(port, (value >> shift) as u8));
                IrqchipReply::Done
            }
            None => IrqchipReply::Value(
                ports
                    .map(|(shift, port)| u64::from(pics.read(port)) << shift)
                    .sum(),
            ),
        };
        self.pics_changed(asked);
        reply
    }

    /// A load. What is nobody's reads as all ones.
    fn load(&mut self, exit: &MmioExit) -> u64 {
        let vcpu = self.effects.vcpu();
        if let Some(offset) = offset(exit.gpa.0, IOAPIC) {
            return narrow(self.vault.ioapic.load(offset & !3), offset, exit.size);
        }
        let local = self.vault.lapics[place(vcpu)]
            .registers
            .memory()
            .and_then(|base| offset(exit.gpa.0, base));
        let Some(offset) = local else { return u64::MAX };
        if offset & 0xc != 0 {
            // Between the registers, which are 16 bytes apart, there is nothing.
            return 0;
        }
        let (now, tsc_khz) = (self.effects.now().0, self.vault.tsc_khz);
        let register = (offset >> 4) as u8;
        let value = if offset < 0x400 {
            self.vault.lapics[place(vcpu)].read(register, now, tsc_khz)
        } else {
            None
        };
        match value {
            Some(value) => narrow(value, offset, exit.size),
            None => {
                self.lapic(vcpu).error(ILLEGAL_REGISTER);
                0
            }
        }
    }

    /// A store. Only aligned ones of four bytes (or eight, whose upper half is ignored) are architectural; others do nothing.
    fn store(&mut self, exit: &MmioExit) {
        let vcpu = self.effects.vcpu();
        if exit.size < 4 && offset(exit.gpa.0, IOAPIC) != Some(0) {
            return;
        }
        if let Some(offset) = offset(exit.gpa.0, IOAPIC) {
            match self
                .vault
                .at(|state| &mut state.ioapic)
                .store(offset, exit.value as u32)
            {
                Stored::Nothing => {}
                Stored::Entry(pin) => self.standing(pin),
                Stored::End(vector) => self.end(vector),
            }
            return;
        }
        let local = self.vault.lapics[place(vcpu)]
            .registers
            .memory()
            .and_then(|base| offset(exit.gpa.0, base));
        let Some(offset) = local.filter(|offset| offset & 0xf == 0) else {
            return;
        };
        let (now, tsc_khz) = (self.effects.now().0, self.vault.tsc_khz);
        let written = self.change(vcpu, |lapic| {
            let register = if offset < 0x400 {
                (offset >> 4) as u8
            } else {
                u8::MAX
            };
            lapic.write(register, exit.value as u32, now, tsc_khz)
        });
        match written {
            Some(written) => self.written(vcpu, written),
            None => self.lapic(vcpu).error(ILLEGAL_REGISTER),
        }
    }

    /// RDMSR; `None` is a #GP.
    fn read_msr(&mut self, exit: &MsrExit) -> Option<u64> {
        let lapic = &self.vault.lapics[place(self.effects.vcpu())];
        match exit.index {
            APIC_BASE => Some(lapic.registers.base),
            TSC_DEADLINE => Some(if lapic.live.by_deadline() {
                lapic.live.deadline
            } else {
                0
            }),
            index => lapic.read_msr(index, self.effects.now().0, self.vault.tsc_khz),
        }
    }

    /// WRMSR; `None` is a #GP.
    fn write_msr(&mut self, exit: &MsrExit) -> Option<()> {
        let vcpu = self.effects.vcpu();
        let (now, tsc_khz) = (self.effects.now().0, self.vault.tsc_khz);
        match exit.index {
            APIC_BASE => {
                let before = self.vault.lapics[place(vcpu)].registers.enabled();
                self.change(vcpu, |lapic| lapic.set_base(exit.value))?;
                let enabled = self.vault.lapics[place(vcpu)].registers.enabled();
                if enabled != before {
                    self.effects.emit(IrqchipEffect::Enabled(enabled));
                }
                Some(())
            }
            TSC_DEADLINE => {
                self.change(vcpu, |lapic| {
                    if lapic.live.by_deadline() {
                        lapic.live.deadline = exit.value;
                    }
                });
                Some(())
            }
            index => {
                let written = self.change(vcpu, |lapic| {
                    lapic.write_msr(index, exit.value, now, tsc_khz)
                })?;
                self.written(vcpu, written);
                Some(())
            }
        }
    }

    /// Changes a local APIC, and with it what the kernel has of it: the timer, and the task priority's class.
    fn change<T>(&mut self, vcpu: u8, change: impl FnOnce(&mut Lapic) -> T) -> T {
        let lapic = self.vault.at(|state| &mut state.lapics[place(vcpu)]);
        let (before, class) = (lapic.live.deadline, lapic.live.tpr >> 4);
        let result = change(lapic);
        let (deadline, priority) = (lapic.live.deadline, lapic.live.tpr >> 4);
        if priority != class {
            self.effects.emit(IrqchipEffect::TaskPriority(priority));
        }
        if deadline != before {
            self.effects.emit(match deadline {
                0 => IrqchipEffect::Disarm(TimerId::nth(vcpu)),
                _ => IrqchipEffect::Arm(TimerId::nth(vcpu), Ticks(deadline)),
            });
        }
        result
    }

    fn written(&mut self, vcpu: u8, written: Written) {
        match written {
            Written::Nothing => {}
            Written::Send => self.send(vcpu),
            Written::End => {
                let live = &mut self.lapic(vcpu).live;
                let vector = live.isr.highest();
                live.isr.remove(vector);
                if vector != 0 && live.tmr.contains(vector) {
                    self.end(vector);
                }
            }
        }
    }
}

/// The part of a register that a narrow or unaligned load sees.
fn narrow(value: u32, offset: u64, size: u8) -> u64 {
    let value = u64::from(value) >> ((offset & 3) * 8);
    match size {
        1 => value & 0xff,
        2 => value & 0xffff,
        _ => value,
    }
}
