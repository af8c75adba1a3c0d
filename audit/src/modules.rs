//! A crate's modules, followed from its root as the compiler does, so that only what is built is counted.

use std::path::{Path, PathBuf};

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Attribute, ImplItem, Item, Meta};

use crate::Error;
use crate::count::Tally;

/// Under which condition code is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It belongs to every build.
    Always,
    /// It belongs to tests.
    Test,
    /// It belongs to an optional feature.
    Feature(String),
}

impl Condition {
    /// What attributes say. A condition that is neither `test` nor one feature alone does not excuse from being counted.
    fn of(attributes: &[Attribute], around: &Condition) -> Condition {
        for attribute in attributes {
            let Meta::List(list) = &attribute.meta else {
                continue;
            };
            if !list.path.is_ident("cfg") {
                continue;
            }
            if list
                .parse_args::<syn::Ident>()
                .is_ok_and(|ident| ident == "test")
            {
                return Condition::Test;
            }
            if let Ok(pair) = list.parse_args::<syn::MetaNameValue>()
                && pair.path.is_ident("feature")
                && let syn::Expr::Lit(syn::ExprLit {
                    lit: syn::Lit::Str(name),
                    ..
                }) = &pair.value
            {
                return Condition::Feature(name.value());
            }
        }
        around.clone()
    }
}

/// Counts all modules from the root at `path` on.
pub(crate) fn count(path: &Path, tally: &mut Tally) -> Result<(), Error> {
    let directory = path.parent().unwrap_or(path);
    file(path, directory, &Condition::Always, tally)
}

/// Counts one file, whose modules are in `directory`, and those.
fn file(
    path: &Path,
    directory: &Path,
    condition: &Condition,
    tally: &mut Tally,
) -> Result<(), Error> {
    let failed = |why: String| Error::File {
        path: path.to_owned(),
        why,
    };
    let source = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let syntax = syn::parse_file(&source).map_err(|error| failed(error.to_string()))?;
    let condition = Condition::of(&syntax.attrs, condition);
    let mut parts = Parts::default();
    for attribute in syntax.attrs {
        parts.take(&condition, attribute);
    }
    parts.items(syntax.items, directory, &condition);
    tally.add(&path.display().to_string(), &source, parts.tokens);
    for (name, directory, condition) in parts.files {
        let beside = directory.join(format!("{name}.rs"));
        let below = directory.join(&name).join("mod.rs");
        let path = if beside.is_file() { beside } else { below };
        file(&path, &directory.join(name), &condition, tally)?;
    }
    Ok(())
}

/// A file taken apart by condition.
#[derive(Default)]
struct Parts {
    tokens: Vec<(Condition, TokenStream)>,
    /// Modules in files of their own: name, where they are, condition.
    files: Vec<(String, PathBuf, Condition)>,
}

impl Parts {
    fn take(&mut self, condition: &Condition, tokens: impl ToTokens) {
        self.tokens
            .push((condition.clone(), tokens.into_token_stream()));
    }

    fn items(&mut self, items: Vec<Item>, directory: &Path, around: &Condition) {
        for item in items {
            match item {
                Item::Mod(mut module) => {
                    let condition = Condition::of(&module.attrs, around);
                    let name = module.ident.to_string();
                    match &mut module.content {
                        Some((_, items)) => {
                            self.items(std::mem::take(items), &directory.join(name), &condition)
                        }
                        None if condition != Condition::Test => {
                            self.files
                                .push((name, directory.to_owned(), condition.clone()))
                        }
                        None => {}
                    }
                    self.take(&condition, module);
                }
                Item::Impl(mut block) => {
                    let condition = Condition::of(&block.attrs, around);
                    for item in std::mem::take(&mut block.items) {
                        self.take(&Condition::of(member(&item), &condition), item);
                    }
                    self.take(&condition, block);
                }
                item => self.take(&Condition::of(attributes(&item), around), item),
            }
        }
    }
}

fn member(item: &ImplItem) -> &[Attribute] {
    match item {
        ImplItem::Const(item) => &item.attrs,
        ImplItem::Fn(item) => &item.attrs,
        ImplItem::Type(item) => &item.attrs,
        ImplItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::Count;

    fn tally(name: &str, files: &[(&str, &str)]) -> Tally {
        let directory =
            std::env::temp_dir().join(format!("atoll-audit-{name}-{}", std::process::id()));
        for (name, text) in files {
            let path = directory.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut tally = Tally::default();
        count(&directory.join("lib.rs"), &mut tally).unwrap();
        std::fs::remove_dir_all(directory).unwrap();
        tally
    }

    #[test]
    fn modules_are_found_where_the_compiler_finds_them() {
        let files = [
            ("lib.rs", "mod a;\n"),
            ("a.rs", "mod b;\nfn a() {}\n"),
            ("a/b.rs", "fn b() {}\n"),
            ("lost.rs", "fn c() {}\n"),
        ];
        assert_eq!(tally("found", &files).always.lines, 4);
    }

    #[test]
    fn tests_are_not_counted_in_the_file_or_beside_it() {
        let inside = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn t() { unsafe { a() } }\n}\n";
        let files = [
            ("lib.rs", &*format!("#[cfg(test)]\nmod more;\n{inside}")),
            ("more.rs", "fn m() {}\n"),
        ];
        assert_eq!(
            tally("tests", &files).always,
            Count {
                lines: 1,
                unsafe_blocks: 0
            }
        );
    }

    #[test]
    fn an_optional_feature_is_counted_apart_with_its_file() {
        let lib = "#[cfg(feature = \"tracing\")]\nmod trace;\nimpl T {\n    #[cfg(feature = \"tracing\")]\n    fn f() {}\n    fn g() {}\n}\n";
        let tally = tally("features", &[("lib.rs", lib), ("trace.rs", "fn a() {}\n")]);
        assert_eq!(tally.always.lines, 3);
        assert_eq!(tally.features["tracing"].lines, 5);
    }

    #[test]
    fn a_mixed_condition_counts() {
        let tally = tally(
            "mixed",
            &[(
                "lib.rs",
                "#[cfg(any(test, feature = \"tracing\"))]\nfn a() {}\n",
            )],
        );
        assert_eq!(tally.always.lines, 2);
    }
}
