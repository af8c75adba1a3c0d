//! Lines of code and unsafe blocks, counted by tokens: a line counts if a token other than documentation is on it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};

use crate::modules::{Condition, File};

/// What code amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Lines with code on them.
    pub(crate) lines: usize,
    /// Blocks, `impl`s and `extern`s that are unsafe.
    pub(crate) unsafe_blocks: usize,
}

/// Counts by the condition under which code is built.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// What every build has.
    pub(crate) always: Count,
    /// What only an optional feature brings, by its name.
    pub(crate) features: BTreeMap<String, Count>,
    /// Where unsafe code does not say why it is sound: the file, and the line.
    pub(crate) undocumented: Vec<(PathBuf, usize)>,
}

impl Count {
    pub(crate) fn add(&mut self, other: &Count) {
        self.lines += other.lines;
        self.unsafe_blocks += other.unsafe_blocks;
    }
}

impl Tally {
    /// Where to count what is built under a condition; nowhere if it belongs to tests.
    fn of(&mut self, condition: &Condition) -> Option<&mut Count> {
        match condition {
            Condition::Always => Some(&mut self.always),
            Condition::Feature(name) => Some(self.features.entry(name.clone()).or_default()),
            Condition::Test => None,
        }
    }

    /// Counts one file.
    pub(crate) fn add(&mut self, file: &File) {
        let source: Vec<&str> = file.source.lines().collect();
        let mut by_condition: Vec<(Condition, Found)> = Vec::new();
        for part in &file.parts {
            let condition = &part.condition;
            let place = match by_condition
                .iter()
                .position(|(other, _)| other == condition)
            {
                Some(place) => place,
                None => {
                    by_condition.push((condition.clone(), Found::default()));
                    by_condition.len() - 1
                }
            };
            by_condition[place].1.walk(part.tokens());
        }
        for (condition, found) in by_condition {
            let Some(count) = self.of(&condition) else {
                continue;
            };
            // A literal may run over lines that are empty.
            count.lines += found
                .lines
                .iter()
                .filter(|line| {
                    source
                        .get(**line - 1)
                        .is_some_and(|text| !text.trim().is_empty())
                })
                .count();
            count.unsafe_blocks += found.unsafe_at.len();
            let silent = found
                .unsafe_at
                .into_iter()
                .filter(|line| !says_why(&source, *line));
            self.undocumented
                .extend(silent.map(|line| (file.path.clone(), line)));
        }
    }
}

/// What a walk over tokens has met.
#[derive(Default)]
struct Found {
    lines: BTreeSet<usize>,
    unsafe_at: Vec<usize>,
}

impl Found {
    fn walk(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    let inner = tokens.next_if(
                        |next| matches!(next, TokenTree::Punct(next) if next.as_char() == '!'),
                    );
                    let documentation = tokens.next_if(is_documentation);
                    if documentation.is_none() {
                        self.span(punct.span());
                        inner.iter().for_each(|inner| self.span(inner.span()));
                    }
                }
                TokenTree::Group(group) => {
                    self.span(group.span_open());
                    self.span(group.span_close());
                    self.walk(group.stream());
                }
                TokenTree::Ident(ident) if ident == "unsafe" => {
                    self.span(ident.span());
                    if begins_unsafe_block(tokens.clone()) {
                        self.unsafe_at.push(ident.span().start().line);
                    }
                }
                other => self.span(other.span()),
            }
        }
    }

    fn span(&mut self, span: Span) {
        self.lines.extend(span.start().line..=span.end().line);
    }
}

/// Whether what follows `unsafe` is a block, an `impl`, or a block of foreign items; not a function or a trait.
fn begins_unsafe_block(mut after: impl Iterator<Item = TokenTree>) -> bool {
    let is_block = |token: Option<TokenTree>| matches!(token, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace);
    match after.next() {
        Some(TokenTree::Ident(next)) if next == "impl" => true,
        Some(TokenTree::Ident(next)) if next == "extern" => match after.next() {
            Some(TokenTree::Literal(_)) => is_block(after.next()),
            token => is_block(token),
        },
        token => is_block(token),
    }
}

/// `[doc = "..."]`, which is what a documentation comment is to a parser.
fn is_documentation(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else {
        return false;
    };
    let first = group.stream().into_iter().next();
    group.delimiter() == Delimiter::Bracket
        && matches!(first, Some(TokenTree::Ident(name)) if name == "doc")
}

/// Whether a SAFETY comment stands above the statement of which `line` is a part, or on that line.
fn says_why(source: &[&str], line: usize) -> bool {
    let text = |line: usize| source.get(line - 1).map_or("", |text| text.trim());
    let says = |line: usize| text(line).contains("// SAFETY:");
    if says(line) {
        return true;
    }
    let mut above = line - 1;
    // Up to where the statement begins: the line above it is a comment, is empty, or ends another statement.
    while above > 0
        && !text(above).starts_with("//")
        && !text(above).is_empty()
        && !text(above).ends_with([';', '{', '}', ','])
    {
        above -= 1;
    }
    while above > 0 && (text(above).starts_with("//") || text(above).starts_with("#[")) {
        if says(above) {
            return true;
        }
        above -= 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sample;

    fn tally(source: &str) -> Tally {
        let mut tally = Tally::default();
        for file in sample(&[("lib.rs", source)]) {
            tally.add(&file);
        }
        tally
    }

    fn undocumented(source: &str) -> Vec<usize> {
        let found = tally(source).undocumented.into_iter();
        found.map(|(_, line)| line).collect()
    }

    #[test]
    fn blanks_comments_and_documentation_are_no_code() {
        let source = "//! Header.\n\n/// Documentation.\nfn f() {\n    // A comment.\n\n    g(); /* another\n    one */\n}\n";
        assert_eq!(
            tally(source).always,
            Count {
                lines: 3,
                unsafe_blocks: 0
            }
        );
    }

    #[test]
    fn a_literal_counts_all_its_lines_but_the_empty_ones() {
        assert_eq!(
            tally("const A: &str = \"\nmov\n\nret\n\";\n").always.lines,
            4
        );
    }

    #[test]
    fn attributes_are_code() {
        assert_eq!(tally("#[inline]\nfn f() {}\n").always.lines, 2);
    }

    #[test]
    fn unsafe_blocks_are_found_in_macros_and_unsafe_functions_are_no_blocks() {
        let functions = "unsafe fn f() {}\n#[unsafe(naked)]\nunsafe extern \"C\" fn g() {}\n";
        assert_eq!(tally(functions).always.unsafe_blocks, 0);
        let blocks = "macro_rules! m { () => { unsafe { f() } } }\nunsafe impl Send for T {}\nunsafe extern \"C\" { static a: u8; }\n";
        assert_eq!(tally(blocks).always.unsafe_blocks, 3);
    }

    #[test]
    fn unsafe_code_without_its_reason_is_named() {
        let source = "fn f() {\n    unsafe { g() }\n}\n";
        assert_eq!(undocumented(source), [2]);
    }

    #[test]
    fn the_reason_stands_above_the_statement() {
        let source = "fn f() {\n    // SAFETY: it is fine,\n    // really.\n    let a =\n        unsafe { g() };\n}\n";
        assert_eq!(undocumented(source), [0; 0]);
    }

    #[test]
    fn the_reason_of_the_statement_before_is_no_reason() {
        let source =
            "fn f() {\n    // SAFETY: it is fine.\n    unsafe { g() };\n    unsafe { h() };\n}\n";
        assert_eq!(undocumented(source), [4]);
    }
}
