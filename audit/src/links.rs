//! Documents lead to files that are there.

use pulldown_cmark::{Event, Parser, Tag};

use crate::Error;
use crate::findings::Findings;
use crate::git;
use crate::workspace::Workspace;

/// Follows the links of every document of the repository.
pub(crate) fn check(workspace: &Workspace, findings: &mut Findings) -> Result<(), Error> {
    let mut followed = 0;
    for (name, text) in git::files(&workspace.root, "*.md")? {
        let file = workspace.root.join(&name);
        for path in paths(&text) {
            followed += 1;
            if !file.with_file_name(&path).exists() {
                findings.problem(format_args!("{name}: '{path}' is not there"));
            }
        }
    }
    findings.figure(format_args!("links from documents to files: {followed}"));
    Ok(())
}

/// The paths that a document refers to: neither other places of its own, nor other hosts.
fn paths(text: &str) -> Vec<String> {
    let links = Parser::new(text).filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url),
        _ => None,
    });
    let links = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
    links
        .map(|link| link.split('#').next().unwrap_or_default().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_followed_without_their_fragments() {
        let text = "[a](x.md), [b](y/z.md#part), [c](#here), [d](https://example.org/q.md), `[e](code.md)`";
        assert_eq!(paths(text), ["x.md", "y/z.md"]);
    }
}
