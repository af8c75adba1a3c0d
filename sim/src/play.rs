//! Two machines on which the same happens, one of them under faults.
//!
//! With models that leave committed state as it was, all that the guest and the world can see must be equal after every step, and so must
//! be what was committed: then no effect was committed twice, and none was lost. In the end nothing is left: no ticket, no letter, no
//! frame. With the others the machine must stay whole: no panic, and books that balance. Servers are also put into others' places, on the
//! machine under faults only: nobody sees that either.

use std::collections::BTreeSet;
use std::sync::Arc;

use atoll_core::machine::GuestRam;
use atoll_core::run::{HostEvent, Turn};
use atoll_core::vcpu::Stand;
use atoll_core::vcpu::vmcb::Vmcb;
use atoll_protocol::grant::{Grant, Limits};
use atoll_protocol::inject::{Injection, Model, Plan};
use atoll_protocol::layout::IMAGE;
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::ServerId;

use crate::books::Books;
use crate::cast::{Cast, MEMORY};
use crate::conversation::Conversation;
use crate::dice::Dice;
use crate::guest::{self, Class, Happening, Weights};
use crate::happen::{IMPATIENT, ONCE, PATIENT, Patience, happen, interrupt, settle};
use crate::host::{Host, TSC_KHZ};
use crate::supervisor::{BELL, SUPERVISOR};
use crate::{Kernel, bundle, sight};

/// How often the bell is rung for one swap.
const RINGS: usize = 100;
/// At the end time passes in so many steps of so many milliseconds: longer than any deadline.
const LAST: (usize, u64) = (30, 40);

/// What is played.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The faults.
    pub plan: Plan,
    /// What all else is drawn from.
    pub seed: u64,
    /// How much happens.
    pub steps: usize,
    /// What happens how often.
    pub weights: Weights,
    /// In how many of a thousand steps a server is put into another's place.
    pub swaps: u64,
    /// Whether faults are injected from the first message on, before the guest runs.
    pub boot: bool,
    /// Whether the guest switches its machine off in the end.
    pub power_off: bool,
    /// Whether it must go as it would without faults.
    pub compared: bool,
}

impl Scenario {
    /// A usual one: if none of the faults damages what is committed, it must go as it would without.
    #[must_use]
    pub fn new(plan: Plan, seed: u64, steps: usize) -> Self {
        let model = |number: u8| Model::with_number(u64::from(number));
        let intact =
            |injection: &Injection| model(injection.model).is_some_and(Model::leaves_state_intact);
        let compared = plan.injections().iter().all(intact);
        Self {
            plan,
            seed,
            steps,
            weights: Weights::default(),
            swaps: 5,
            boot: false,
            power_off: false,
            compared,
        }
    }
}

/// What did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// The machine was left, or could not be built.
    #[error("the machine ended, or could not be built")]
    Left,
    /// The guest or the world sees something else.
    #[error("the guest or the outside world sees {0}")]
    Seen(String),
    /// Something was committed twice, or not at all.
    #[error("the servers have committed {0}")]
    Committed(String),
    /// The kernel's books do not balance, or something is left in the end.
    #[error("the kernel's books do not balance: {0}")]
    Books(String),
}

/// A rule that did not hold, and where.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{place}: {rule}; the log of this step: {log:#?}")]
pub struct Broken {
    /// The rule.
    pub rule: Rule,
    /// Faults that were injected until then.
    pub injected: u64,
    /// Under which faults, and after what.
    place: String,
    log: Vec<String>,
}

/// A play.
pub struct Play {
    /// The machine under faults.
    pub subject: Box<Kernel>,
    /// The one without, if they are compared.
    pub reference: Option<Box<Kernel>>,
    cast: Arc<Cast>,
    scenario: Scenario,
    dice: Dice,
    beginning: Books,
    /// Servers whose commits are compared.
    compared: Vec<ServerId>,
    /// Servers whose timers may fire early, to find nothing to do.
    lazy: Vec<ServerId>,
    servers: Vec<ServerId>,
    step: usize,
    what: String,
    /// Servers that were restarted or exchanged.
    reborn: BTreeSet<ServerId>,
    /// Whether the mmu server may have been exchanged.
    remapped: bool,
}

/// A machine whose guest runs, unless faults of the plan kept it from being built.
fn machine(cast: &Arc<Cast>, plan: Plan) -> Box<Kernel> {
    let mut host = Host::new(cast.clone());
    host.plan = plan;
    let mut kernel = Box::new(Kernel::new(host, Conversation::default(), Vmcb::ZERO));
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
    kernel.state.give(SUPERVISOR, Grant::HostIrq(BELL));
    (1..atoll_protocol::SERVERS as u8).for_each(|server| {
        kernel
            .state
            .give(SUPERVISOR, Grant::Mail(ServerId::nth(server), 1))
    });
    let segment = bundle::segment("supervisor").expect("a page of the bundle is the supervisor's");
    kernel
        .state
        .fill_first(SUPERVISOR, &segment)
        .expect("the supervisor's image fits");
    kernel.state.start_first(SUPERVISOR, IMAGE);
    settle(&mut kernel, PATIENT);
    kernel
}

