//! A play: one machine after another, on which exits, interrupts and time happen at random and servers answer at random.

use std::cell::{Ref, RefCell, RefMut};
use std::rc::Rc;

use atoll_core::run::{HostEvent, Turn};
use atoll_core::server::{Server, Standing};
use atoll_core::vcpu::events::Events;
use atoll_core::vcpu::vmcb::exit;
use atoll_protocol::layout::IMAGE;
use atoll_protocol::units::{HostIrq, ServerId};
use zerocopy::{FromBytes, IntoBytes};

use super::books::Books;
use super::dice::Dice;
use super::improviser::Improviser;
use super::tally::Tally;
use crate::cast::{COM1, LAPIC};
use crate::exits::Exit;
use crate::machine::TSC_KHZ;
use crate::simulation::{FRAMES, Simulation, boot};

/// Rounds on one machine.
const ROUNDS: u32 = 400;

/// What the guest can see of itself.
#[derive(PartialEq)]
struct Guest {
    vmcb: Block,
    general: [u64; 16],
    events: Events,
}

/// The bytes of a control block.
type Block = [u8; 4096];

/// A play.
pub(crate) struct Play {
    kernel: Simulation,
    improviser: Rc<RefCell<Improviser>>,
    books: Books,
    rounds: u32,
}

impl Play {
    /// Begins with a first machine.
    pub(crate) fn new(dice: Dice) -> Play {
        let improviser = Rc::new(RefCell::new(Improviser::new(dice)));
        Play {
            kernel: machine(&improviser),
            improviser,
            books: Books::default(),
            rounds: 0,
        }
    }

