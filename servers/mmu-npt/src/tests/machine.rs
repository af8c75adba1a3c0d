//! A small guest: four-level tables that map the first 16 MiB one to one, its code, and devices beyond its RAM.

use std::vec;
use std::vec::Vec;

use atoll_protocol::effect::{Effect, Forward};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{AccessDone, Body, InstructionExit, NestedFault, StringIoExit};
use atoll_protocol::units::Gpa;
use atoll_protocol::vcpu::{Context, Exception, Registers, Segment, SystemRegister};
use atoll_sdk::harness::{Harness, MACHINE};

use crate::MmuNpt;

/// Where the code is.
pub(super) const CODE: u64 = 0x40_0000;
/// A device: the local APIC's task priority.
pub(super) const DEVICE: u64 = 0xfee0_0080;
/// The root of the tables; the next tables follow, page by page.
pub(super) const ROOT: u64 = 0x10_0000;
/// The table of the 4 KiB pages of the first 2 MiB above [`DATA`].
pub(super) const DATA_TABLE: u64 = 0x10_3000;
/// Two mebibytes in small pages.
pub(super) const DATA: u64 = 0x20_0000;
/// A linear address that is mapped to [`DEVICE`]'s page.
pub(super) const DEVICE_LINEAR: u64 = 0x3f_f000;
/// Present, writable, user, accessed, dirty.
pub(super) const LEAF: u64 = 0x67;

/// The guest and its MMU.
pub(super) struct Guest {
    pub(super) server: Harness<MmuNpt>,
    pub(super) context: Context,
    pub(super) registers: Registers,
}

/// All that an answer held, owned.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Said {
    pub(super) forward: Option<(Forward, Vec<u8>)>,
    pub(super) registers: Vec<(u8, u64)>,
    pub(super) system: Vec<(SystemRegister, u64)>,
    pub(super) writes: Vec<(u64, Vec<u8>)>,
    pub(super) swaps: Vec<(u64, u64, u64)>,
    pub(super) exception: Option<Exception>,
    pub(super) resumed: bool,
    pub(super) needs: bool,
    pub(super) logged: bool,
}

impl Said {
    fn of(effects: &[Effect<'_>]) -> Said {
        let mut said = Said::default();
        for effect in effects {
            match effect {
                Effect::Forward(forward, bytes) => said.forward = Some((forward.0, bytes.to_vec())),
                Effect::Register(number, value) => said.registers.push((*number, value.0)),
                Effect::System(register, value) => said.system.push((*register, value.0)),
                Effect::GuestWrite(gpa, bytes) => said.writes.push((gpa.0.0, bytes.to_vec())),
                Effect::GuestCas(cas) => said.swaps.push((cas.0.gpa.0, cas.0.old, cas.0.new)),
                Effect::Exception(exception) => said.exception = Some(exception.0),
                Effect::Resume => said.resumed = true,
                Effect::NeedRegisters => said.needs = true,
                Effect::Log(_) => said.logged = true,
                other => panic!("{other:?}"),
            }
        }
        said
    }

    /// The last value of a system register.
    pub(super) fn system(&self, register: SystemRegister) -> Option<u64> {
        self.system
            .iter()
            .rev()
            .find(|(which, _)| *which == register)
            .map(|(_, value)| *value)
    }
}

impl Guest {
    /// A guest in 64-bit mode, at `code`.
    pub(super) fn new(code: &[u8]) -> Guest {
        let (mut server, _) = Harness::<MmuNpt>::start(&MACHINE, &Setup::default());
        server.guest = vec![0; MACHINE.memory as usize];
        let segment = |attributes| Segment {
            selector: 0x10,
            attributes,
            limit: 0xffff_ffff,
            base: 0,
        };
        let mut guest = Guest {
            server,
            context: Context {
                rip: CODE,
                rflags: 2,
                cr0: 0x8001_0033,
                cr3: ROOT,
                cr4: 0x20,
                efer: 0xd01,
                cs_attributes: 0x29b,
                ..Context::default()
            },
            registers: Registers {
                segments: [segment(0xc93); 6],
                ..Registers::default()
            },
        };
        guest.put(ROOT, &((ROOT + 0x1000) | 0x27).to_le_bytes());
        guest.put(ROOT + 0x1000, &((ROOT + 0x2000) | 0x27).to_le_bytes());
        for index in 0..8 {
            guest.put(
                ROOT + 0x2000 + index * 8,
                &(index << 21 | LEAF | 0x80).to_le_bytes(),
            );
        }
        guest.put(ROOT + 0x2008, &(DATA_TABLE | 0x27).to_le_bytes());
        for index in 0..512 {
            guest.put(
                DATA_TABLE + index * 8,
                &((DATA + index * 0x1000) | LEAF).to_le_bytes(),
            );
        }
        guest.put(
            DATA_TABLE + 511 * 8,
            &(DEVICE & !0xfff | LEAF).to_le_bytes(),
        );
        guest.put(CODE, code);
        guest
    }

    /// The same guest in a flat 32-bit segment without paging.
    pub(super) fn flat32(code: &[u8]) -> Guest {
        let mut guest = Guest::new(code);
        guest.context = Context {
            cr0: 0x33,
            cr4: 0,
            efer: 0,
            cs_attributes: 0xc9b,
            ..guest.context
        };
        guest
    }

