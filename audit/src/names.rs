//! What the names in a crate stand for: which file defines what a path leads to. A name that is only given on (`pub use`) leads to where it
//! comes from.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::{Item, UseTree, Visibility};

use crate::modules::{Code, File};

/// A module's path from the crate's root, or any other path: its segments.
pub(crate) type Path = Vec<String>;

/// Re-exports that lead to one another end somewhere; names that go round in a circle do not compile.
const DEPTH: usize = 32;

/// All names of a crate.
pub(crate) struct Names {
    modules: BTreeMap<Path, Module>,
}

/// Names of a module.
#[derive(Default)]
struct Module {
    /// The file that it stands in, by its place among the crate's.
    file: usize,
    items: Vec<String>,
    /// Names from elsewhere, and the paths that they are for.
    imports: Vec<(String, Path)>,
    /// Paths of which every name is taken over.
    globs: Vec<Path>,
}

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Module(Path),
    /// Something that is defined in this module.
    Item(Path),
}

/// One name that a `use` brings in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// The path.
    pub(crate) path: Path,
    /// The name that it has from now on; `None` is all names below the path.
    pub(crate) name: Option<String>,
}

impl Names {
    /// Those of the crate that consists of these files.
    pub(crate) fn of(files: &[File]) -> Self {
        let mut modules: BTreeMap<Path, Module> = BTreeMap::new();
        for (place, file) in files.iter().enumerate() {
            modules.entry(file.module.clone()).or_default().file = place;
            for part in file.built() {
                let Code::Item(item) = &part.code else {
                    continue;
                };
                let module = modules.entry(part.module.clone()).or_default();
                module.file = place;
                if let Item::Use(item) = item {
                    for import in imports(&item.tree) {
                        match import.name {
                            Some(name) => module.imports.push((name, import.path)),
                            None => module.globs.push(import.path),
                        }
                    }
                }
                module.items.extend(name_of(item));
                if let Item::Mod(inner) = item {
                    let path = part.module.iter().cloned().chain([inner.ident.to_string()]);
                    modules.entry(path.collect()).or_default().file = place;
                }
            }
        }
        Self { modules }
    }

    /// The file that defines what a path leads to, as it is written in a module; `None` if that is in no module of this crate.
    pub(crate) fn file_of(&self, from: &Path, path: &[String]) -> Option<usize> {
        let (Target::Item(module) | Target::Module(module)) = self.locate(from, path, DEPTH)?;
        Some(self.modules.get(&module)?.file)
    }

    /// Whether a path leads to a module.
    pub(crate) fn is_module(&self, from: &Path, path: &[String]) -> bool {
        matches!(self.locate(from, path, DEPTH), Some(Target::Module(_)))
    }

    fn locate(&self, from: &Path, path: &[String], depth: usize) -> Option<Target> {
        let depth = depth.checked_sub(1)?;
        let mut start = from.clone();
        let mut rest = path;
        let mut is_absolute = false;
        while let [first, more @ ..] = rest {
            match first.as_str() {
                "crate" => start.clear(),
                "self" => {}
                "super" => {
                    start.pop();
                }
                _ => break,
            }
            is_absolute = true;
            rest = more;
        }
        let found = self.descend(&start, rest, depth);
        // What a macro defines has no item of its own: it is taken for the module's that the path names.
        found.or_else(|| is_absolute.then_some(Target::Item(start)))
    }

    fn descend(&self, module: &Path, rest: &[String], depth: usize) -> Option<Target> {
        let [first, more @ ..] = rest else {
            return Some(Target::Module(module.clone()));
        };
        let names = self.modules.get(module)?;
        let below: Path = module.iter().cloned().chain([first.clone()]).collect();
        if self.modules.contains_key(&below) {
            return self
                .descend(&below, more, depth)
                .or(Some(Target::Item(below)));
        }
        if names.items.contains(first) {
            return Some(Target::Item(module.clone()));
        }
        if let Some((_, path)) = names.imports.iter().find(|(name, _)| name == first) {
            // `use events::Event` in a module without `events` is about another crate.
            return match self.locate(module, path, depth)? {
                Target::Module(module) => self.descend(&module, more, depth),
                item => Some(item),
            };
        }
        names.globs.iter().find_map(|path| {
            match self.locate(module, path, depth.checked_sub(1)?)? {
                Target::Module(from) if from != *module => self.descend(&from, rest, depth - 1),
                _ => None,
            }
        })
    }
}

/// The name that an item defines in its module.
fn name_of(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Macro(item) => item.ident.as_ref()?.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        Item::Union(item) => item.ident.to_string(),
        _ => return None,
    })
}

