//! Many plays: over all models, each time for the effect that a model has hit least often.

use std::sync::Arc;
use std::thread;

use atoll_protocol::inject::Model;

use crate::aim::Aim;
use crate::cast::Cast;
use crate::cells::{answered, models};
use crate::dice::Dice;
use crate::play::{Broken, play};
use crate::tally::Tally;

/// How often each effect must be hit by each model.
pub const OFTEN: u64 = 1000;
/// Steps on one machine.
pub const STEPS: usize = 200;
/// Most plays in which a model hits nothing new, until it is told which cells it does not reach.
const FRUITLESS: u32 = 2000;

/// What is wanted of a campaign.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Faults, over all models.
    pub faults: u64,
    /// Faults in each cell.
    pub each: u64,
    /// What all is drawn from.
    pub seed: u64,
    /// Threads.
    pub threads: usize,
}

/// Plays of one model, until it has done its part.
fn of_model(cast: &Arc<Cast>, aim: &Aim, model: Model, wanted: Wanted) -> Result<Tally, Broken> {
    let part = wanted.faults.div_ceil(models().count() as u64);
    let mut dice =
        Dice::new(wanted.seed ^ u64::from(model.number()).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut tally = Tally::default();
    let mut fruitless = 0;
    loop {
        let cells = || answered().map(|effect| (tally.count(model, effect), effect));
        let Some((least, effect)) = cells().min() else {
            break;
        };
        if tally.faults >= part && (least >= wanted.each || fruitless > FRUITLESS) {
            break;
        }
        let played = play(cast, aim.scenario(model, effect, &mut dice, STEPS))?;
        tally.add(&played.state.machine.tally);
        fruitless = if tally.count(model, effect) > least {
            0
        } else {
            fruitless + 1
        };
    }
    Ok(tally)
}

/// Plays until there are as many faults as are wanted, and as many in each cell. `told` hears of each model that is done.
///
/// # Errors
/// A rule does not hold.
pub fn run(
    cast: &Arc<Cast>,
    wanted: Wanted,
    told: impl Fn(Model, &Tally) + Sync,
) -> Result<Tally, Broken> {
    let aim = Aim::learn(cast, wanted.seed)?;
    let all: Vec<Model> = models().collect();
    let threads = wanted.threads.max(1);
    let part = |thread: usize| {
        let mut tally = Tally::default();
        for model in all.iter().skip(thread).step_by(threads) {
            let own = of_model(cast, &aim, *model, wanted)?;
            told(*model, &own);
            tally.add(&own);
        }
        Ok(tally)
    };
    thread::scope(|scope| {
        let part = &part;
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || part(thread)))
            .collect();
        let mut tally = Tally::default();
        for thread in running {
            tally.add(&thread.join().expect("a thread that plays does not panic")?);
        }
        Ok(tally)
    })
}
