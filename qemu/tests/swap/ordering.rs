//! Orders to swap, and what may come of them.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use atoll::Error;
use atoll::control::{Line, orders, tables};
use atoll::testing::Booted;

/// A server, the image that takes its place, and whether by force.
pub(crate) type Swap = (&'static str, &'static str, bool);

/// The line to the machine, as soon as its control server answers.
pub(crate) fn line(control: &Path) -> Line {
    loop {
        if let Ok(mut line) = Line::at("swap", control)
            && tables::machine(&mut line).is_ok_and(|machine| machine.running)
        {
            return line;
        }
        sleep(Duration::from_millis(20));
    }
}

/// Swaps in turn for as long as the machine answers and `more` says so; how many swaps were done.
pub(crate) fn swap_in_turn(line: &mut Line, swaps: &[Swap], mut more: impl FnMut() -> bool) -> u32 {
    let mut swapped = 0;
    for (server, image, force) in swaps.iter().cycle().take_while(|_| more()) {
        match orders::swap(line, server, image, *force) {
            Ok(_) => swapped += 1,
            // It was called off; `assert_only_late` looks why.
            Err(Error::Refused { .. }) => {}
            Err(_) => break,
        }
    }
    swapped
}

/// Swaps these in turn, so many rounds, and does `between` before each; how often one was called off.
///
/// # Panics
/// The machine does not answer any more.
pub(crate) fn swap_rounds(
    line: &mut Line,
    swaps: &[Swap],
    rounds: usize,
    mut between: impl FnMut(),
) -> usize {
    let mut late = 0;
    for (server, image, force) in (0..rounds).flat_map(|_| swaps) {
        between();
        loop {
            match orders::swap(line, server, image, *force) {
                Ok(_) => break,
                Err(Error::Refused { .. }) => late += 1,
                Err(error) => panic!("{server} for {image}: {error}"),
            }
        }
    }
    late
}

/// That no swap was called off but for want of time: on a busy host any activation may take too long. The guest must not notice that, either.
pub(crate) fn assert_only_late(booted: &Booted) {
    let mut faults = booted
        .log
        .lines()
        .filter(|line| line.contains(" faulted: "));
    let other = faults.find(|line| {
        !line.contains("it ran longer than") && !line.contains("it used up its run time")
    });
    assert_eq!(other, None, "{}", booted.log);
}
