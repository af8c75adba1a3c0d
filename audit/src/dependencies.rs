//! What is depended on has a license that `deny.toml` allows, comes from where that says, and in a version that somebody has chosen. `cargo deny`
//! checks the same and more, where it is installed; this needs nothing but cargo.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

use crate::Error;
use crate::findings::Findings;
use crate::git;
use crate::workspace::{Workspace, metadata};

/// The registry that everything comes from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What of `deny.toml` is checked here.
#[derive(Debug, Deserialize)]
struct Policy {
    graph: Graph,
    licenses: Licenses,
}

#[derive(Debug, Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

/// What cargo says about all packages of a workspace.
#[derive(Debug, Deserialize)]
struct Resolved {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    req: String,
    path: Option<String>,
}

/// Checks every workspace of the repository.
pub(crate) fn check(workspace: &Workspace, findings: &mut Findings) -> Result<(), Error> {
    let path = workspace.root.join("deny.toml");
    let failed = |why: String| Error::File {
        path: path.clone(),
        why,
    };
    let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
    let policy: Policy = toml::from_str(&text).map_err(|error| failed(error.to_string()))?;
    let allowed = licensees(&policy.licenses.allow).map_err(failed)?;
    let filters: Vec<&str> = policy
        .graph
        .targets
        .iter()
        .flat_map(|target| ["--filter-platform", target.as_str()])
        .collect();
    let mut seen = BTreeSet::new();
    for (manifest, text) in git::files(&workspace.root, "*Cargo.toml")? {
        if !text.lines().any(|line| line == "[workspace]") {
            continue;
        }
        let directory = workspace.root.join(&manifest);
        let directory = directory.parent().unwrap_or(Path::new("."));
        let arguments: Vec<&str> = ["--locked"].into_iter().chain(filters.clone()).collect();
        let resolved: Resolved = metadata(directory, &arguments)?;
        for package in resolved.packages {
            if let Err(why) = judge(&package, &allowed) {
                findings.problem(format_args!(
                    "{manifest}: {} {}: {why}",
                    package.name, package.version
                ));
            }
            if package.source.is_some() {
                seen.insert((package.name, package.version));
            }
        }
    }
    findings.figure(format_args!(
        "packages of others, with allowed licenses: {}",
        seen.len()
    ));
    Ok(())
}

fn licensees(allowed: &[String]) -> Result<Vec<Licensee>, String> {
    allowed
        .iter()
        .map(|text| Licensee::parse(text).map_err(|error| error.to_string()))
        .collect()
}

fn judge(package: &Package, allowed: &[Licensee]) -> Result<(), String> {
    let Some(source) = &package.source else {
        // Our own. Others' are not ours to choose versions for.
        let wild = package
            .dependencies
            .iter()
            .find(|dependency| dependency.path.is_none() && dependency.req == "*");
        return match wild {
            Some(wild) => Err(format!("takes any version of {}: name one", wild.name)),
            None => Ok(()),
        };
    };
    if source != REGISTRY {
        return Err(format!("comes from {source}, and not from crates.io"));
    }
    let Some(license) = &package.license else {
        return Err("names no license".to_owned());
    };
    let expression =
        Expression::parse_mode(license, ParseMode::LAX).map_err(|error| error.to_string())?;
    if expression.evaluate(|needed| allowed.iter().any(|license| license.satisfies(needed))) {
        Ok(())
    } else {
        Err(format!(
            "its license, {license}, is not among those that deny.toml allows"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(license: Option<&str>, source: Option<&str>, needs: &[(&str, &str)]) -> Package {
        Package {
            name: "it".to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
            source: source.map(str::to_owned),
            dependencies: needs
                .iter()
                .map(|(name, req)| Dependency {
                    name: (*name).to_owned(),
                    req: (*req).to_owned(),
                    path: None,
                })
                .collect(),
        }
    }

    fn judged(package: &Package) -> Result<(), String> {
        let allowed = ["MIT", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"];
        judge(package, &licensees(&allowed.map(str::to_owned)).unwrap())
    }

    #[test]
    fn one_of_several_licenses_is_enough_unless_all_are_needed() {
        let of = |license| judged(&package(Some(license), Some(REGISTRY), &[]));
        assert_eq!(of("MIT"), Ok(()));
        assert_eq!(of("GPL-3.0 OR MIT"), Ok(()));
        assert_eq!(of("Apache-2.0/MIT"), Ok(()));
        assert_eq!(of("(GPL-3.0 OR MIT) AND Unicode-3.0"), Ok(()));
        assert_eq!(of("Apache-2.0 WITH LLVM-exception"), Ok(()));
        assert!(of("Apache-2.0").unwrap_err().contains("Apache-2.0, is not"));
        assert!(of("MIT AND GPL-3.0").is_err());
    }

    #[test]
    fn a_package_without_a_license_is_refused() {
        assert!(judged(&package(None, Some(REGISTRY), &[])).is_err());
    }

    #[test]
    fn a_package_from_elsewhere_is_refused() {
        let source = "git+https://example.org/it";
        let why = judged(&package(Some("MIT"), Some(source), &[])).unwrap_err();
        assert!(why.contains(source), "{why}");
    }

    #[test]
    fn our_own_packages_name_versions_of_what_they_need() {
        assert_eq!(judged(&package(None, None, &[("a", "^1")])), Ok(()));
        assert!(
            judged(&package(None, None, &[("a", "*")]))
                .unwrap_err()
                .contains("any version of a")
        );
    }
}
