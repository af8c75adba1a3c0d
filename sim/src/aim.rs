//! How to hit an effect: which messages are answered with it, and what has to happen for them to come. Nobody writes that down: it is
//! learned from plays without faults.

use std::collections::BTreeMap;
use std::sync::Arc;

use atoll_protocol::inject::{Injection, Model, Needs, Place, Plan, Surplus};
use atoll_protocol::units::ServerId;

use crate::cast::Cast;
use crate::dice::Dice;
use crate::guest::Class;
use crate::play::{Broken, Play, Scenario};
use crate::supervisor::SUPERVISOR;
use crate::tally::effects_of;

/// Plays from which is learned.
const LESSONS: u64 = 24;
/// Steps of one of them.
const STEPS: usize = 400;
/// Most faults on one machine: two servers that a damaged one keeps busy would count a million times.
const LIMIT: u32 = 400;
/// Most faults of the supervisor by others: it is given up when it fails again and again without having done anything.
const KILLS: u32 = 2;
/// Most faults during the recovery from others: with more of them the kernel lets the guest run in between, as it does with any flood of
/// messages, and the two machines would differ in when that is.
const SECOND: u32 = 8;
/// How much more often than usual happens what leads to an effect.
const MORE: u64 = 300;

/// When something was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum When {
    Boot,
    During(Class),
    Swap,
    PowerOff,
}

/// The answers to one kind of message.
#[derive(Clone, Debug, Default)]
struct Answers {
    count: u64,
    /// How many of them have each effect.
    with: BTreeMap<&'static str, u64>,
}

/// What is known.
#[derive(Clone, Debug, Default)]
pub struct Aim {
    messages: BTreeMap<(ServerId, u8), Answers>,
    /// How often each effect was answered when.
    moments: BTreeMap<&'static str, BTreeMap<When, u64>>,
}

impl Aim {
    /// Learns.
    ///
    /// # Errors
    /// A machine without faults breaks a rule.
    pub fn learn(cast: &Arc<Cast>, seed: u64) -> Result<Self, Broken> {
        let mut aim = Self::default();
        for lesson in 0..LESSONS {
            let quiet = Scenario {
                swaps: 0,
                ..Scenario::new(Plan::NONE, seed ^ lesson << 32, STEPS)
            };
            let mut play = Play::begin(cast, quiet.clone())?;
            aim.note(&play, When::Boot);
            while let Some(class) = play.step()? {
                aim.note(&play, When::During(class));
            }
            let mut play = Play::begin(
                cast,
                Scenario {
                    swaps: 1000,
                    steps: STEPS / 20,
                    ..quiet.clone()
                },
            )?;
            while play.step()?.is_some() {
                aim.note_only(&play, When::Swap, &["export", "import"]);
            }
            let mut play = Play::begin(
                cast,
                Scenario {
                    steps: 0,
                    power_off: true,
                    ..quiet
                },
            )?;
            play.end()?;
            aim.note(&play, When::PowerOff);
        }
        Ok(aim)
    }

    fn note(&mut self, play: &Play, when: When) {
        self.note_only(play, when, &[]);
    }

    /// Takes notice of what a machine has answered since the last time; only to some kinds of messages, if some are named.
    fn note_only(&mut self, play: &Play, when: When, kinds: &[&str]) {
        for (server, kind, answer) in play.subject.state.machine.ledger.answers() {
            let name = atoll_protocol::inject::kind_name(kind).unwrap_or_default();
            if !kinds.is_empty() && !kinds.contains(&name) && server != SUPERVISOR {
                continue;
            }
            let answers = self.messages.entry((server, kind)).or_default();
            answers.count += 1;
            for effect in effects_of(answer) {
                *answers.with.entry(effect).or_default() += 1;
                *self
                    .moments
                    .entry(effect)
                    .or_default()
                    .entry(when)
                    .or_default() += 1;
            }
        }
    }

    /// Whether an effect was ever answered.
    #[must_use]
    pub fn knows(&self, effect: &str) -> bool {
        self.moments.contains_key(effect)
    }

