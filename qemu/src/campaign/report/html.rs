//! The report as one HTML file that needs nothing else.

use std::fmt::Write;

use super::markdown::percent;
use super::plots;
use super::statistics::wilson;
use super::tables::Tables;
use crate::campaign::outcome::Outcome;
use crate::error::Result;

const STYLE: &str = "body{font:15px/1.4 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}table{border-collapse:collapse;font-size:13px}\
td,th{border:1px solid #ccc;padding:2px 6px;text-align:right}td:nth-child(-n+3),th:nth-child(-n+3){text-align:left}\
pre{background:#f4f4f4;padding:.6em;overflow:auto;font-size:12px}.zero{color:#bbb}svg{max-width:100%;height:auto}";

/// The page.
pub(super) fn page(tables: &Tables<'_>) -> Result<String> {
    let mut body = format!(
        "<h1>{}</h1>\n<pre>{}</pre>\n",
        escaped(&tables.campaign),
        escaped(&super::markdown::summary(tables))
    );
    if !tables.cells.is_empty() {
        body += "<h2>Outcomes</h2>\n";
        body += &plots::outcomes(tables)?;
    }
    body += "\n<h2>Faults, servers, outcomes</h2>\n<p>Unnoticed: masked or recovered, of the runs with a fault, with Wilson's interval of 95 %; likewise of the faults, each of which counts for itself.</p>\n<table><tr>";
    let heads = [
        "phase",
        "fault",
        "server",
        "runs",
        "injected",
        "detected",
        "recovered",
    ];
    for head in heads
        .into_iter()
        .chain(Outcome::ALL.map(Outcome::name))
        .chain(["unnoticed", "95 %", "faults", "95 %"])
    {
        let _ = write!(body, "<th>{head}</th>");
    }
    body += "</tr>\n";
    for ((phase, fault, server), cell) in &tables.cells {
        let _ = write!(
            body,
            "<tr><td>{}</td><td>{}</td><td>{}</td>",
            escaped(phase),
            escaped(fault),
            escaped(server)
        );
        let counts = [cell.runs, cell.injected, cell.detected, cell.recovered]
            .into_iter()
            .chain(Outcome::ALL.map(|o| cell.of(o)));
        for count in counts {
            let class = if count == 0 { " class=zero" } else { "" };
            let _ = write!(body, "<td{class}>{count}</td>");
        }
        for (hits, all) in [
            (cell.unnoticed(), cell.activated),
            (cell.injected_unnoticed, cell.injected),
        ] {
            let _ = write!(
                body,
                "<td>{hits}/{all}</td><td>{}</td>",
                percent(wilson(hits, all))
            );
        }
        body += "</tr>\n";
    }
    body += "</table>\n";
    if !tables.latencies.is_empty() {
        body += "<h2>Latencies</h2>\n";
        body += &plots::latencies(&tables.latencies)?;
        body += "<table><tr><th></th><th>n</th><th>median</th><th>90 %</th><th>99 %</th><th>most</th></tr>\n";
        for latency in &tables.latencies {
            let _ = write!(body, "<tr><td>{}</td>", escaped(&latency.name));
            for figure in latency.figures() {
                let _ = write!(
                    body,
                    "<td>{}</td>",
                    figure.map_or_else(String::new, |figure| figure.to_string())
                );
            }
            body += "</tr>\n";
        }
        body += "</table>\n";
    }
    let _ = writeln!(
        body,
        "<h2>Cases that are neither masked nor recovered: {}</h2>",
        tables.cases.len()
    );
    for case in &tables.cases {
        let faults: Vec<String> = case.faults.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            body,
            "<details><summary>{}: <b>{}</b> ({})</summary><pre>{}\nended with: {}\n{}\ndifference: {:?}\n\n{}\n\nconsole:\n{}</pre></details>",
            escaped(&case.id),
            case.outcome.name(),
            escaped(&case.end),
            escaped(&faults.join("\n")),
            escaped(&case.end),
            escaped(&case.replay),
            case.difference.as_ref().map(|difference| (
                difference.line,
                escaped(&format!("{:?}", difference.golden)),
                escaped(&format!("{:?}", difference.here))
            )),
            escaped(&case.dump.join("\n")),
            escaped(&case.tail.join("\n")),
        );
    }
    body += "<h2>What the runs depend on</h2>\n<pre>";
    let _ = writeln!(
        body,
        "plan: {}\nsource: {}",
        tables.plan,
        escaped(&tables.sources())
    );
    for (phase, depends) in &tables.depends {
        let _ = writeln!(
            body,
            "{}: {}",
            escaped(phase),
            escaped(&serde_json::to_string_pretty(depends).unwrap_or_default())
        );
    }
    body += "</pre>\n";
    Ok(format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8><title>{}</title><style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n",
        escaped(&tables.campaign)
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_printed_cannot_become_part_of_the_page() {
        assert_eq!(escaped("<script>&"), "&lt;script&gt;&amp;");
    }
}
