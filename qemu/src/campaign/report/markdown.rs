//! The report as Markdown.

use std::fmt::Write;

use super::statistics::wilson;
use super::tables::{Cell, Tables};
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
    text
}

/// The page.
pub(super) fn page(tables: &Tables<'_>) -> String {
    let mut text = format!("# {}\n\n{}\n", tables.campaign, summary(tables).replace("\n\n", "\n\n```\n") + "```\n");
    text += "\n## Faults, servers, outcomes\n\nUnnoticed: masked or recovered, of the runs with a fault, with Wilson's interval of 95 %.\n\n";
    text += &row(["phase", "fault", "server", "runs", "injected", "detected", "recovered"]
        .map(str::to_owned)
        .into_iter()
        .chain(Outcome::ALL.map(|outcome| outcome.name().to_owned()))
        .chain(["unnoticed".to_owned(), "95 %".to_owned()]));
    text += &row(std::iter::repeat_n("---".to_owned(), 7 + Outcome::ALL.len() + 2));
    for ((phase, fault, server), cell) in &tables.cells {
        let (low, high) = wilson(cell.unnoticed(), cell.activated);
        let figures =
            [cell.runs, cell.injected, cell.detected, cell.recovered].into_iter().chain(Outcome::ALL.map(|o| cell.of(o)));
        let interval = [format!("{}/{}", cell.unnoticed(), cell.activated), format!("{:.1} to {:.1}", low * 100.0, high * 100.0)];
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
    let _ = writeln!(text, "- plan: `{}`", tables.plan);
    for (phase, depends) in &tables.depends {
        let _ = writeln!(text, "- {phase}: `{}`", serde_json::to_string(depends).unwrap_or_default());
    }
    text
}

fn row(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.collect();
    format!("| {} |\n", cells.join(" | "))
}
