//! No circles: what uses one another cannot be understood, tested or replaced one by one. Files of a crate are held to that, and the crates of
//! the workspace, what only tests need included.
//!
//! A file uses another if it names something that is defined there. That a file gives a name on (`pub use`) uses nothing, and neither does
//! `mod`. A method that is called without naming its type is not seen; for those there is [`crate::spread`].

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use syn::Item;

use crate::findings::Findings;
use crate::modules::{Code, Crates, File};
use crate::names::{Names, imports, is_given_on, paths};
use crate::workspace::{Package, Workspace};

/// Most files that may be in circles, by package; none in all others. These only shrink.
const FILES: [(&str, usize); 1] = [("atoll-core", 20)];

/// Looks for circles in the kernel's packages and between all packages.
pub(crate) fn check(workspace: &Workspace, kernel: &[Crates], findings: &mut Findings) {
    for crates in kernel {
        let mut entangled = 0;
        for files in &crates.roots {
            let uses = uses(files);
            for circle in &circles(&uses) {
                entangled += circle.len();
                show(&crates.package, files, &uses, circle, findings);
            }
        }
        findings.at_most(
            &format!("{}: files in circles", crates.package),
            entangled,
            crates.bar(&FILES).unwrap_or(0),
        );
    }
    packages(workspace, findings);
}

fn show(package: &str, files: &[File], uses: &Uses, circle: &BTreeSet<usize>, findings: &Findings) {
    let name = |place: &usize| match &files[*place].module[..] {
        [] => "the root".to_owned(),
        module => module.join("::"),
    };
    findings.figure(format_args!(
        "{package}: a circle of {} files",
        circle.len()
    ));
    for user in circle {
        let used = uses[user].iter().filter(|used| circle.contains(used));
        let used: Vec<_> = used.map(name).collect();
        findings.figure(format_args!("  {} uses {}", name(user), used.join(", ")));
    }
}

fn packages(workspace: &Workspace, findings: &mut Findings) {
    let circles = circle_of_packages(workspace);
    for names in &circles {
        findings.problem(format_args!(
            "packages that need one another: {}",
            names.join(", ")
        ));
    }
    findings.figure(format_args!(
        "circles between packages, tests included: {}",
        circles.len()
    ));
}

/// The names of packages that need one another.
fn circle_of_packages(workspace: &Workspace) -> Vec<Vec<&str>> {
    let all = &workspace.packages;
    let place = |needed: &Package| all.iter().position(|other| other.id == needed.id);
    let of = |package| {
        let needed = workspace.needed_by(package).into_iter();
        needed.filter_map(place).collect()
    };
    let uses: Uses = all.iter().map(of).enumerate().collect();
    let names = |circle: &BTreeSet<usize>| {
        let names = circle.iter().map(|place| all[*place].name.as_str());
        names.collect()
    };
    circles(&uses).iter().map(names).collect()
}

/// Who uses whom, by place.
type Uses = BTreeMap<usize, BTreeSet<usize>>;

/// Which file uses which.
fn uses(files: &[File]) -> Uses {
    let names = Names::of(files);
    let mut uses = Uses::new();
    for (place, file) in files.iter().enumerate() {
        let used = uses.entry(place).or_default();
        for part in file.built() {
            match &part.code {
                Code::Item(Item::Mod(_)) => {}
                Code::Item(Item::Use(item)) if is_given_on(&item.vis) => {}
                Code::Item(Item::Use(item)) => {
                    // A module by itself is no use of it: what follows its name is.
                    let named = imports(&item.tree).into_iter().filter(|import| {
                        import.name.is_none() || !names.is_module(&part.module, &import.path)
                    });
                    used.extend(
                        named.filter_map(|import| names.file_of(&part.module, &import.path)),
                    );
                }
                _ => {
                    let named = paths(part.tokens()).into_iter();
                    used.extend(named.filter_map(|path| names.file_of(&part.module, &path)));
                }
            }
        }
        used.remove(&place);
    }
    uses
}

