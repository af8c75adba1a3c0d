//! The server as a whole, message by message.

mod apic;
mod legacy;
mod model;
mod priority;
mod succession;
mod ticks;

use std::vec::Vec;

use atoll_protocol::effect::{Effect, Offer};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Body, LineChange, MmioExit, MsrExit, PortExit};
use atoll_protocol::units::{Gpa, LineId, Ticks, TimerId};
use atoll_protocol::vcpu::SystemRegister;
use atoll_sdk::harness::{Answer, Harness, MACHINE};

use crate::IrqchipServer;

const LAPIC: u64 = 0xfee0_0000;
const IOAPIC: u64 = 0xfec0_0000;

/// A machine with one vCPU: the server and what the kernel would know of it.
pub(crate) struct Board {
    pub(crate) server: Harness<IrqchipServer>,
    /// What is on offer.
    pub(crate) offer: Offer,
    /// How many offers the last answer made.
    pub(crate) offers: usize,
    /// When the timer fires.
    pub(crate) armed: Option<u64>,
    /// NMIs told so far.
    pub(crate) nmis: usize,
}

impl Board {
    pub(crate) fn new() -> Board {
        let (server, answer) = Harness::start(&MACHINE, &Setup::default());
        assert_eq!(answer.effects(), []);
        Board {
            server,
            offer: Offer::default(),
            offers: 0,
            armed: None,
            nmis: 0,
        }
    }

    /// With the local APIC enabled, LINT0 masked, 8259s masked: as an operating system has it after its start.
    pub(crate) fn with_apic() -> Board {
        let mut board = Board::new();
        board.store(LAPIC + 0x350, 0x1_0700);
        board.store(LAPIC + 0xf0, 0x1ff);
        board
    }

    /// In x2APIC mode.
    pub(crate) fn with_x2apic() -> Board {
        let mut board = Board::with_apic();
        assert!(board.wrmsr(0x1b, LAPIC | 0xd00));
        board
    }

    pub(crate) fn deliver(&mut self, body: Body<'_>) -> Answer {
        let answer = self.server.deliver(body);
        self.offers = 0;
        for effect in answer.effects() {
            match effect {
                Effect::Offer(Fixed(offer)) => {
                    self.offers += 1;
                    self.nmis += usize::from(offer.nmi);
                    assert!(
                        offer.nmi == 1
                            || (self.offer.kind, self.offer.vector) != (offer.kind, offer.vector),
                        "nothing new"
                    );
                    self.offer = Offer { nmi: 0, ..offer };
                }
                Effect::Arm(timer, Fixed(Ticks(at))) if timer.index() == 0 => self.armed = Some(at),
                Effect::Disarm(timer) if timer.index() == 0 => self.armed = None,
                Effect::System(SystemRegister::TaskPriority, Fixed(class)) => {
                    self.server.header.tpr = class as u8
                }
                _ => {}
            }
        }
        answer
    }

    /// The next message carries the acceptance of what is on offer.
    pub(crate) fn accept(&mut self) -> u8 {
        assert_ne!(self.offer.kind, Offer::NONE, "nothing to accept");
        let vector = self.offer.vector;
        self.server.header.accepted = u16::from(vector);
        self.offer = Offer::default();
        vector
    }

    /// Accepts what is on offer and says so at once.
    pub(crate) fn take(&mut self) -> u8 {
        let vector = self.accept();
        self.deliver(Body::Accepted);
        vector
    }

    pub(crate) fn line(&mut self, line: u8, level: bool, rose: bool) {
        self.deliver(Body::Line(LineChange {
            line: LineId::nth(line),
            level,
            rose,
        }));
    }

    pub(crate) fn pulse(&mut self, line: u8) {
        self.line(line, false, true);
    }

    pub(crate) fn outb(&mut self, port: u16, value: u8) {
        self.deliver(Body::PortWrite(Fixed(PortExit {
            port,
            size: 1,
            value: value.into(),
            count: 1,
            ..PortExit::default()
        })));
    }

    pub(crate) fn inb(&mut self, port: u16) -> u8 {
        self.deliver(Body::PortRead(Fixed(PortExit {
            port,
            size: 1,
            count: 1,
            ..PortExit::default()
        })))
        .value() as u8
    }

    pub(crate) fn store(&mut self, gpa: u64, value: u32) {
        self.deliver(Body::MmioWrite(Fixed(MmioExit {
            gpa: Gpa(gpa),
            value: value.into(),
            size: 4,
            ..MmioExit::default()
        })));
    }

    pub(crate) fn load(&mut self, gpa: u64) -> u32 {
        self.deliver(Body::MmioRead(Fixed(MmioExit {
            gpa: Gpa(gpa),
            size: 4,
            ..MmioExit::default()
        })))
        .value() as u32
    }

    /// False if it is a #GP.
    pub(crate) fn wrmsr(&mut self, index: u32, value: u64) -> bool {
        let answer = self.deliver(Body::MsrWrite(Fixed(MsrExit {
            index,
            value,
            ..MsrExit::default()
        })));
        answer.effects().contains(&Effect::Done)
    }

    /// `None` if it is a #GP.
    pub(crate) fn rdmsr(&mut self, index: u32) -> Option<u64> {
        let answer = self.deliver(Body::MsrRead(Fixed(MsrExit {
            index,
            ..MsrExit::default()
        })));
        answer.effects().iter().find_map(|effect| {
            if let Effect::Value(value) = effect {
                Some(value.0)
            } else {
                None
            }
        })
    }

    pub(crate) fn eoi(&mut self) {
        self.store(LAPIC + 0xb0, 0);
    }

    /// Writes a redirection entry.
    pub(crate) fn redirect(&mut self, pin: u32, entry: u64) {
        for (half, value) in [(1, (entry >> 32) as u32), (0, entry as u32)] {
            self.store(IOAPIC, 0x10 + 2 * pin + half);
            self.store(IOAPIC + 0x10, value);
        }
    }

    /// Reads a redirection entry's low half.
    pub(crate) fn entry(&mut self, pin: u32) -> u32 {
        self.store(IOAPIC, 0x10 + 2 * pin);
        self.load(IOAPIC + 0x10)
    }

    /// Lets time pass and the timer expire as often as it does.
    pub(crate) fn run_until(&mut self, time: u64) -> Vec<u64> {
        let mut expiries = Vec::new();
        while let Some(at) = self.armed.filter(|at| *at <= time) {
            self.server.header.now = Ticks(at.max(self.server.header.now.0));
            self.armed = None;
            self.deliver(Body::Timer(TimerId::nth(0)));
            expiries.push(at);
        }
        self.server.header.now = Ticks(time);
        expiries
    }

    pub(crate) fn fixed(&self) -> Option<u8> {
        (self.offer.kind == Offer::FIXED).then_some(self.offer.vector)
    }

    pub(crate) fn external(&self) -> Option<u8> {
        (self.offer.kind == Offer::EXTERNAL).then_some(self.offer.vector)
    }

    /// Initialises the 8259s as Linux does: vectors 0x30 and up, all masked but the cascade; `auto` for automatic end.
    pub(crate) fn init_pics(&mut self, auto: bool) {
        for (port, words) in [(0x20, [0x11, 0x30, 0x04]), (0xa0, [0x11, 0x38, 0x02])] {
            self.outb(port, words[0]);
            self.outb(port + 1, words[1]);
            self.outb(port + 1, words[2]);
            self.outb(port + 1, if auto && port == 0x20 { 3 } else { 1 });
        }
        self.outb(0x21, 0xfb);
        self.outb(0xa1, 0xff);
    }
}
