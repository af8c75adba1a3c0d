//! The records as a table for other programs: one line each.

use crate::campaign::grammar::Fault;
use crate::campaign::record::Record;

/// The page.
pub(super) fn page(records: &[Record]) -> String {
    let mut text = String::from(
        "id,phase,fault,server,faults,outcome,end,injected,detected,recovered,detect_ticks,restart_ticks,recover_ticks,blackout_ticks,exits,ticks\n",
    );
    for record in records {
        let first = record.faults.first();
        let all: Vec<String> = record.faults.iter().map(ToString::to_string).collect();
        let number = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
        let list = |values: &[u64]| {
            values
                .iter()
                .map(u64::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let fields = [
            record.id.clone(),
            record.phase.clone(),
            first.map_or_else(String::new, Fault::what),
            first
                .and_then(|fault| fault.server.clone())
                .unwrap_or_default(),
            all.join("; "),
            record.outcome.name().to_owned(),
            record.end.clone(),
            record.injected.to_string(),
            record.detected.to_string(),
            record.recovered.to_string(),
            list(&record.detect_ticks),
            list(&record.restart_ticks),
            list(&record.recover_ticks),
            list(&record.blackout_ticks),
            number(record.exits),
            number(record.ticks),
        ];
        let line: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
        text += &line.join(",");
        text.push('\n');
    }
    text
}

/// A field as RFC 4180 wants it.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_with_a_comma_or_a_quote_is_quoted() {
        assert_eq!(quoted("a"), "a");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