/// Those that reach themselves through one another.
fn circles(uses: &Uses) -> Vec<BTreeSet<usize>> {
    let mut graph = DiGraphMap::<usize, ()>::new();
    for (user, used) in uses {
        graph.add_node(*user);
        for used in used {
            graph.add_edge(*user, *used, ());
        }
    }
    let components = tarjan_scc(&graph).into_iter();
    let mut circles: Vec<BTreeSet<usize>> = components
        .filter(|component| component.len() > 1)
        .map(|component| component.into_iter().collect())
        .collect();
    circles.sort();
    circles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sample;

    /// The names of files in each circle.
    fn found(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let files = sample(files);
        circles(&uses(&files))
            .iter()
            .map(|circle| {
                circle
                    .iter()
                    .map(|place| files[*place].module.join("::"))
                    .collect()
            })
            .collect()
    }

    #[test]
    fn two_files_that_name_each_other_are_a_circle() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
            (
                "a.rs",
                "use crate::b::B;\npub struct A;\nfn f(b: B) { b.a() }\n",
            ),
            ("b.rs", "pub struct B;\nfn f() -> super::a::A { todo!() }\n"),
            (
                "c.rs",
                "use crate::a::A;\nuse crate::b::B;\nfn f(a: A, b: B) {}\n",
            ),
        ];
        assert_eq!(found(&files), [["a", "b"]]);
    }

    #[test]
    fn a_circle_over_three_files_is_one_circle() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
            ("a.rs", "pub fn a() { crate::b::b() }\n"),
            ("b.rs", "use crate::c;\npub fn b() { c::c() }\n"),
            (
                "c.rs",
                "pub fn c() { if matches!(1, crate::a::A) {} }\npub const A: u8 = 1;\n",
            ),
        ];
        assert_eq!(found(&files), [["a", "b", "c"]]);
    }

    #[test]
    fn a_folder_that_gives_on_what_its_files_define_is_in_no_circle_with_them() {
        let files = [
            ("lib.rs", "mod a;\npub use a::A;\n"),
            ("a.rs", "mod b;\nmod c;\npub use b::A;\n"),
            ("a/b.rs", "use super::c::C;\npub struct A(C);\n"),
            ("a/c.rs", "pub struct C;\n"),
        ];
        assert_eq!(found(&files), [[""; 0]; 0]);
    }

    #[test]
    fn a_file_below_that_uses_what_stands_above_is_a_circle_if_that_uses_it() {
        let files = [
            ("lib.rs", "mod a;\n"),
            ("a.rs", "mod b;\npub struct A(b::B);\n"),
            ("a/b.rs", "use super::A;\npub struct B;\nfn f(a: A) {}\n"),
        ];
        assert_eq!(found(&files), [["a", "a::b"]]);
    }

    #[test]
    fn what_only_tests_use_makes_no_circle() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\n"),
            ("a.rs", "use crate::b::B;\npub struct A(B);\n"),
            (
                "b.rs",
                "pub struct B;\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n",
            ),
        ];
        assert_eq!(found(&files), [[""; 0]; 0]);
    }

    #[test]
    fn packages_that_need_one_another_only_for_tests_are_a_circle_too() {
        let package = |name: &str, needs: &str, kind: &str| {
            format!(
                "{{\"id\": \"{name}\", \"name\": \"{name}\", \"targets\": [], \"manifest_path\": \"/w/{name}/Cargo.toml\",
                \"dependencies\": [{{\"kind\": {kind}, \"path\": \"/w/{needs}\"}}]}}"
            )
        };
        let of = |kind: &str| -> Workspace {
            let packages = [package("a", "b", "null"), package("b", "a", kind)];
            let text = format!(
                "{{\"packages\": [{}], \"workspace_root\": \"/w\", \"workspace_default_members\": []}}",
                packages.join(",")
            );
            serde_json::from_str(&text).unwrap()
        };
        for kind in ["null", "\"dev\""] {
            let workspace = of(kind);
            let names: Vec<_> = circle_of_packages(&workspace);
            assert_eq!(names, [["a", "b"]], "{kind}");
        }
    }
}
