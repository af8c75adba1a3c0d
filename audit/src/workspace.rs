//! The workspace as cargo sees it: packages, their roots, and what depends on what by path.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::modules::Crates;

/// Packages of which the host can run nothing.
pub(crate) const BARE: [&str; 2] = ["atoll-kernel", "atoll-images"];
/// Packages with unsafe code of their own: ring 0, the entry into ring 3 and its system call, and the server that misbehaves.
pub(crate) const UNSAFE: [&str; 4] = ["atoll-kernel", "atoll-sdk", "atoll-images", "atoll-rogue"];

/// All packages of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    #[serde(rename = "workspace_default_members")]
    pub(crate) default_members: Vec<String>,
}

/// One package.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) targets: Vec<Target>,
    dependencies: Vec<Dependency>,
    manifest_path: PathBuf,
}

/// A root of a package: what one call of the compiler begins with.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) kind: Vec<String>,
    #[serde(rename = "src_path")]
    pub(crate) path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    kind: Option<String>,
    path: Option<PathBuf>,
}

impl Workspace {
    /// The workspace that this crate belongs to.
    pub(crate) fn of_this_crate() -> Result<Self, Error> {
        // At run time: a target directory that two clones share may hold the program that the other one built.
        let here = std::env::var_os("CARGO_MANIFEST_DIR")
            .unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        Self::at(&Path::new(&here).join(".."))
    }

    /// The workspace in this directory.
    pub(crate) fn at(root: &Path) -> Result<Self, Error> {
        metadata(root, &["--no-deps"])
    }

    /// A path as a reader writes it: from the workspace's root.
    pub(crate) fn relative<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    /// What runs in ring 0: the kernel and all that it is built from by path but the protocol.
    pub(crate) fn kernel(&self) -> Result<Vec<Crates>, Error> {
        let packages = self.closure("kernel", "atoll-protocol").into_iter();
        packages.map(Crates::of).collect()
    }

    /// Everything below `directory`, and all that it depends on by path, but for the package `without` and what only that needs.
    fn closure(&self, directory: &str, without: &str) -> Vec<&Package> {
        let directory = self.root.join(directory);
        let mut found: Vec<&Package> = self
            .packages
            .iter()
            .filter(|package| package.directory().starts_with(&directory))
            .collect();
        let mut next = 0;
        while let Some(package) = found.get(next) {
            next += 1;
            let needed = self.path_dependencies(package, |kind| kind != Some("dev"));
            let needed = needed.filter(|package| package.name != without);
            for package in needed {
                if !found.iter().any(|other| other.id == package.id) {
                    found.push(package);
                }
            }
        }
        found
    }

    /// What a package needs of the workspace, for its tests, too.
    pub(crate) fn needed_by<'w>(&'w self, package: &'w Package) -> Vec<&'w Package> {
        self.path_dependencies(package, |_| true).collect()
    }

    fn path_dependencies<'w>(
        &'w self,
        package: &'w Package,
        kind: impl Fn(Option<&str>) -> bool + 'w,
    ) -> impl Iterator<Item = &'w Package> {
        package
            .dependencies
            .iter()
            .filter(move |dependency| kind(dependency.kind.as_deref()))
            .filter_map(|dependency| {
                let path = dependency.path.as_ref()?;
                self.packages
                    .iter()
                    .find(|package| package.directory() == path)
            })
    }
}

/// What cargo says about the workspace in this directory.
pub(crate) fn metadata<T: DeserializeOwned>(
    directory: &Path,
    arguments: &[&str],
) -> Result<T, Error> {
    let failed = |why: String| Error::Program {
        program: "cargo metadata",
        why,
    };
    let output = Command::new(env!("CARGO"))
        // The workspace's own manifest: seen from a member's, that member is the only default one.
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(directory.join("Cargo.toml"))
        .args(arguments)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}

impl Package {
    /// Where its manifest is.
    pub(crate) fn directory(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    /// The roots of what it builds, its build script included; not its tests, benches and examples.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Path> {
        let built =
            |kind: &String| matches!(kind.as_str(), "lib" | "proc-macro" | "bin" | "custom-build");
        self.targets
            .iter()
            .filter(move |target| target.kind.iter().any(built))
            .map(|target| target.path.as_path())
    }
}