/// Whether a `use` gives its names on, instead of using them.
pub(crate) fn is_given_on(visibility: &Visibility) -> bool {
    !matches!(visibility, Visibility::Inherited)
}

/// All names that a `use` brings in.
pub(crate) fn imports(tree: &UseTree) -> Vec<Import> {
    let mut found = Vec::new();
    collect(tree, Vec::new(), &mut found);
    found
}

fn collect(tree: &UseTree, mut before: Path, found: &mut Vec<Import>) {
    match tree {
        UseTree::Path(step) => {
            before.push(step.ident.to_string());
            collect(&step.tree, before, found);
        }
        UseTree::Name(last) => {
            if last.ident != "self" {
                before.push(last.ident.to_string());
            }
            let name = before.last().cloned();
            found.push(Import { path: before, name });
        }
        UseTree::Rename(last) => {
            if last.ident != "self" {
                before.push(last.ident.to_string());
            }
            found.push(Import {
                path: before,
                name: Some(last.rename.to_string()),
            });
        }
        UseTree::Glob(_) => found.push(Import {
            path: before,
            name: None,
        }),
        UseTree::Group(group) => {
            for tree in &group.items {
                collect(tree, before.clone(), found);
            }
        }
    }
}

/// All paths of at least two segments in code, those in macros' arguments included.
pub(crate) fn paths(tokens: TokenStream) -> Vec<Path> {
    let mut found = Vec::new();
    let mut path = Path::new();
    // Colons since the last name; a path goes on behind two.
    let mut colons = 0;
    let mut ends = |path: &mut Path| {
        if path.len() > 1 {
            found.push(std::mem::take(path));
        }
        path.clear();
    };
    let mut inner = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                // Behind `Type::<..>::` there is something of the type's.
                if colons != 2 {
                    ends(&mut path);
                } else if path.is_empty() {
                    colons = 0;
                    continue;
                }
                path.push(ident.to_string());
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            other => {
                ends(&mut path);
                colons = 0;
                if let TokenTree::Group(group) = other {
                    inner.push(group.stream());
                }
            }
        }
    }
    ends(&mut path);
    found.extend(inner.into_iter().flat_map(paths));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sample;

    fn path(text: &str) -> Path {
        text.split("::").map(str::to_owned).collect()
    }

    #[test]
    fn a_use_brings_in_each_of_its_names() {
        let item: syn::ItemUse =
            syn::parse_str("use crate::a::{self, b::C as D, e::*, F};").unwrap();
        let found: Vec<_> = imports(&item.tree)
            .into_iter()
            .map(|import| (import.path.join("::"), import.name))
            .collect();
        let expected = [
            ("crate::a", Some("a")),
            ("crate::a::b::C", Some("D")),
            ("crate::a::e", None),
            ("crate::a::F", Some("F")),
        ];
        let expected: Vec<_> = expected
            .map(|(path, name)| (path.to_owned(), name.map(str::to_owned)))
            .into();
        assert_eq!(found, expected);
    }

    #[test]
    fn paths_are_found_in_types_calls_and_macros() {
        let code = "fn f(a: x::A) -> Vec<y::B> { m!(z::g(1), c); Vec::<u8>::new(); a.b(w::C { d: e }); h::<v::D>() }";
        let found: Vec<_> = paths(code.parse().unwrap())
            .iter()
            .map(|path| path.join("::"))
            .collect();
        let mut sorted = found.clone();
        sorted.sort();
        assert_eq!(sorted, ["v::D", "w::C", "x::A", "y::B", "z::g"]);
    }

    #[test]
    fn a_path_leads_through_re_exports_to_the_file_that_defines_it() {
        let files = sample(&[
            ("lib.rs", "mod a;\nmod b;\npub use a::A;\nmake!(M);\n"),
            ("a.rs", "mod c;\npub use c::*;\n"),
            ("a/c.rs", "pub struct A;\n"),
            ("b.rs", "use crate::{a, a::c};\nfn f() {}\n"),
        ]);
        let names = Names::of(&files);
        let place = |from: &str, to: &str| {
            let from = if from.is_empty() {
                Path::new()
            } else {
                path(from)
            };
            names.file_of(&from, &path(to))
        };
        assert_eq!(place("b", "crate::A"), Some(2));
        assert_eq!(place("b", "super::a::A"), Some(2));
        assert_eq!(place("b", "a::A"), Some(2));
        assert_eq!(place("b", "c::A::new"), Some(2));
        assert_eq!(place("", "b::f"), Some(3));
        assert_eq!(place("b", "crate::M"), Some(0), "of a macro");
        assert_eq!(place("b", "core::mem"), None, "of another crate");
    }
}
