//! What happens to a machine, and everything that follows from it.

use atoll_core::machine::Clock;
use atoll_core::run::{HostEvent, Turn};
use atoll_core::vcpu::Stand;
use atoll_core::vcpu::vmcb::exit;
use atoll_protocol::units::Ticks;

use crate::Kernel;
use crate::cast::ENTRY;
use crate::guest::{self, Exit, Happening};
use crate::supervisor::BELL;

/// How long is waited for an end.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// Passes until there is nothing more to deliver.
    passes: usize,
    /// How often a guest executes an instruction again whose server was restarted.
    again: usize,
}

/// One fault in two activations ends some time.
pub(crate) const PATIENT: Patience = Patience {
    passes: 400,
    again: 200,
};
/// Where what is committed is damaged, servers may never answer any more, or keep each other busy for ever.
pub(crate) const IMPATIENT: Patience = Patience {
    passes: 8,
    again: 8,
};
/// DR6: a single step.
const BS: u64 = 1 << 14;
/// Without faults.
pub(crate) const ONCE: Patience = Patience {
    again: 1,
    ..PATIENT
};

/// The hardware's timer fires.
fn tick(kernel: &mut Kernel) {
    kernel.state.machine.armed = Ticks(u64::MAX);
    kernel.host_event(HostEvent::Timer);
}

/// Delivers all that waits. What the servers still mail each other after so many passes is theirs to go on with.
pub(crate) fn settle(kernel: &mut Kernel, patience: Patience) -> Turn {
    let mut last = Turn::Again;
    for _ in 0..patience.passes {
        last = kernel.pass();
        if kernel.state.machine.has_events() {
            tick(kernel);
            continue;
        }
        // The guest would have its turn: here it waits until all is delivered.
        let waits = last == Turn::Enter && !kernel.state.ready.is_empty();
        if !waits && matches!(last, Turn::Idle | Turn::Enter | Turn::Leave(_)) {
            break;
        }
    }
    kernel.look_at_the_plan();
    last
}

/// The guest takes an exit, again and again until it is carried out; how often again. Nothing if the machine is left.
fn take_exit(kernel: &mut Kernel, taken: &Exit, patience: Patience) -> Option<usize> {
    for again in 0..patience.again {
        kernel.state.machine.found = 0;
        let known = kernel.state.machine.ledger.len();
        guest::set(kernel, taken);
        kernel.exited();
        if matches!(settle(kernel, patience), Turn::Leave(_)) || !finish(kernel, taken, patience) {
            return None;
        }
        let state = &kernel.state;
        // Its server was faulted before it had begun: the guest executes the instruction again.
        let untouched = state.machine.found > 0
            && !state.machine.ledger.has_exits_after(known)
            && state.vcpu.vmcb.save.rip == ENTRY
            && state.vcpu.stand == Stand::Runnable;
        if !untouched {
            return Some(again);
        }
    }
    Some(patience.again)
}

/// The guest carries out itself what pages stand in for; false if the machine is left.
fn finish(kernel: &mut Kernel, taken: &Exit, patience: Patience) -> bool {
    for _ in 0..patience.again {
        let state = &mut kernel.state;
        if state.vcpu.stand != Stand::Runnable || !state.vcpu.has_stand_ins() {
            break;
        }
        let vmcb = &mut state.vcpu.vmcb;
        vmcb.control.exit_code = u64::from(exit::DEBUG);
        vmcb.save.dr6 |= BS;
        vmcb.save.rip = ENTRY + taken.bytes.len() as u64;
        kernel.exited();
        if matches!(settle(kernel, patience), Turn::Leave(_)) {
            return false;
        }
    }
    true
}

/// A guest that runs is left for an interrupt of the host.
pub(crate) fn interrupt(kernel: &mut Kernel) {
    if kernel.state.vcpu.stand == Stand::Runnable {
        guest::set(kernel, &guest::interrupted(&Exit::default()));
        kernel.exited();
    }
}

/// Lets something happen, and whatever follows from it.
pub(crate) fn happen(kernel: &mut Kernel, what: &Happening, patience: Patience) -> Option<usize> {
    if !matches!(what, Happening::Exit(_)) {
        interrupt(kernel);
    }
    match what {
        Happening::Exit(taken) => return take_exit(kernel, taken, patience),
        Happening::Time(span) => {
            kernel.state.machine.clock += span;
            if kernel.state.machine.has_events() {
                tick(kernel);
            }
        }
        Happening::Input(port, bytes) => {
            kernel.state.machine.ports[*port].input.extend(bytes);
            kernel.host_event(HostEvent::Irq(guest::irq_of(*port)));
        }
        Happening::Flush => {
            kernel.state.machine.desk.flushes += 1;
            kernel.host_event(HostEvent::Irq(BELL));
        }
    }
    (!matches!(settle(kernel, patience), Turn::Leave(_))).then_some(0)
}
