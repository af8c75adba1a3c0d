//! A crate's modules, followed from its root as the compiler does, so that only what is built is measured; each file taken apart by the
//! condition under which its parts are built.

use std::path::{Path, PathBuf};

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Attribute, ImplItem, Item, Meta};

use crate::Error;
use crate::workspace::Package;

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

/// A file of a crate.
pub(crate) struct File {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// The module that it is, from the crate's root.
    pub(crate) module: Vec<String>,
    /// What is written there.
    pub(crate) source: String,
    /// Its parts, in order.
    pub(crate) parts: Vec<Part>,
}

/// A piece of code that is built under one condition.
pub(crate) struct Part {
    /// The condition.
    pub(crate) condition: Condition,
    /// The module that it stands in: the file's, or one that is written out in the file.
    pub(crate) module: Vec<String>,
    /// The code.
    pub(crate) code: Code,
}

/// What a part is.
pub(crate) enum Code {
    /// An attribute of a whole file.
    Attribute(Attribute),
    /// An item; an `impl` block and a module are empty here, and what they hold is parts of its own.
    Item(Item),
    /// What an `impl` block holds.
    Member(Box<ImplItem>),
}

impl File {
    /// What belongs to builds that are not tests'.
    pub(crate) fn built(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.is_built())
    }
}

impl Part {
    /// Whether it belongs to a build that is not a test's.
    fn is_built(&self) -> bool {
        self.condition != Condition::Test
    }

    /// Its tokens.
    pub(crate) fn tokens(&self) -> TokenStream {
        match &self.code {
            Code::Attribute(attribute) => attribute.to_token_stream(),
            Code::Item(item) => item.to_token_stream(),
            Code::Member(item) => item.to_token_stream(),
        }
    }
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

/// A package, read.
pub(crate) struct Crates {
    /// The package's name.
    pub(crate) package: String,
    /// What it builds: each root with its modules.
    pub(crate) roots: Vec<Vec<File>>,
}

impl Crates {
    /// Reads a package.
    pub(crate) fn of(package: &Package) -> Result<Self, Error> {
        let roots: Result<_, Error> = package.roots().map(read).collect();
        Ok(Self {
            package: package.name.clone(),
            roots: roots?,
        })
    }

    /// All its files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.roots.iter().flatten()
    }

    /// The bar that this package is held to, if it has one of its own.
    pub(crate) fn bar(&self, bars: &[(&str, usize)]) -> Option<usize> {
        let bar = bars.iter().find(|(name, _)| *name == self.package);
        bar.map(|(_, most)| *most)
    }
}

/// All files of the crate whose root is at `path`.
fn read(path: &Path) -> Result<Vec<File>, Error> {
    let directory = path.parent().unwrap_or(path);
    let mut files = Vec::new();
    follow(path, directory, Vec::new(), &Condition::Always, &mut files)?;
    Ok(files)
}

/// Reads one file, whose modules are in `directory`, and those.
fn follow(
    path: &Path,
    directory: &Path,
    module: Vec<String>,
    condition: &Condition,
    files: &mut Vec<File>,
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
        parts.take(&condition, &module, Code::Attribute(attribute));
    }
    parts.items(syntax.items, directory, &module, &condition);
    files.push(File {
        path: path.to_owned(),
        module: module.clone(),
        source,
        parts: parts.taken,
    });
    for (name, directory, condition) in parts.files {
        let beside = directory.join(format!("{name}.rs"));
        let below = directory.join(&name).join("mod.rs");
        let path = if beside.is_file() { beside } else { below };
        let module = module.iter().cloned().chain([name.clone()]).collect();
        follow(&path, &directory.join(name), module, &condition, files)?;
    }
    Ok(())
}

/// A file taken apart.
#[derive(Default)]
struct Parts {
    taken: Vec<Part>,
    /// Modules in files of their own: name, where they are, condition.
    files: Vec<(String, PathBuf, Condition)>,
}

impl Parts {
    fn take(&mut self, condition: &Condition, module: &[String], code: Code) {
        self.taken.push(Part {
            condition: condition.clone(),
            module: module.to_vec(),
            code,
        });
    }

    fn items(&mut self, items: Vec<Item>, directory: &Path, module: &[String], around: &Condition) {
        for item in items {
            match item {
                Item::Mod(mut inner) => {
                    let condition = Condition::of(&inner.attrs, around);
                    let name = inner.ident.to_string();
                    match &mut inner.content {
                        Some((_, items)) => {
                            let path: Vec<_> =
                                module.iter().cloned().chain([name.clone()]).collect();
                            let items = std::mem::take(items);
                            self.items(items, &directory.join(name), &path, &condition);
                        }
                        None if condition != Condition::Test => {
                            self.files
                                .push((name, directory.to_owned(), condition.clone()))
                        }
                        None => {}
                    }
                    self.take(&condition, module, Code::Item(Item::Mod(inner)));
                }
                Item::Impl(mut block) => {
                    let condition = Condition::of(&block.attrs, around);
                    for item in std::mem::take(&mut block.items) {
                        let condition = Condition::of(member(&item), &condition);
                        self.take(&condition, module, Code::Member(Box::new(item)));
                    }
                    self.take(&condition, module, Code::Item(Item::Impl(block)));
                }
                item => {
                    let condition = Condition::of(attributes(&item), around);
                    self.take(&condition, module, Code::Item(item));
                }
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

/// A crate for tests: its files' names, from `lib.rs` on, and what is in them.
#[cfg(test)]
pub(crate) fn sample(files: &[(&str, &str)]) -> Vec<File> {
    static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let directory =
        std::env::temp_dir().join(format!("atoll-audit-{}-{number}", std::process::id()));
    for (name, text) in files {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let read = read(&directory.join("lib.rs")).unwrap();
    std::fs::remove_dir_all(directory).unwrap();
    read
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::{Count, Tally};

    fn tally(files: &[(&str, &str)]) -> Tally {
        let mut tally = Tally::default();
        for file in sample(files) {
            tally.add(&file);
        }
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
        assert_eq!(tally(&files).always.lines, 4);
        let modules: Vec<_> = sample(&files)
            .iter()
            .map(|file| file.module.join("::"))
            .collect();
        assert_eq!(modules, ["", "a", "a::b"]);
    }

    #[test]
    fn tests_are_not_counted_in_the_file_or_beside_it() {
        let inside = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn t() { unsafe { a() } }\n}\n";
        let files = [
            ("lib.rs", &*format!("#[cfg(test)]\nmod more;\n{inside}")),
            ("more.rs", "fn m() {}\n"),
        ];
        assert_eq!(
            tally(&files).always,
            Count {
                lines: 1,
                unsafe_blocks: 0
            }
        );
    }

    #[test]
    fn an_optional_feature_is_counted_apart_with_its_file() {
        let lib = "#[cfg(feature = \"tracing\")]\nmod trace;\nimpl T {\n    #[cfg(feature = \"tracing\")]\n    fn f() {}\n    fn g() {}\n}\n";
        let tally = tally(&[("lib.rs", lib), ("trace.rs", "fn a() {}\n")]);
        assert_eq!(tally.always.lines, 3);
        assert_eq!(tally.features["tracing"].lines, 5);
    }

    #[test]
    fn a_mixed_condition_counts() {
        let lib = "#[cfg(any(test, feature = \"tracing\"))]\nfn a() {}\n";
        assert_eq!(tally(&[("lib.rs", lib)]).always.lines, 2);
    }
}
