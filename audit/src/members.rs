//! Plain `cargo test` tests every crate that the host can run.

use crate::findings::Findings;
use crate::workspace::{BARE, Workspace};

/// Compares the default members with the members.
pub(crate) fn check(workspace: &Workspace, findings: &mut Findings) {
    for package in &workspace.packages {
        let default = workspace.default_members.contains(&package.id);
        let bare = BARE.contains(&package.name.as_str());
        if !default && !bare {
            findings.problem(format_args!(
                "{}: not among the default members, so `cargo test` forgets it",
                package.name
            ));
        }
        if default && bare {
            findings.problem(format_args!(
                "{}: among the default members, but the host cannot build it",
                package.name
            ));
        }
    }
}
