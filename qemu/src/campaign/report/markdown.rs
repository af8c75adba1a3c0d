//! The report as Markdown.

use std::fmt::Write;

use super::statistics::wilson;
use super::tables::{Cell, Floor, Tables};
use crate::campaign::outcome::Outcome;

/// Lines of a case's dump that are shown.
const DUMP: usize = 30;

/// Counts and outcomes only.
pub(super) fn summary(tables: &Tables<'_>) -> String {
    let mut text = String::new();
    let Cell { runs, injected, activated, manifested, detected, recovered, .. } = &tables.all;
    let _ = writeln!(
        text,
        "{runs} runs, {activated} of them with a fault; {injected} faults injected, {detected} servers' faults detected, {recovered} recoveries; \
         {manifested} runs in which a fault manifested itself\n"
    );
    for outcome in Outcome::ALL {
        let count = tables.all.of(outcome);
        let _ = writeln!(text, "{count:>8}  {}", outcome.name());
    }
    let Floor { runs, differing, unequal } = tables.floor;
    if runs > 0 {
        let (_, high) = wilson(differing, runs);
        let _ = writeln!(
            text,
            "\nof {runs} runs without a fault {differing} differed from the golden run (at most {:.1} % with 95 % confidence), {unequal} in their \
             exits or instructions",
            high * 100.0
        );
    }
    text
}

/// The page.
pub(super) fn page(tables: &Tables<'_>) -> String {
    let mut text = format!("# {}\n\n{}\n", tables.campaign, summary(tables).replacen("\n\n", "\n\n```\n", 1) + "```\n");
    text += "\n## Faults, servers, outcomes\n\nUnnoticed: masked or recovered, of the runs with a fault, with Wilson's interval of 95 %; likewise \
             of the faults, each of which counts for itself.\n\n";
    text += &row(["phase", "fault", "server", "runs", "injected", "detected", "recovered"]
        .map(str::to_owned)
        .into_iter()
        .chain(Outcome::ALL.map(|outcome| outcome.name().to_owned()))
        .chain(["unnoticed", "95 %", "faults", "95 %"].map(str::to_owned)));
    text += &row(std::iter::repeat_n("---".to_owned(), 7 + Outcome::ALL.len() + 4));
    for ((phase, fault, server), cell) in &tables.cells {
        let figures =
            [cell.runs, cell.injected, cell.detected, cell.recovered].into_iter().chain(Outcome::ALL.map(|o| cell.of(o)));
        let shares = [(cell.unnoticed(), cell.activated), (cell.injected_unnoticed, cell.injected)];
        let interval = shares.iter().flat_map(|(hits, all)| [format!("{hits}/{all}"), percent(wilson(*hits, *all))]);
        text += &row([phase, fault, server].map(Clone::clone).into_iter().chain(figures.map(|n| n.to_string())).chain(interval));
    }
    text += "\n## Latencies, in ticks (instructions)\n\n";
    text += &row(["", "n", "median", "90 %", "99 %", "most"].map(str::to_owned).into_iter());
    text += &row(std::iter::repeat_n("---".to_owned(), 6));
    for latency in &tables.latencies {
        let figures = latency.figures().map(|value| value.map_or_else(String::new, |value| value.to_string()));
        text += &row(std::iter::once(latency.name.clone()).chain(figures));
    }
    text += "\n## Cases that are neither masked nor recovered\n\n";
    for case in &tables.cases {
        let faults: Vec<String> = case.faults.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "### {}: {}\n\n`{}`; it ended with {}. `{}`\n",
            case.id,
            case.outcome.name(),
            faults.join("`, `"),
            case.end,
            case.replay
        );
        if let Some(difference) = &case.difference {
            let _ = writeln!(text, "Line {}: golden `{:?}`, here `{:?}`\n", difference.line, difference.golden, difference.here);
        }
        let dump: Vec<&str> = case.dump.iter().take(DUMP).map(String::as_str).collect();
        if !dump.is_empty() {
            let _ = writeln!(text, "```\n{}\n```\n", dump.join("\n"));
        }
    }
    text += "\n## What the runs depend on\n\n";
    let _ = writeln!(text, "- plan: `{}`\n- source: {}", tables.plan, tables.sources());
    for (phase, depends) in &tables.depends {
        let _ = writeln!(text, "- {phase}: `{}`", serde_json::to_string(depends).unwrap_or_default());
    }
    text
}

/// An interval in percent.
pub(super) fn percent((low, high): (f64, f64)) -> String {
    format!("{:.1} to {:.1}", low * 100.0, high * 100.0)
}

fn row(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.collect();
    format!("| {} |\n", cells.join(" | "))
}
