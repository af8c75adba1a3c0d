//! Two machines on which the same happens, one of them under faults.
//!
//! With a model that leaves committed state as it was, all that the guest and the world can see must be equal after every step: then no
//! effect was committed twice, and none was lost. With the others the machine must stay whole: no panic, nothing leaked, and nobody waits
//! for nothing.

use atoll_core::run::{HostEvent, Turn};
use atoll_core::ticket::Operation;
use atoll_core::vcpu::Stand;
use atoll_core::vcpu::events::Events;
use atoll_core::vcpu::vmcb::{Vmcb, exit};
use atoll_protocol::grant::{Grant, Limits};
use atoll_protocol::inject::{Injection, Model, Plan};
use atoll_protocol::layout::IMAGE;
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{ServerId, Ticks, TimerId};
use zerocopy::IntoBytes;

use crate::cast::{Cast, ENTRY, TEXT};
use crate::dice::Dice;
use crate::guest::{self, Happening};
use crate::host::{Conversation, Host, Uart};

/// The portable kernel on the simulated hardware.
pub type Kernel = atoll_core::Kernel<Host>;

/// Passes until there is nothing more to deliver.
const PASSES: usize = 400;
/// How often a guest executes an instruction again whose server was restarted: one fault in two activations ends some time.
const AGAIN: usize = 200;
/// The same where what is committed is damaged, and the server may never answer any more.
const AGAIN_DAMAGED: usize = 8;

/// EVENTINJ's type of an exception (APM vol. 2 §15.20).
const EXCEPTION: u64 = 3;

const SUPERVISOR: ServerId = ServerId(0);

/// A machine whose guest runs.
#[must_use]
pub fn machine() -> Box<Kernel> {
    let (cast, islands) = Cast::new();
    let mut kernel = Box::new(Kernel::new(Host::new(cast, islands), Conversation::default(), Vmcb::ZERO));
    let limits = Limits { vault_lines: 64, stack_pages: 16, budget_us: 200_000, period_us: u32::MAX, timers: 0 };
    kernel.state.make_server(SUPERVISOR, RoleKind::Supervisor, limits, "supervisor");
    kernel.state.give(SUPERVISOR, Grant::Bundle);
    (1..atoll_protocol::SERVERS as u8).for_each(|server| kernel.state.give(SUPERVISOR, Grant::Mail(ServerId(server), 1)));
    kernel.state.fill_first(SUPERVISOR, &TEXT).expect("the supervisor's image fits");
    kernel.state.start_first(SUPERVISOR, IMAGE);
    settle(&mut kernel);
    assert!(kernel.state.machine.is_built(), "the machine was not built to its end");
    kernel
}

/// Delivers all that waits. What the servers still mail each other after so many passes is theirs to go on with.
fn settle(kernel: &mut Kernel) -> Turn {
    let mut last = Turn::Again;
    for _ in 0..PASSES {
        last = kernel.pass();
        if matches!(last, Turn::Idle | Turn::Enter | Turn::Leave(_)) {
            break;
        }
    }
    last
}

/// All that the guest and the world can see.
#[derive(Debug, PartialEq)]
pub struct Sight {
    registers: Vec<u8>,
    general: [u64; 16],
    events: Events,
    ports: [Uart; 2],
    written: Vec<(u64, Vec<u8>)>,
    mapped: std::collections::BTreeMap<u64, (u64, u64)>,
    timers: Vec<(ServerId, TimerId, Ticks)>,
    frames: u64,
}

impl Sight {
    /// Equal, but for whether the interrupt controller has heard of the last vector that was accepted: it rides on the next message to
    /// it, of which a restart brings one more.
    fn is_like(&self, other: &Sight) -> bool {
        if self == other {
            return true;
        }
        let events = |sight: &Sight| {
            let text = format!("{:?}", sight.events);
            let (before, after) = text.split_once("accepted: ").map_or((text.as_str(), ""), |halves| halves);
            format!("{before}{}", after.trim_start_matches(|letter: char| letter.is_ascii_hexdigit()))
        };
        let rest = |sight: &Sight| {
            let Sight { registers, general, ports, written, mapped, timers, frames, .. } = sight;
            format!("{registers:?}{general:?}{ports:?}{written:?}{mapped:?}{timers:?}{frames:?}")
        };
        events(self) == events(other) && rest(self) == rest(other)
    }
}

fn sight(kernel: &Kernel) -> Sight {
    let (vcpu, machine) = (&kernel.state.vcpu, &kernel.state.machine);
    let mut timers: Vec<_> = kernel.state.timers.armed().collect();
    timers.sort_unstable();
    Sight {
        registers: vcpu.vmcb.save.as_bytes().to_vec(),
        general: vcpu.general,
        events: vcpu.events,
        ports: machine.ports.clone(),
        written: machine.written.clone(),
        mapped: machine.mapped.clone(),
        timers,
        frames: machine.frames,
    }
}

