//! The kernel on the simulated machine. Here, and nowhere else in this binary, the kernel's hot path is compiled: it is inlined into
//! whoever calls it, which is right for the one caller that a real machine has, and minutes of compiling for a dozen of tests.

use std::ops::{Deref, DerefMut};

use atoll_core::Kernel;
use atoll_core::run::{HostEvent, Turn};
use atoll_core::vcpu::vmcb::{Control, Vmcb, exit};
use atoll_protocol::effect::{Effect, Supervise};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::grant::{Grant, Limits};
use atoll_protocol::layout::IMAGE;
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::ServerId;

use crate::cast::{self, LOADER, MEMORY, SUPERVISOR};
use crate::machine::{BUNDLE, Conversation, Servers, Simulated};
use crate::script::encode;

/// Frames of a machine that has enough of them.
pub(crate) const FRAMES: u64 = 8192;

/// The kernel on the simulated machine.
pub(crate) struct Simulation(Box<Kernel<Simulated>>);

impl Simulation {
    /// A kernel with a supervisor that is about to get its first message.
    pub(crate) fn new(servers: Box<dyn Servers>, frames: u64) -> Simulation {
        let mut kernel = Box::new(Kernel::new(
            Simulated::new(servers, frames),
            Conversation::new(),
            Vmcb::ZERO,
        ));
        let limits = Limits {
            vault_lines: 64,
            stack_pages: 16,
            budget_us: 200_000,
            period_us: u32::MAX,
            timers: 0,
        };
        kernel.state.make_server(
            SUPERVISOR,
            RoleKind::Supervisor,
            limits,
            "supervisor",
            "supervisor",
        );
        kernel.state.give(SUPERVISOR, Grant::Bundle);
        (1..atoll_protocol::SERVERS as u8).for_each(|server| {
            kernel
                .state
                .give(SUPERVISOR, Grant::Mail(ServerId::nth(server), 1))
        });
        kernel
            .state
            .fill_first(SUPERVISOR, &cast::TEXT)
            .expect("the supervisor's image fits");
        kernel.state.start_first(SUPERVISOR, IMAGE);
        Simulation(kernel)
    }

    /// The guest has run, and takes the exit that its control block tells: [`Kernel::exited`], compiled once.
    #[inline(never)]
    pub(crate) fn exited(&mut self) {
        let Control {
            exit_code,
            tlb_control,
            ..
        } = self.0.state.vcpu.vmcb.control;
        if exit_code != u64::from(exit::INVALID) {
            self.0.state.machine.nested.run(tlb_control == 1);
        }
        self.0.exited();
    }

    /// [`Kernel::pass`], compiled once.
    #[inline(never)]
    pub(crate) fn pass(&mut self) -> Turn {
        self.0.pass()
    }

    /// [`Kernel::host_event`], compiled once.
    #[inline(never)]
    pub(crate) fn host_event(&mut self, event: HostEvent) {
        self.0.host_event(event);
    }
}

impl Deref for Simulation {
    type Target = Kernel<Simulated>;

    fn deref(&self) -> &Kernel<Simulated> {
        &self.0
    }
}

impl DerefMut for Simulation {
    fn deref_mut(&mut self) -> &mut Kernel<Simulated> {
        &mut self.0
    }
}

/// The supervisor's answers that make the cast, the guest's memory, and let the guest run.
pub(crate) fn boot() -> Vec<Vec<u8>> {
    let mut answers: Vec<Vec<u8>> = cast::CAST
        .iter()
        .map(|member| encode(&cast::making(member)))
        .collect();
    let mut first = encode(&[Effect::Supervise(Supervise::CreateMachine(
        Fixed(MEMORY),
        1,
        Fixed(BUNDLE / 2),
    ))]);
    first.append(&mut answers[0]);
    answers[0] = first;
    answers.push(encode(&[Effect::Supervise(Supervise::Load(LOADER))]));
    answers.push(encode(&[Effect::Supervise(Supervise::Run)]));
    answers
}
