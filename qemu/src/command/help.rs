//! `atoll help`: the help of a sub-command, or a document, wherever the tool was installed.

use clap::CommandFactory;

use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::shown::print;

/// Documents by name, what they are about, and their text.
const DOCUMENTS: [(&str, &str, &str); 7] = [
    (
        "control",
        "looking at a running machine, and what its JSON says",
        include_str!("../../../docs/control.md"),
    ),
    (
        "campaigns",
        "faults by the thousand: plans, records, reports",
        include_str!("../../../docs/campaigns.md"),
    ),
    (
        "writing-a-server",
        "a server of one's own",
        include_str!("../../../docs/writing-a-server.md"),
    ),
    (
        "debugging",
        "GDB on a guest, the kernel or a server",
        include_str!("../../../docs/debugging.md"),
    ),
    (
        "containment",
        "what a guest and a server cannot do",
        include_str!("../../../docs/containment.md"),
    ),
    (
        "architecture",
        "how Atoll works, from one exit on",
        include_str!("../../../ARCHITECTURE.md"),
    ),
    (
        "readme",
        "what Atoll is, and how to begin",
        include_str!("../../../README.md"),
    ),
];

/// Prints what was asked for.
pub(super) fn run(topic: Option<&str>) -> Result<()> {
    let mut command = Cli::command();
    let Some(topic) = topic else {
        let documents: String = DOCUMENTS
            .iter()
            .map(|(name, about, _)| format!("  {name:<17} {about}\n"))
            .collect();
        return print(format_args!(
            "{}\nDocuments (atoll help NAME):\n{documents}",
            command.render_long_help()
        ));
    };
    if let Some((.., text)) = DOCUMENTS.iter().find(|(name, ..)| *name == topic) {
        return print(text);
    }
    let found = command
        .find_subcommand_mut(topic)
        .filter(|found| !found.is_hide_set());
    if let Some(found) = found {
        return print(found.render_long_help());
    }
    let names: Vec<&str> = DOCUMENTS.iter().map(|(name, ..)| *name).collect();
    Err(Error::Usage {
        what: format!(
            "there is no sub-command or document '{topic}'; the documents are: {}; `atoll --help` lists the sub-commands",
            names.join(", ")
        ),
    })
}