impl Play {
    /// Builds the machines.
    ///
    /// # Errors
    /// Faults that must not be noticed kept one from being built.
    pub fn begin(cast: &Arc<Cast>, scenario: Scenario) -> Result<Self, Broken> {
        let mut subject = machine(
            cast,
            if scenario.boot {
                scenario.plan
            } else {
                Plan::NONE
            },
        );
        subject.state.machine.plan = scenario.plan;
        let reference = scenario.compared.then(|| machine(cast, Plan::NONE));
        // What the drivers do depends on when they look at their devices.
        let drivers = [RoleKind::Console, RoleKind::Control];
        let has_role = |roles: &[RoleKind], id: &ServerId| {
            cast.part(*id)
                .is_some_and(|part| roles.contains(&part.role))
        };
        let lazy = [
            &drivers[..],
            &[RoleKind::Serial, RoleKind::Clock, RoleKind::Power],
        ]
        .concat();
        let mut play = Self {
            beginning: Books::of(reference.as_ref().unwrap_or(&subject)),
            reference,
            compared: cast
                .servers()
                .filter(|id| !has_role(&drivers, id))
                .collect(),
            lazy: cast.servers().filter(|id| has_role(&lazy, id)).collect(),
            servers: cast.servers().collect(),
            dice: Dice::new(scenario.seed),
            cast: cast.clone(),
            step: 0,
            what: "the boot".into(),
            reborn: BTreeSet::new(),
            remapped: scenario
                .plan
                .injections()
                .iter()
                .any(|injection| injection.model == Model::Swap.number()),
            subject,
            scenario,
        };
        if play.reference.is_some() && !play.subject.state.machine.is_built() {
            return Err(play.broken(Rule::Left));
        }
        play.compare()?;
        Ok(play)
    }

    fn broken(&mut self, rule: Rule) -> Broken {
        let log = self.subject.state.machine.log.iter().cloned().collect();
        let model = |number: u8| Model::with_number(u64::from(number)).map_or("?", Model::name);
        let one = |injection: &Injection| {
            format!(
                "{} server {} kind {}",
                model(injection.model),
                injection.server,
                injection.kind
            )
        };
        let faults = self
            .scenario
            .plan
            .injections()
            .iter()
            .map(one)
            .collect::<Vec<_>>()
            .join(", ");
        let place = format!(
            "{faults} with seed {}, step {}, after {}",
            self.scenario.seed, self.step, self.what
        );
        Broken {
            rule,
            injected: self.subject.state.machine.tally.faults,
            place,
            log,
        }
    }

    /// Holds the two machines against each other, and the books against themselves.
    fn compare(&mut self) -> Result<(), Broken> {
        if let Err(what) = Books::of(&self.subject).balance() {
            return Err(self.broken(Rule::Books(what)));
        }
        let Some(reference) = &mut self.reference else {
            return Ok(());
        };
        let machine = &self.subject.state.machine;
        self.reborn.extend(machine.ledger.reborn());
        let vague: Vec<ServerId> = self
            .lazy
            .iter()
            .copied()
            .filter(|server| self.reborn.contains(server))
            .collect();
        let committed = machine.ledger.compare(
            &reference.state.machine.ledger,
            &self.compared,
            &self.reborn,
            &self.lazy,
        );
        let seen = sight::difference(&self.subject, reference, self.remapped, &vague);
        let rule = match (committed, seen) {
            (Err(difference), _) => Rule::Committed(difference.to_string()),
            (_, Some(difference)) => Rule::Seen(difference),
            (Ok(()), None) => return Ok(()),
        };
        Err(self.broken(rule))
    }

    fn forget(&mut self) {
        for kernel in std::iter::once(&mut self.subject).chain(&mut self.reference) {
            let machine = &mut kernel.state.machine;
            machine.ledger.clear();
            machine.written.clear();
            machine.log.clear();
            machine
                .ports
                .iter_mut()
                .for_each(|port| port.output.clear());
        }
    }

    /// Whether there can be another step: what damages what is committed may end the machine.
    fn is_over(&self) -> bool {
        self.step >= self.scenario.steps
            || !self.is_whole()
            || self.subject.state.vcpu.stand == Stand::Stopped
    }

    fn is_whole(&self) -> bool {
        let machine = &self.subject.state.machine;
        machine.is_built() && machine.guest_size() >= MEMORY
    }

    /// One step: of which kind it was; nothing if the play is over.
    ///
    /// # Errors
    /// A rule does not hold.
    pub fn step(&mut self) -> Result<Option<Class>, Broken> {
        if self.is_over() {
            return Ok(None);
        }
        let (class, what) = guest::next(&mut self.dice, &self.scenario.weights);
        let swap = self.dice.below(1000) < self.scenario.swaps;
        let victim = self.dice.pick(&self.servers);
        self.forget();
        self.what = format!("{what:x?}");
        self.step += 1;
        if swap {
            self.what += &format!(" with a swap of server {}", victim.number());
            self.order(victim);
        }
        let went = self.both(&what)? && self.ring();
        if !went {
            return if self.reference.is_some() {
                Err(self.broken(Rule::Left))
            } else {
                Ok(None)
            };
        }
        self.compare()?;
        Ok(Some(class))
    }

