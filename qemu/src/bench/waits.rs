//! How long the guest waits while a server is restarted, or while another takes its place: from the moment from which the kernel lets it
//! run no more until it runs again, in instructions.
//!
//! Linux runs, and servers are killed and swapped in turn over the control line. The kernel keeps sums of these waits; the difference
//! that one order makes is one wait, exactly.

use atoll_protocol::control::{Ask, Kind, Moments, Tell};

use super::probes::Figure;
use crate::control::{Line, orders};
use crate::error::{Error, Result};
use crate::testing::{Boot, Visit};

/// How often each server is killed, and swapped.
const ROUNDS: usize = 40;
/// What Linux does meanwhile: exits of all kinds.
const WORKLOAD: &str =
    "echo begun; while :; do grep -m1 model.name /proc/cpuinfo; sleep 0.01; done";
/// What is killed.
const KILLED: [&str; 12] = [
    "cpuid",
    "msr",
    "hypercall",
    "mmu",
    "irqchip",
    "pit",
    "rtc",
    "pm",
    "uart",
    "console",
    "control",
    "supervisor",
];
/// What is swapped for a server of the same image, which is not always called as the server is.
const SWAPPED: [(&str, &str); 11] = [
    ("cpuid", "cpuid"),
    ("msr", "msr"),
    ("hypercall", "hypercall"),
    ("mmu", "mmu-npt"),
    ("irqchip", "irqchip"),
    ("pit", "pit"),
    ("rtc", "rtc"),
    ("pm", "pm"),
    ("uart", "uart"),
    ("console", "console"),
    ("control", "control"),
];

/// Measures: `restart_NAME` and `swap_NAME`.
pub fn on_atoll() -> Result<Vec<Figure>> {
    let (_, figures) = Boot::guest("linux")
        .icount()
        .exec(WORKLOAD)
        .visit(measure)?;
    figures
}

fn measure(visit: &Visit<'_>) -> Result<Vec<Figure>> {
    if !visit.wait_for("begun") {
        return Err(Error::missing(
            "a Linux whose servers can be killed: it ended before it had begun",
        ));
    }
    let mut line = Line::at("the measured machine", visit)?;
    let mut figures = Vec::new();
    for server in KILLED {
        let kill = |line: &mut Line| orders::kill(line, server).map(|_| ());
        figures.push(waits(
            format!("restart_{server}"),
            &mut line,
            Kind::Recovery,
            kill,
        )?);
    }
    for (server, image) in SWAPPED {
        let swap = |line: &mut Line| orders::swap(line, server, image, false).map(|_| ());
        figures.push(waits(
            format!("swap_{server}"),
            &mut line,
            Kind::Succession,
            swap,
        )?);
    }
    Ok(figures)
}

/// Gives the same order again and again, and takes the wait that each makes.
fn waits(
    name: String,
    line: &mut Line,
    kind: Kind,
    mut order: impl FnMut(&mut Line) -> Result<()>,
) -> Result<Figure> {
    let mut all = Vec::with_capacity(ROUNDS);
    while all.len() < ROUNDS {
        let before = spent(line, kind)?;
        order(line)?;
        let after = spent(line, kind)?;
        // The order is confirmed a moment before the wait is over; one that spans two questions is left out.
        if after.count == before.count + 1 {
            all.push(after.sum - before.sum);
        }
    }
    all.sort_unstable();
    Ok(Figure {
        name,
        min: all[0],
        median: all[ROUNDS / 2],
        max: all[ROUNDS - 1],
    })
}

/// What the kernel has counted of a kind of time.
fn spent(line: &mut Line, kind: Kind) -> Result<Moments> {
    let name = Kind::name(kind as usize);
    let all = line.list(Ask::Exits, |tell| {
        let Tell::Exit(record) = tell else {
            return None;
        };
        Some((record.name == name).then_some(record.time))
    })?;
    all.into_iter()
        .flatten()
        .next()
        .ok_or_else(|| Error::missing(format!("a count of {name} in the machine's statistics")))
}