    /// The same guest in real mode, its code at 0x4000 in segment 0x1000.
    pub(super) fn real(code: &[u8]) -> Guest {
        let mut guest = Guest::flat32(&[]);
        guest.put(0x1_4000, code);
        guest.context = Context {
            cr0: 0x10,
            cs_base: 0x1_0000,
            rip: 0x4000,
            cs_attributes: 0x9b,
            ..guest.context
        };
        guest.registers.segments = [Segment {
            limit: 0xffff,
            attributes: 0x93,
            ..Segment::default()
        }; 6];
        guest
    }

    pub(super) fn put(&mut self, gpa: u64, bytes: &[u8]) {
        self.server.guest[gpa as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn get(&self, gpa: u64, length: usize) -> &[u8] {
        &self.server.guest[gpa as usize..][..length]
    }

    /// Delivers, again with registers if it asks, and carries the effects out as the kernel would.
    fn deliver(&mut self, body: impl Fn(Option<Fixed<Registers>>) -> Body<'static>) -> Said {
        let mut said = Said::of(&self.server.deliver(body(None)).effects());
        if said.needs {
            said = Said::of(
                &self
                    .server
                    .deliver(body(Some(Fixed(self.registers))))
                    .effects(),
            );
        }
        self.carry_out(&said);
        said
    }

    fn carry_out(&mut self, said: &Said) {
        for (number, value) in &said.registers {
            self.registers.general[usize::from(*number)] = *value;
        }
        for (register, value) in &said.system {
            match register {
                SystemRegister::Rip => self.context.rip = *value,
                SystemRegister::Rflags => self.context.rflags = *value,
                _ => {}
            }
        }
        for (gpa, old, new) in &said.swaps {
            assert_eq!(
                self.get(*gpa, 8),
                old.to_le_bytes(),
                "a compare-and-swap that fails would be delivered for ever"
            );
            self.put(*gpa, &new.to_le_bytes());
        }
        for (gpa, bytes) in &said.writes {
            self.put(*gpa, bytes);
        }
        if let Some((forward, bytes)) = &said.forward {
            sensible(forward, bytes.len());
            if forward.finish != Forward::RETURN {
                self.context.rip = forward.rip_or_token;
            }
        }
    }

    /// A nested fault: error 4 is a read, 6 a write.
    pub(super) fn fault(&mut self, gpa: u64, error: u64) -> Said {
        let context = Fixed(self.context);
        let fault = Fixed(NestedFault {
            gpa: Gpa(gpa),
            error: error | 1 << 32,
        });
        self.deliver(|registers| Body::NestedFault(fault, context, registers))
    }

    pub(super) fn instruction(&mut self, code: u64) -> Said {
        let context = Fixed(self.context);
        let registers = Fixed(self.registers);
        self.deliver(|_| {
            Body::Instruction(
                Fixed(InstructionExit {
                    code,
                    ..InstructionExit::default()
                }),
                context,
                registers,
            )
        })
    }

    pub(super) fn string_io(&mut self, info: u64) -> Said {
        let context = Fixed(self.context);
        self.deliver(|registers| {
            Body::StringIo(
                Fixed(StringIoExit { info, next_rip: 0 }),
                context,
                registers,
            )
        })
    }

    /// The forwarded access is done.
    pub(super) fn done(&mut self, forward: &Forward, value: u64, bytes: &[u8]) -> Said {
        assert_eq!(forward.finish, Forward::RETURN);
        let done = AccessDone {
            token: forward.rip_or_token,
            value,
        };
        let body = Body::AccessDone(
            Fixed(done),
            Fixed(self.context),
            Fixed(self.registers),
            bytes,
        );
        let said = Said::of(&self.server.deliver(body).effects());
        self.carry_out(&said);
        said
    }

    /// A read-modify-write: the device holds `old`; returns what is written, if anything, and what the second answer said.
    pub(super) fn modify(&mut self, error: u64, old: u64) -> (Option<u64>, Said) {
        let first = self.fault(DEVICE, error);
        let (forward, _) = first.forward.expect("a forwarded read");
        assert_eq!((forward.address, forward.write), (DEVICE, 0));
        let said = self.done(&forward, old, &[]);
        let written = said.forward.as_ref().map(|(forward, _)| {
            assert_eq!(
                (forward.address, forward.write, forward.source),
                (DEVICE, 1, Forward::IMMEDIATE)
            );
            forward.value
        });
        (written, said)
    }
}

/// What the kernel checks of a forward: an answer that breaks this would be a fault of the server.
fn sensible(forward: &Forward, bytes: usize) {
    if forward.space == Forward::STAND_IN {
        assert!(forward.makes_sense(bytes), "{forward:?}");
        return;
    }
    let mmio = forward.space == Forward::MMIO;
    assert!(
        matches!(forward.size, 1 | 2 | 4) || forward.size == 8 && mmio,
        "{forward:?}"
    );
    if mmio {
        assert!(forward.count == 1 && bytes == 0, "{forward:?}");
        let source =
            forward.write == 0 || forward.source == Forward::IMMEDIATE || forward.source < 20;
        let load = forward.finish != Forward::LOAD
            || forward.write == 0
                && forward.register < 20
                && matches!(forward.width, 1 | 2 | 4 | 8)
                && forward.sign <= 1;
        let store = forward.finish != Forward::STORE || forward.write == 1;
        assert!(source && load && store, "{forward:?}");
    } else {
        let length = forward.count as usize * usize::from(forward.size);
        let expected = if forward.write == 1 { length } else { 0 };
        assert!(
            forward.finish == Forward::RETURN
                && forward.address <= 0xffff
                && length <= 2048
                && length > 0,
            "{forward:?}"
        );
        let plain = forward.count == 1 && bytes == 0;
        assert!(bytes == expected || plain, "{forward:?}");
    }
}
