//! As many faults as are asked for (`ATOLL_SIM_FAULTS=1000000 cargo test -p atoll-sim --test million -- --nocapture`), and a table of
//! which have hit which effects. Without being asked it plays some thousand, each cell a few times.

use std::sync::Arc;
use std::time::Instant;

use atoll_sim::campaign::{self, OFTEN, Wanted};
use atoll_sim::cast::Cast;
use atoll_sim::cells::{answered, models};

/// Faults that are played unasked, and in each cell.
const FAULTS: (u64, u64) = (12_000, 3);
/// From so many on, each cell must have been hit often.
const MILLION: u64 = 1_000_000;

fn cast() -> Arc<Cast> {
    let machine = atoll_manifest::Machine::linux().expect("the machine that boots Linux");
    Cast::new(&machine.pack().expect("its manifest packs"))
        .expect("all its servers are on the host")
}

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number"))
    })
}

#[test]
fn each_model_hits_each_effect() {
    let asked_for = asked("ATOLL_SIM_FAULTS");
    let faults = asked_for.unwrap_or(FAULTS.0);
    let each = if faults >= MILLION { OFTEN } else { FAULTS.1 };
    let wanted = Wanted {
        faults,
        each,
        seed: asked("ATOLL_SIM_SEED").unwrap_or(1),
        threads: asked("ATOLL_SIM_THREADS").unwrap_or(2) as usize,
    };
    let start = Instant::now();
    let tally = campaign::run(&cast(), wanted, |model, own| {
        println!(
            "{:>6.0} s: {} faults of {}",
            start.elapsed().as_secs_f64(),
            own.faults,
            model.name()
        );
    })
    .unwrap_or_else(|broken| panic!("{broken}"));
    println!(
        "{} faults in {:.0} s; effect: fewest and most faults of one model",
        tally.faults,
        start.elapsed().as_secs_f64()
    );
    let mut few = Vec::new();
    for effect in answered() {
        let counts: Vec<_> = models()
            .map(|model| (tally.count(model, effect), model.name()))
            .collect();
        let (least, most) = (
            counts.iter().min().expect("some"),
            counts.iter().max().expect("some"),
        );
        println!(
            "{effect:>16}: {} ({}) to {} ({})",
            least.0, least.1, most.0, most.1
        );
        few.extend(
            counts
                .iter()
                .filter(|(count, _)| *count < each)
                .map(|(count, model)| format!("{model} x {effect}: {count}")),
        );
    }
    let cells = models().count() * answered().count();
    println!(
        "{} of {cells} cells were hit fewer than {each} times",
        few.len()
    );
    assert!(tally.faults >= faults);
    assert!(few.is_empty(), "{few:#?}");
}