    /// The counts so far.
    pub(crate) fn tally(&self) -> Ref<'_, Tally> {
        Ref::map(self.improviser.borrow(), |servers| &servers.tally)
    }

    fn servers(&self) -> RefMut<'_, Improviser> {
        self.improviser.borrow_mut()
    }

    fn roll(&mut self, end: u64) -> u64 {
        self.servers().dice.below(end)
    }

    /// Whether the dice have no bytes left.
    pub(crate) fn is_over(&self) -> bool {
        self.improviser.borrow().dice.are_spent()
    }

    /// Something happens, the servers answer, the books are audited.
    pub(crate) fn round(&mut self) {
        self.rounds += 1;
        self.servers().activations = 0;
        self.kernel
            .state
            .servers
            .0
            .iter_mut()
            .for_each(Server::forget_its_lines);
        match self.roll(16) {
            0..10 => self.exit(),
            10..12 => {
                let irq = HostIrq::nth(if self.roll(2) == 0 { 3 } else { 4 });
                self.kernel.host_event(HostEvent::Irq(irq));
                self.passes();
            }
            12 => {
                let later = self.roll(2000);
                self.kernel.state.machine.clock += later;
                if self.kernel.state.machine.armed.0 <= self.kernel.state.machine.clock {
                    self.kernel.host_event(HostEvent::Timer);
                }
                self.passes();
            }
            _ => {
                let server = ServerId::nth(if self.roll(3) == 0 {
                    0
                } else {
                    self.roll(13) as u8
                });
                if self.kernel.state.servers[server].is_running() {
                    self.kernel.state.start_first(server, IMAGE);
                }
                self.passes();
            }
        }
        self.servers().settle();
        self.books.audit(&self.kernel);
        self.kernel.state.machine.journal.clear();
        self.heal();
        if self.rounds.is_multiple_of(ROUNDS) {
            self.another_machine();
        }
    }

    /// The guest takes an exit. If the first answer to it is rejected, the guest must be as it was.
    fn exit(&mut self) {
        let exit = self.any_exit();
        exit.set(&mut self.kernel);
        self.kernel.state.vcpu.note_exit();
        // What it is entered with is not what the answer changes.
        let flush = std::mem::take(&mut self.kernel.state.vcpu.vmcb.control.tlb_control);
        let before = self.guest();
        self.kernel.state.vcpu.vmcb.control.tlb_control = flush;
        self.kernel.exited();
        let servers = self.improviser.borrow();
        if servers.activations == 1 && servers.silenced != 0 && servers.rejected {
            assert!(
                before == self.guest(),
                "a rejected answer has changed the guest"
            );
        }
    }

    fn guest(&self) -> Guest {
        let vcpu = &self.kernel.state.vcpu;
        let vmcb = Block::read_from_bytes(vcpu.vmcb.as_bytes()).expect("it is a page");
        Guest {
            vmcb,
            general: vcpu.general,
            events: vcpu.events,
        }
    }

    fn any_exit(&mut self) -> Exit {
        let value = self.servers().dice.any();
        let port =
            self.servers()
                .dice
                .pick(&[COM1, COM1 + 5, 0x20, 0x40, 0x70, 0x604, 0x604, 0x1234]);
        let size = self.servers().dice.pick(&[1, 2, 4]);
        match self.roll(14) {
            0 => Exit::Cpuid(value as u32),
            1 => Exit::ReadMsr(
                self.servers()
                    .dice
                    .pick(&[0x10, 0x1b, 0x277, 0x80b, 0xc000_0080]),
            ),
            2 => Exit::WriteMsr(
                self.servers().dice.pick(&[0x10, 0x277, 0x80b, 0xc000_0080]),
                value,
            ),
            3 | 4 => Exit::In(port, size),
            5 | 6 => Exit::Out(port, size, value as u32),
            7 => Exit::StringIo(port, value & 1 != 0),
            8..11 => Exit::Fault(if value & 1 != 0 { LAPIC } else { 0x8000 }),
            11 => Exit::Hypercall(value),
            12 => Exit::Halt,
            _ => Exit::Code(self.servers().dice.pick(&[
                0x8d,
                exit::CR0_WRITE,
                exit::CR4_WRITE,
                exit::DEBUG,
                exit::IRET,
                exit::SHUTDOWN,
            ])),
        }
    }

    /// Runs the kernel for a while; also if the supervisor's fault has told it to leave.
    fn passes(&mut self) {
        for _ in 0..4 {
            if matches!(self.kernel.pass(), Turn::Enter | Turn::Idle) {
                break;
            }
        }
    }

    /// Faulted servers, and most that were given up, are restarted: with what they had committed, and what they had not handled.
    fn heal(&mut self) {
        self.servers().silenced = 0;
        let lenient = !self.servers().dice.one_in(4);
        let servers = self.kernel.state.servers.iter();
        let gone = [
            Standing::Faulted,
            if lenient {
                Standing::Quarantined
            } else {
                Standing::Faulted
            },
        ];
        let faulted: Vec<ServerId> = servers
            .filter(|(_, server)| gone.contains(&server.standing))
            .map(|(id, _)| id)
            .collect();
        faulted.iter().for_each(|id| self.kernel.state.restart(*id));
        if !faulted.is_empty() {
            self.kernel.state.machine.clock += 101 * TSC_KHZ;
        }
    }

    fn another_machine(&mut self) {
        self.kernel = machine(&self.improviser);
        self.books = Books::default();
    }
}

/// A machine whose whole cast is running and about to improvise.
fn machine(improviser: &Rc<RefCell<Improviser>>) -> Simulation {
    improviser.borrow_mut().begin(boot());
    let scarce = improviser.borrow_mut().dice.one_in(4);
    let mut kernel = Simulation::new(Box::new(Rc::clone(improviser)), FRAMES);
    while kernel.pass() == Turn::Again {}
    let machine = &mut kernel.state.machine;
    let mut servers = improviser.borrow_mut();
    assert!(
        servers.boot.is_empty(),
        "the machine was not built to its end"
    );
    if scarce {
        machine.frames = 40;
    }
    machine.journal.clear();
    machine.conflict = servers.conflict.clone();
    servers.playing = true;
    kernel
}
