//! Documents lead to files that are there: by links, and by the paths that they name.

use pulldown_cmark::{Event, Parser, Tag};

use crate::Error;
use crate::findings::Findings;
use crate::git;
use crate::workspace::Workspace;

/// Follows the links and paths of every document of the repository.
pub(crate) fn check(workspace: &Workspace, findings: &mut Findings) -> Result<(), Error> {
    let (mut followed, mut found) = (0, 0);
    let is_root = |name: &str| name != "." && workspace.root.join(name).is_dir();
    for (name, text) in git::files(&workspace.root, "*.md")? {
        let file = workspace.root.join(&name);
        for path in links(&text) {
            followed += 1;
            if !file.with_file_name(&path).exists() {
                findings.problem(format_args!("{name}: '{path}' is not there"));
            }
        }
        for path in named(&text, is_root) {
            found += 1;
            if !workspace.root.join(&path).exists() {
                findings.problem(format_args!("{name}: `{path}` is not there"));
            }
        }
    }
    findings.figure(format_args!(
        "links from documents to files: {followed}, and paths that they name: {found}"
    ));
    Ok(())
}

/// The paths that a document links to: neither other places of its own, nor other hosts.
fn links(text: &str) -> Vec<String> {
    let links = Parser::new(text).filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url),
        _ => None,
    });
    let links = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
    links
        .map(|link| link.split('#').next().unwrap_or_default().to_owned())
        .collect()
}

/// The paths from the repository's root that a document names as code; not those in which a word in capitals, or a star, stands for something.
fn named(text: &str, is_root: impl Fn(&str) -> bool) -> Vec<String> {
    let code = Parser::new(text).filter_map(|event| match event {
        Event::Code(code) => Some(code),
        _ => None,
    });
    let is_path = |text: &str| {
        let plain = |letter: char| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || "/._-".contains(letter)
        };
        let names = text
            .split('/')
            .all(|part| part.chars().all(plain) || part.ends_with(".md") || part == "Cargo.toml");
        names
            && text
                .split_once('/')
                .is_some_and(|(first, _)| is_root(first))
    };
    code.filter(|text| is_path(text))
        .map(|text| text.to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_followed_without_their_fragments() {
        let text = "[a](x.md), [b](y/z.md#part), [c](#here), [d](https://example.org/q.md), `[e](code.md)`";
        assert_eq!(links(text), ["x.md", "y/z.md"]);
    }

    #[test]
    fn paths_that_are_named_are_those_that_begin_in_the_root_and_stand_for_themselves() {
        let text = "`kernel/src/boot.rs`, `audit/`, `protocol/CHANGELOG.md`, but `boot/entry.rs`, `kernel/NAME.rs`, `servers/*`, `cargo run`,\n```\n`kernel/no.rs`\n```\n";
        let is_root = |name: &str| ["kernel", "audit", "protocol", "servers"].contains(&name);
        assert_eq!(
            named(text, is_root),
            ["kernel/src/boot.rs", "audit/", "protocol/CHANGELOG.md"]
        );
    }
}
