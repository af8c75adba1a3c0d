//! As many faults as are asked for (`ATOLL_SIM_FAULTS=1000000 cargo test -p atoll-sim --test million -- --nocapture`), and a table of
//! which have hit which effects. Without being asked it plays some ten thousand.

use std::collections::BTreeSet;
use std::time::Instant;

use atoll_sim::campaign::{self, OFTEN};

/// Faults that are played unasked.
const FAULTS: u64 = 20_000;
/// From so many on, each cell must have been hit often.
const MILLION: u64 = 1_000_000;

#[test]
fn each_model_hits_each_effect() {
    let asked = std::env::var("ATOLL_SIM_FAULTS").ok().map(|text| text.parse().expect("ATOLL_SIM_FAULTS is a number"));
    let faults = asked.unwrap_or(FAULTS);
    let start = Instant::now();
    let tally = campaign::play_until(faults, 1, |done| println!("{done} of {faults} faults"));
    println!("{} faults in {:.0} s", tally.faults, start.elapsed().as_secs_f64());
    let effects: BTreeSet<&String> = tally.cells.keys().map(|(_, effect)| effect).collect();
    for effect in &effects {
        let counts: Vec<u64> = tally.cells.iter().filter(|((_, other), _)| other == *effect).map(|(_, count)| *count).collect();
        let (least, most) = (counts.iter().min().unwrap_or(&0), counts.iter().max().unwrap_or(&0));
        println!("{effect:>16}: {:>2} models, {least} to {most} faults each", counts.len());
    }
    let few: Vec<_> = tally.cells.iter().filter(|(_, count)| **count < OFTEN).collect();
    println!("{} of {} cells were hit fewer than {OFTEN} times: {few:?}", few.len(), tally.cells.len());
    assert!(tally.faults >= faults);
    // The roles' usual effects, by name: a workload that does not lead to them proves nothing about them.
    for effect in ["Leaf", "Value", "Done", "Forward", "Map", "Offer", "Arm", "Line", "Mail", "Drain", "Fill", "Save"] {
        assert!(effects.iter().any(|known| *known == effect), "no {effect}");
    }
    assert!(faults < MILLION || few.is_empty());
}
