//! The real supervisor's machine, some of whose servers are hostile from the beginning or become so: whatever they answer, and whatever a
//! hostile user says on the control line, the host does not end by itself, and nobody is faulted but they.

use std::sync::Arc;

use atoll_core::run::Turn;
use atoll_core::vcpu::vmcb::Vmcb;
use atoll_protocol::control::Ask;
use atoll_protocol::grant::{Grant, Limits};
use atoll_protocol::layout::IMAGE;
use atoll_protocol::order::Order;
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::ServerId;

use crate::Kernel;
use crate::books::Books;
use crate::cast::Cast;
use crate::conversation::Conversation;
use crate::dice::Dice;
use crate::guest::{self, Happening, Weights};
use crate::happen::{IMPATIENT, PATIENT, happen, settle};
use crate::host::Host;
use crate::hostile;
use crate::packed::Packed;
use crate::supervisor::SUPERVISOR;

/// Longer than the first pauses of a server that fails, in ticks.
const PAUSE: u64 = 5_000_000;

/// What a siege is drawn from.
pub struct Siege<'s> {
    /// Who is on the machine: for what the loader does.
    pub cast: &'s Arc<Cast>,
    /// The manifest, as it is packed.
    pub manifest: &'s [u8],
    /// The servers' images, with their roles and the versions of their states.
    pub images: &'s [(String, RoleKind, (u16, u16))],
    /// How much happens.
    pub steps: usize,
}

/// What a siege came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Faults of hostile servers.
    pub faults: u64,
    /// Servers that were killed by order.
    pub killed: u64,
    /// Successors that took a place.
    pub swapped: u64,
}

impl Siege<'_> {
    fn machine(&self, hostile: &[&str], seed: u64) -> Box<Kernel> {
        let mut host = Host::new(self.cast.clone());
        let packed = Packed::new(self.manifest, self.images, hostile, seed);
        let segment = packed.supervisor();
        host.packed = Some(packed);
        let mut kernel = Box::new(Kernel::new(host, Conversation::default(), Vmcb::ZERO));
        let limits = Limits {
            vault_lines: 64,
            stack_pages: 16,
            budget_us: 200_000,
            period_us: u32::MAX,
            timers: 1,
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
            .fill_first(SUPERVISOR, &segment)
            .expect("the supervisor's image fits");
        kernel.state.start_first(SUPERVISOR, IMAGE);
        settle(&mut kernel, PATIENT);
        kernel
    }

    /// Plays one.
    ///
    /// # Errors
    /// What did not hold, after which step, and the end of the log.
    pub fn play(&self, seed: u64) -> Result<Outcome, String> {
        let mut dice = Dice::new(seed);
        let hostile: &[&str] =
            [&["control"][..], &["console"], &["control", "console"], &[]][dice.below(4) as usize];
        let mut kernel = self.machine(hostile, dice.any());
        if !kernel
            .state
            .machine
            .log
            .iter()
            .any(|line| line.contains("machine runs"))
        {
            return Err(format!(
                "seed {seed}: the machine was never built: {:#?}",
                kernel.state.machine.log
            ));
        }
        let mut outcome = Outcome::default();
        for step in 0..self.steps {
            let (_, usual) = guest::next(&mut dice, &Weights::default());
            let what = match usual {
                _ if dice.below(4) == 0 => Happening::Input(1, said(&mut dice)),
                // While a server is being restarted no guest runs, but time passes.
                Happening::Exit(_) if !kernel.state.running => Happening::Time(PAUSE),
                usual => usual,
            };
            let went = happen(&mut kernel, &what, IMPATIENT).is_some()
                && !matches!(kernel.pass(), Turn::Leave(_));
            let held = if went {
                check(&mut kernel, &mut outcome)
            } else {
                Err("the host has ended".to_owned())
            };
            held.map_err(|rule| {
                let log: Vec<_> = kernel.state.machine.log.iter().cloned().collect();
                format!("seed {seed}, step {step}, hostile {hostile:?}, after {what:x?}: {rule}; the log: {log:#?}")
            })?;
        }
        Ok(outcome)
    }
}

/// Something that a hostile user says.
fn said(dice: &mut Dice) -> Vec<u8> {
    let noise: Vec<u8> = (0..dice.below(40)).map(|_| dice.any() as u8).collect();
    let server = ServerId::nth(dice.below(32) as u8);
    let ask = match dice.below(6) {
        0 => return noise,
        1 => Ask::Order(Order::Kill(server)),
        2 => Ask::Order(Order::Swap(server, true, Some("evil-cpuid"))),
        3 => Ask::Order(Order::Upload(dice.any() as u32, dice.any())),
        4 => Ask::Servers,
        _ => Ask::Order(Order::Piece(0, dice.any(), &noise)),
    };
    [
        vec![0],
        postcard::to_allocvec_cobs(&ask).expect("a question that can be encoded"),
    ]
    .concat()
}

/// Looks at what was logged since the last time, and at the books.
fn check(kernel: &mut Kernel, outcome: &mut Outcome) -> Result<(), String> {
    Books::of(kernel).balance()?;
    for line in kernel.state.machine.log.drain(..) {
        outcome.swapped += u64::from(line.contains("a successor has taken its place"));
        let Some(fault) = line.strip_prefix("fault: server ") else {
            continue;
        };
        if fault.contains("broke a rule: Killed") {
            outcome.killed += 1;
            continue;
        }
        outcome.faults += 1;
        let role = |name: &str| {
            RoleKind::ALL
                .iter()
                .find(|(_, other)| *other == name)
                .map(|(role, _)| *role)
        };
        let of = fault
            .split_once("(role ")
            .and_then(|(_, rest)| role(rest.split(',').next()?));
        if !of.is_some_and(hostile::may_be) {
            return Err(format!("one that is not hostile was faulted: {line}"));
        }
    }
    Ok(())
}
