//! Many plays, over all models.

use atoll_protocol::inject::{Injection, Model, Needs, Place, Surplus};

use crate::dice::Dice;
use crate::lockstep::play;
use crate::tally::Tally;

/// How often each effect must be hit by each model.
pub const OFTEN: u64 = 1000;
/// Most faults on one machine: two servers that a damaged one keeps busy would count a million times.
const LIMIT: u32 = 400;
/// Steps on one machine.
pub const STEPS: usize = 400;
/// Servers of the machine, the supervisor and the loader (the last) aside.
const SERVERS: u64 = 11;

/// One fault in two activations of one server; in every fourth of the supervisor's, which is given up when it fails too often over one
/// message. Faults that damage what the supervisor is trusted with are not its kind.
fn injection(model: Model, dice: &mut Dice) -> Injection {
    let trusted = u64::from(!model.leaves_state_intact());
    let server = trusted + dice.below(SERVERS + 1 - trusted);
    let argument = match model.needs() {
        Needs::Nothing => 0,
        Needs::Ticks | Needs::Value => dice.any() >> dice.below(64),
        Needs::Skew => (dice.below(2_000_000) as i64 - 1_000_000) as u64,
        Needs::Bit => Injection::RANDOM,
        Needs::Place => dice.below(Place::ALL.len() as u64),
        Needs::Surplus => dice.below(Surplus::ALL.len() as u64),
        Needs::Line => dice.below(24),
        Needs::Server => 1 + dice.below(SERVERS),
        // The plan's text names none: what is ordered is refused.
        Needs::Image => 0,
    };
    let (chance, every) = if server == 0 { (0, 4) } else { (u32::MAX / 2, 0) };
    let server = server as u8;
    let seed = dice.any();
    Injection {
        model: model.number(),
        server,
        kind: Injection::ANY,
        chance,
        every,
        first: 4,
        limit: LIMIT,
        seed,
        argument,
        ..Injection::default()
    }
}

/// Models that leave committed state as it was, or those that do not.
#[must_use]
pub fn models(intact: bool) -> Vec<Model> {
    Model::ALL.iter().copied().filter(|model| model.leaves_state_intact() == intact).collect()
}

/// One play of each model.
#[must_use]
pub fn round(models: &[Model], round: u64, seed: u64) -> Tally {
    let mut tally = Tally::default();
    for model in models {
        let mut dice = Dice::new(seed ^ (round << 8 | u64::from(model.number())).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let played = play(*model, injection(*model, &mut dice), dice.any(), STEPS);
        tally.add(&played.state.machine.tally);
    }
    tally
}

/// Rounds over all models until so many faults were injected.
pub fn play_until(faults: u64, seed: u64, told: impl Fn(u64)) -> Tally {
    let mut tally = Tally::default();
    for number in 0.. {
        if tally.faults >= faults {
            break;
        }
        tally.add(&round(Model::ALL, number, seed));
        if number % 20 == 0 {
            told(tally.faults);
        }
    }
    tally
}