    /// A play in which a model hits answers with this effect.
    #[must_use]
    pub fn scenario(&self, model: Model, effect: &str, dice: &mut Dice, steps: usize) -> Scenario {
        let mut plan = Plan {
            sequence: 1,
            count: 1,
            ..Plan::NONE
        };
        plan.injections[0] = injection(model, self.message(effect, dice), dice);
        // A second fault while somebody recovers from the first.
        if dice.below(8) == 0 {
            plan.count = 2;
            let any = injection(model, None, dice);
            plan.injections[1] = Injection {
                flags: any.flags | Injection::WHILE_RECOVERING,
                limit: any.limit.min(SECOND),
                ..any
            };
        }
        let mut scenario = Scenario::new(plan, dice.any(), steps);
        let moments = self.moments.get(effect);
        let all: u64 = moments.iter().flat_map(|moments| moments.values()).sum();
        for (when, count) in moments.into_iter().flatten() {
            let share = (MORE * count).div_ceil(all.max(1));
            match when {
                When::During(class) => scenario.weights.add(*class, share as u32),
                When::Swap => scenario.swaps = scenario.swaps.max(share),
                When::Boot => scenario.boot = share * dice.below(3) >= MORE / 2,
                When::PowerOff => scenario.power_off = dice.below(MORE) < share.max(MORE / 20),
            }
        }
        if scenario.boot && scenario.power_off
            || moments.is_some_and(|moments| !moments.keys().any(happens_often))
        {
            scenario.steps = steps / 20;
        }
        scenario
    }

    /// A message that is answered with this effect: one that often is, and that comes often.
    fn message(&self, effect: &str, dice: &mut Dice) -> Option<(ServerId, u8)> {
        let share = |answers: &Answers| {
            answers
                .with
                .get(effect)
                .map_or(0, |with| (1000 * with * with).div_ceil(answers.count))
        };
        let all: u64 = self.messages.values().map(share).sum();
        let mut left = dice.below(all);
        for (message, answers) in &self.messages {
            match left.checked_sub(share(answers)) {
                Some(rest) => left = rest,
                None => return Some(*message),
            }
        }
        None
    }
}

/// Whether it happens more than once in a machine's life.
fn happens_often(when: &When) -> bool {
    matches!(when, When::During(_) | When::Swap)
}

/// One fault in two of these messages; in every third of the supervisor's, which is given up when it fails too often over one message.
fn injection(model: Model, message: Option<(ServerId, u8)>, dice: &mut Dice) -> Injection {
    let servers = 11;
    let mut argument = match model.needs() {
        Needs::Nothing => 0,
        Needs::Ticks | Needs::Value => dice.any() >> dice.below(64),
        Needs::Skew => (dice.below(2_000_000) as i64 - 1_000_000) as u64,
        Needs::Bit => Injection::RANDOM,
        Needs::Place => dice.below(Place::ALL.len() as u64),
        Needs::Surplus => dice.below(Surplus::ALL.len() as u64),
        Needs::Line => dice.below(24),
        Needs::Server => dice.below(servers + 1),
        // The script's supervisor puts the same image in place again, whatever the order says.
        Needs::Image => 0,
    };
    let (server, kind) =
        message.unwrap_or((ServerId::nth(1 + dice.below(servers) as u8), Injection::ANY));
    let supervisor = server == SUPERVISOR;
    let mut limit = LIMIT;
    if model == Model::Kill && (argument == 0 || supervisor) {
        (argument, limit) = (
            if supervisor {
                1 + dice.below(servers)
            } else {
                0
            },
            if supervisor { LIMIT } else { KILLS },
        );
    }
    let flags = if !supervisor && dice.below(4) == 0 {
        Injection::REDELIVERIES
    } else {
        0
    };
    let (chance, every) = if supervisor {
        (0, 3)
    } else {
        (u32::MAX / 2, 0)
    };
    Injection {
        model: model.number(),
        server: server.number(),
        kind,
        flags,
        chance,
        every,
        first: 1 + dice.below(3),
        limit,
        seed: dice.any(),
        argument,
        ..Injection::default()
    }
}