    fn patience(&self) -> Patience {
        if self.reference.is_some() {
            PATIENT
        } else {
            IMPATIENT
        }
    }

    /// The same on both machines; false if one was left.
    fn both(&mut self, what: &Happening) -> Result<bool, Broken> {
        let patience = self.patience();
        let Some(again) = happen(&mut self.subject, what, patience) else {
            return Ok(false);
        };
        let Some(reference) = &mut self.reference else {
            return Ok(true);
        };
        if let Happening::Exit(taken) = what {
            // Each time that the guest is entered, what waits for it goes in: as often there as here.
            for _ in 0..again {
                happen(reference, &Happening::Exit(guest::interrupted(taken)), ONCE);
            }
        }
        Ok(happen(reference, what, ONCE).is_some())
    }

    /// A swap is to happen in the middle of what comes next.
    fn order(&mut self, of: ServerId) {
        let Some(image) = self
            .cast
            .part(of)
            .and_then(|part| bundle::name(&part.image))
        else {
            return;
        };
        self.subject.state.machine.desk.swaps.push((of, image));
        self.subject.host_event(HostEvent::Irq(BELL));
        self.remapped |= self
            .cast
            .part(of)
            .is_some_and(|part| part.role == RoleKind::Mmu);
    }

    /// Rings until the swap is done with, or the time that it may take has to pass; false if the machine was left.
    fn ring(&mut self) -> bool {
        let patience = self.patience();
        for _ in 0..RINGS {
            let machine = &mut self.subject.state.machine;
            if machine.is_at_rest() {
                break;
            }
            machine.found = 0;
            let before = machine.supervisor();
            interrupt(&mut self.subject);
            self.subject.host_event(HostEvent::Irq(BELL));
            if matches!(settle(&mut self.subject, patience), Turn::Leave(_)) {
                return false;
            }
            if let Some(reference) = &mut self.reference {
                interrupt(reference);
                settle(reference, ONCE);
            }
            let machine = &self.subject.state.machine;
            if machine.found == 0 && machine.supervisor() == before {
                break;
            }
        }
        true
    }

    /// All steps, and the end: time passes until nothing is under way, and the machine is switched off if it is to be.
    ///
    /// # Errors
    /// A rule does not hold.
    pub fn end(&mut self) -> Result<(), Broken> {
        while self.step()?.is_some() {}
        if self.reference.is_none() {
            // What comes of it is open.
            if self.scenario.power_off && self.is_whole() {
                self.forget();
                switch_off(&mut self.subject, IMPATIENT);
            }
            return Ok(());
        }
        let (steps, span) = LAST;
        for _ in 0..steps {
            self.pass_time(span)?;
        }
        if !self.subject.state.machine.is_at_rest() {
            self.subject.state.machine.withdraw();
            self.ring();
        }
        let machines = [Some(&self.subject), self.reference.as_ref()];
        let closed = machines
            .into_iter()
            .flatten()
            .try_for_each(|kernel| Books::of(kernel).closed(&self.beginning));
        if let Err(what) = closed {
            return Err(self.broken(Rule::Books(what)));
        }
        let machine = &self.subject.state.machine;
        if self
            .reference
            .as_ref()
            .is_some_and(|reference| !reference.state.machine.remembers_the_same_as(machine))
        {
            return Err(self.broken(Rule::Seen("other bytes in the guest's memory".into())));
        }
        if self.scenario.power_off {
            self.power_off()?;
        }
        Ok(())
    }

    fn pass_time(&mut self, milliseconds: u64) -> Result<(), Broken> {
        self.forget();
        self.what = "time at the end".into();
        if !self.both(&Happening::Time(milliseconds * TSC_KHZ))? {
            return Err(self.broken(Rule::Left));
        }
        self.compare()
    }

    /// The guest switches the machine off: it is left when the console has written all, with the code that says so.
    fn power_off(&mut self) -> Result<(), Broken> {
        self.forget();
        self.what = "the power-off".into();
        let subject = switch_off(&mut self.subject, PATIENT);
        let both = subject
            && self
                .reference
                .as_mut()
                .is_none_or(|reference| switch_off(reference, ONCE));
        if both {
            Ok(())
        } else {
            Err(self.broken(Rule::Left))
        }
    }
}

/// The guest switches its machine off; whether it was left with the code for that.
fn switch_off(kernel: &mut Kernel, patience: Patience) -> bool {
    happen(kernel, &guest::power_off(), patience);
    let left = (0..LAST.0).any(|_| happen(kernel, &Happening::Time(TSC_KHZ), patience).is_none());
    left && kernel.pass() == Turn::Leave(0)
}

/// Plays a scenario; the machine under faults, for its tally.
///
/// # Errors
/// A rule does not hold.
pub fn play(cast: &Arc<Cast>, scenario: Scenario) -> Result<Box<Kernel>, Broken> {
    let mut play = Play::begin(cast, scenario)?;
    play.end()?;
    Ok(play.subject)
}
