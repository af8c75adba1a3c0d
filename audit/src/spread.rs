//! One thing in one place: a type's methods stand in the file that defines it, and a trait asks for little. Where methods of one type stand
//! in many files, every file knows all of it, though no path says so; where a trait is long, whoever needs one function needs everything.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Item, TraitItem, Type};

use crate::findings::Findings;
use crate::modules::{Code, Crates, File};

/// Most functions of a trait.
const FUNCTIONS: usize = 12;
/// Most functions of the longest trait of a package that is not there yet. These only shrink.
const LONGER: [(&str, usize); 0] = [];
/// Most files, beside the one that defines it, that may have methods of one type.
const FILES: usize = 3;
/// Most such files of a package that is not there yet. These only shrink.
const MORE_FILES: [(&str, usize); 1] = [("atoll-core", 12)];

/// Measures the kernel's packages.
pub(crate) fn check(kernel: &[Crates], findings: &mut Findings) {
    for crates in kernel {
        let package = &crates.package;
        let files: Vec<&File> = crates.files().collect();
        let traits = functions(&files);
        for (name, count) in traits.iter().filter(|(_, count)| *count > FUNCTIONS) {
            findings.figure(format_args!(
                "{package}: the trait {name} has {count} functions; the goal is {FUNCTIONS}"
            ));
        }
        findings.at_most(
            &format!("{package}: functions of the longest trait"),
            traits.iter().map(|(_, count)| *count).max().unwrap_or(0),
            crates.bar(&LONGER).unwrap_or(FUNCTIONS),
        );
        let spread = elsewhere(&files);
        for (name, files) in spread.iter().filter(|(_, files)| files.len() > FILES) {
            findings.figure(format_args!(
                "{package}: {name} has methods in {} files beside its own; the goal is {FILES}",
                files.len()
            ));
        }
        findings.at_most(
            &format!("{package}: files with methods of one type of another file"),
            spread.values().map(BTreeSet::len).max().unwrap_or(0),
            crates.bar(&MORE_FILES).unwrap_or(FILES),
        );
    }
}

/// All traits and how many functions each has.
fn functions(files: &[&File]) -> Vec<(String, usize)> {
    let parts = files.iter().flat_map(|file| file.built());
    let traits = parts.filter_map(|part| match &part.code {
        Code::Item(Item::Trait(item)) => Some(item),
        _ => None,
    });
    traits
        .map(|item| {
            let functions = item
                .items
                .iter()
                .filter(|item| matches!(item, TraitItem::Fn(_)));
            (item.ident.to_string(), functions.count())
        })
        .collect()
}

/// Types that have methods in files other than their own, by name, and these files.
fn elsewhere(files: &[&File]) -> BTreeMap<String, BTreeSet<usize>> {
    let mut defined: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let mut implemented: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (place, file) in files.iter().enumerate() {
        for part in file.built() {
            match &part.code {
                Code::Item(Item::Struct(item)) => {
                    let files = defined.entry(item.ident.to_string()).or_default();
                    files.insert(place);
                }
                Code::Item(Item::Enum(item)) => {
                    let files = defined.entry(item.ident.to_string()).or_default();
                    files.insert(place);
                }
                Code::Item(Item::Impl(block)) if block.trait_.is_none() => {
                    if let Some(name) = last_name(&block.self_ty) {
                        implemented.entry(name).or_default().insert(place);
                    }
                }
                _ => {}
            }
        }
    }
    // Of a type's name that several files define, or none, nothing can be said.
    implemented.retain(|name, files| match defined.get(name) {
        Some(own) if own.len() == 1 => {
            files.retain(|file| !own.contains(file));
            !files.is_empty()
        }
        _ => false,
    });
    implemented
}

fn last_name(of: &Type) -> Option<String> {
    match of {
        Type::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sample;

    #[test]
    fn functions_of_traits_are_counted_with_and_without_bodies() {
        let source = "trait A { const C: u8; type T; fn f(&self); fn g(&self) { self.f() } }\n#[cfg(test)]\ntrait B { fn f(); }\n";
        assert_eq!(
            functions(&sample(&[("lib.rs", source)]).iter().collect::<Vec<_>>()),
            [("A".to_owned(), 2)]
        );
    }

    #[test]
    fn methods_in_another_file_are_found_and_traits_are_no_methods_of_the_types() {
        let files = sample(&[
            (
                "lib.rs",
                "mod a;\nmod b;\nmod c;\npub struct S;\nimpl S { fn f() {} }\n",
            ),
            (
                "a.rs",
                "use crate::S;\nimpl<M> S<M> { fn g() {} }\nstruct Own;\nimpl Own { fn f() {} }\n",
            ),
            ("b.rs", "impl super::S { fn h() {} }\n"),
            (
                "c.rs",
                "impl Clone for crate::S { fn clone(&self) -> Self { S } }\n#[cfg(test)]\nimpl crate::S { fn t() {} }\n",
            ),
        ]);
        let found: Vec<_> = elsewhere(&files.iter().collect::<Vec<_>>())
            .into_iter()
            .collect();
        assert_eq!(found, [("S".to_owned(), BTreeSet::from([1, 2]))]);
    }
}
