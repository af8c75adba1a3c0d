//! The report as Markdown.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::statistics::wilson;
use super::tables::{Cell, Floor, Tables};
use crate::campaign::outcome::Outcome;

/// Lines of a case's dump that are shown.
const DUMP: usize = 30;

/// Counts and outcomes only.
pub(super) fn summary(tables: &Tables<'_>) -> String {
    let mut text = String::new();
    let Cell {
        runs,
        injected,
        activated,
        manifested,
        detected,
        recovered,
        ..
    } = &tables.all;
    let _ = writeln!(
        text,
        "{runs} runs, {activated} of them with a fault; {injected} faults injected, {detected} servers' faults detected, {recovered} recoveries; \
         {manifested} runs in which a fault manifested itself\n"
    );
    for outcome in Outcome::ALL {
        let count = tables.all.of(outcome);
        let _ = writeln!(text, "{count:>8}  {}", outcome.name());
    }
    let Floor {
        runs,
        differing,
        unequal,
    } = tables.floor;
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

/// What fits a few pages: all but the single cells and cases.
pub(super) fn brief(tables: &Tables<'_>) -> String {
    let mut text = format!(
        "# {}\n\n{}\n",
        tables.campaign,
        summary(tables).replacen("\n\n", "\n\n```\n", 1) + "```\n"
    );
    text += "\n## Faults and outcomes\n\nUnnoticed: masked or recovered, of the runs with a fault, with Wilson's interval of 95 %; likewise \
             of the faults, each of which counts for itself.\n\n";
    text += &heads(["phase", "fault"], tables);
    for ((phase, fault), cell) in &tables.faults {
        text += &outcomes([phase, fault], cell, tables);
    }
    for phase in tables.depends.keys() {
        text += &matrix(phase, tables);
    }
    text += "\n## Latencies, in ticks (instructions)\n\nDetect: from the injection to the fault; restart: from there until the server has \
             started; recover: until its first answer; blackout: as long as a server was held for its successor.\n\n";
    text += &row(["", "n", "median", "90 %", "99 %", "most"]
        .map(str::to_owned)
        .into_iter());
    text += &row(std::iter::repeat_n("---".to_owned(), 6));
    for latency in &tables.latencies {
        let figures = latency
            .figures()
            .map(|value| value.map_or_else(String::new, |value| value.to_string()));
        text += &row(std::iter::once(latency.name.clone()).chain(figures));
    }
    text += "\n## What the runs depend on\n\n";
    let _ = writeln!(
        text,
        "- plan: `{}`\n- source: {}",
        tables.plan,
        tables.sources()
    );
    for (phase, depends) in &tables.depends {
        let _ = writeln!(
            text,
            "- {phase}: `{}`",
            serde_json::to_string(depends).unwrap_or_default()
        );
    }
    text
}

/// The page.
pub(super) fn page(tables: &Tables<'_>) -> String {
    let mut text = brief(tables);
    text += "\n## Faults, servers, outcomes\n\n";
    text += &heads(["phase", "fault", "server"], tables);
    for ((phase, fault, server), cell) in &tables.cells {
        text += &outcomes([phase, fault, server], cell, tables);
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
            let _ = writeln!(
                text,
                "Line {}: golden `{:?}`, here `{:?}`\n",
                difference.line, difference.golden, difference.here
            );
        }
        let dump: Vec<&str> = case.dump.iter().take(DUMP).map(String::as_str).collect();
        if !dump.is_empty() {
            let _ = writeln!(text, "```\n{}\n```\n", dump.join("\n"));
        }
    }
    text
}

/// The outcomes that there are.
fn classes(tables: &Tables<'_>) -> impl Iterator<Item = Outcome> {
    Outcome::ALL
        .into_iter()
        .filter(|outcome| tables.all.of(*outcome) > 0)
}

fn heads<const N: usize>(names: [&'static str; N], tables: &Tables<'_>) -> String {
    let counts = ["runs", "injected", "detected", "recovered"]
        .into_iter()
        .chain(classes(tables).map(Outcome::name));
    let heads: Vec<_> = names
        .into_iter()
        .chain(counts)
        .chain(["unnoticed", "95 %", "faults", "95 %"])
        .map(str::to_owned)
        .collect();
    let rule = std::iter::repeat_n("---".to_owned(), heads.len());
    row(heads.into_iter()) + &row(rule)
}

fn outcomes<const N: usize>(names: [&String; N], cell: &Cell, tables: &Tables<'_>) -> String {
    let counts = [cell.runs, cell.injected, cell.detected, cell.recovered].into_iter();
    let counts = counts
        .chain(classes(tables).map(|outcome| cell.of(outcome)))
        .map(|count| count.to_string());
    let shares = [
        (cell.unnoticed(), cell.activated),
        (cell.injected_unnoticed, cell.injected),
    ];
    let shares = shares
        .iter()
        .flat_map(|(hits, all)| [format!("{hits}/{all}"), percent(wilson(*hits, *all))]);
    row(names
        .map(Clone::clone)
        .into_iter()
        .chain(counts)
        .chain(shares))
}

/// How many faults were injected: a row for each fault, a column for each server.
fn matrix(phase: &str, tables: &Tables<'_>) -> String {
    let cells = || {
        tables
            .cells
            .iter()
            .filter(|((other, ..), _)| other == phase)
    };
    let servers: BTreeSet<&str> = cells().map(|((_, _, server), _)| server.as_str()).collect();
    let faults: BTreeSet<&str> = cells().map(|((_, fault, _), _)| fault.as_str()).collect();
    let mut text = format!(
        "\n## Faults injected in '{phase}'\n\nWhere the guest noticed some: those that it did not, of all.\n\n{}{}",
        row(std::iter::once("")
            .chain(servers.iter().copied())
            .map(str::to_owned)),
        row(std::iter::repeat_n("---".to_owned(), servers.len() + 1)),
    );
    for fault in faults {
        let figures = servers.iter().map(|server| {
            let cell =
                tables
                    .cells
                    .get(&(phase.to_owned(), fault.to_owned(), (*server).to_owned()));
            cell.map_or_else(String::new, |cell| {
                match (cell.injected_unnoticed, cell.injected) {
                    (unnoticed, all) if unnoticed == all => all.to_string(),
                    (unnoticed, all) => format!("{unnoticed}/{all}"),
                }
            })
        });
        text += &row(std::iter::once(fault.to_owned()).chain(figures));
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