/// The guest is left for an interrupt of the host, in front of the instruction that it will execute, and entered again.
fn interrupt(kernel: &mut Kernel, what: &Happening) {
    if let Happening::Exit { registers, bytes, .. } = what {
        guest::set(kernel, exit::INTR, [0; 2], *registers, bytes);
        kernel.exited();
        settle(kernel);
    }
}

/// Lets something happen, and whatever follows from it. How often the guest had to execute its instruction again; nothing if the machine
/// is left.
fn happen(kernel: &mut Kernel, what: &Happening, most: usize) -> Option<usize> {
    match what {
        Happening::Exit { code, info, registers, bytes } => {
            for again in 0..most {
                kernel.state.machine.faults = 0;
                guest::set(kernel, *code, *info, *registers, bytes);
                kernel.exited();
                if matches!(settle(kernel), Turn::Leave(_)) {
                    return None;
                }
                let state = &kernel.state;
                // Where the server was faulted before it had begun, the guest executes the instruction again; not where it has raised an
                // exception, which is on its way into the guest.
                let raised = state.vcpu.vmcb.control.event >> 8 & 7 == EXCEPTION;
                let untouched = !raised
                    && state.machine.faults > 0
                    && state.vcpu.vmcb.save.rip == ENTRY
                    && state.vcpu.stand == Stand::Runnable;
                if !untouched {
                    return Some(again);
                }
            }
            Some(most)
        }
        Happening::Time(span) => {
            kernel.state.machine.clock += span;
            if kernel.state.machine.armed.0 <= kernel.state.machine.clock {
                kernel.state.machine.armed = Ticks(u64::MAX);
                kernel.host_event(HostEvent::Timer);
            }
            (!matches!(settle(kernel), Turn::Leave(_))).then_some(0)
        }
        Happening::Input(port, bytes) => {
            kernel.state.machine.ports[*port].input.extend(bytes);
            kernel.host_event(HostEvent::Irq(guest::irq_of(*port)));
            (!matches!(settle(kernel), Turn::Leave(_))).then_some(0)
        }
    }
}

/// What must hold on any machine between two steps: nobody waits for a server that has answered.
fn audit(kernel: &Kernel) {
    let state = &kernel.state;
    let open = state.tickets.named().filter(|(_, ticket)| !matches!(ticket.operation, Operation::Mail | Operation::Load)).count();
    let waits = state.vcpu.stand == Stand::Waiting;
    assert!(open == 0 || waits, "a ticket that nobody waits for");
    assert!(!waits || open == 1, "the guest waits for nothing");
}

/// Plays `steps` under one model; the machine under faults, for its tally.
///
/// # Panics
/// A rule does not hold.
#[must_use]
pub fn play(model: Model, injection: Injection, seed: u64, steps: usize) -> Box<Kernel> {
    let compared = model.leaves_state_intact();
    let mut reference = compared.then(machine);
    let mut subject = machine();
    let mut plan = Plan { sequence: 1, count: 1, ..Plan::NONE };
    plan.injections[0] = injection;
    subject.state.machine.plan = plan;
    subject.state.machine.tally.model = model.name();
    let frames = subject.state.machine.frames;
    let mut dice = Dice::new(seed);
    for step in 0..steps {
        let what = guest::next(&mut dice);
        subject.state.machine.log.clear();
        let again = happen(&mut subject, &what, if compared { AGAIN } else { AGAIN_DAMAGED });
        if let Some(reference) = &mut reference {
            // Each time that the guest is entered, what waits for it goes in: as often here as there.
            (0..again.unwrap_or(0)).for_each(|_| interrupt(reference, &what));
            happen(reference, &what, 1);
            assert!(again.is_some(), "{} seed {seed} step {step}: the machine was left", model.name());
            let (seen, wanted) = (sight(&subject), sight(reference));
            assert!(
                seen.is_like(&wanted),
                "{} seed {seed} step {step}: after {what:?} it sees {}; the log of this step: {:#?}",
                model.name(),
                difference(&seen, &wanted),
                subject.state.machine.log
            );
            for kernel in [&mut subject, reference] {
                kernel.state.machine.written.clear();
                kernel.state.machine.ports.iter_mut().for_each(|port| port.output.clear());
            }
        } else if again.is_none() || subject.state.vcpu.stand == Stand::Stopped {
            break;
        }
        audit(&subject);
    }
    assert_eq!(subject.state.machine.frames, frames, "frames were leaked");
    subject
}

fn difference(seen: &Sight, wanted: &Sight) -> String {
    let mut parts = Vec::new();
    macro_rules! part {
        ($($field:ident),*) => {
            $(if seen.$field != wanted.$field {
                parts.push(format!("{}: {:x?} instead of {:x?}", stringify!($field), seen.$field, wanted.$field));
            })*
        };
    }
    part!(general, events, ports, written, mapped, timers, frames);
    if seen.registers != wanted.registers {
        let places = seen.registers.iter().zip(&wanted.registers).enumerate().filter(|(_, (a, b))| a != b);
        parts.push(format!("VMCB bytes {:x?}", places.map(|(place, (a, b))| (place, *a, *b)).collect::<Vec<_>>()));
    }
    parts.join("; ")
}
