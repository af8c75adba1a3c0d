//! A million faults, and a table of which have hit which effects: `cargo run --release -p atoll-sim --example million [FAULTS [SEED]]`.

use std::collections::BTreeSet;

use atoll_sim::campaign;

fn main() {
    let mut arguments =
        std::env::args().skip(1).map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("'{text}' is no number")));
    let (faults, seed) = (arguments.next().unwrap_or(1_000_000), arguments.next().unwrap_or(1));
    let start = std::time::Instant::now();
    let tally = campaign::play_until(faults, seed, |done| eprintln!("{done} of {faults} faults"));
    let effects: BTreeSet<&String> = tally.cells.keys().map(|(_, effect)| effect).collect();
    println!("{} faults in {:.0} s", tally.faults, start.elapsed().as_secs_f64());
    for effect in effects {
        let counts: Vec<u64> = tally.cells.iter().filter(|((_, other), _)| other == effect).map(|(_, count)| *count).collect();
        let (least, most) = (counts.iter().min().unwrap_or(&0), counts.iter().max().unwrap_or(&0));
        println!("{effect:>16}: {:>2} models, {least} to {most} faults each", counts.len());
    }
    let few: Vec<_> = tally.cells.iter().filter(|(_, count)| **count < campaign::OFTEN).collect();
    println!("{} cells of {} were hit fewer than {} times: {few:?}", few.len(), tally.cells.len(), campaign::OFTEN);
}
