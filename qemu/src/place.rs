//! Where things are: the workspace that is built, the cache of what was fetched, and the directory of running machines.

use std::env;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};

/// Root of the workspace: above the current directory, else above this program, else (it was installed) where it was built. A checkout that
/// was moved takes its program with it, and the place where that was built may be another one by now.
pub fn workspace() -> Result<PathBuf> {
    let current = env::current_dir().map_err(Error::file("."))?;
    let program = env::current_exe().unwrap_or_default();
    let built = Path::new(env!("CARGO_MANIFEST_DIR"));
    above(&[&current, &program, built]).ok_or_else(|| {
            Error::missing(format_args!(
                "Atoll's source is neither here nor in {}, where this tool was built: run it in a clone of Atoll's repository, or install it again \
                 from one (cargo install --path qemu)",
                built.parent().unwrap_or(built).display()
            ))
        })
}

/// The first root of a workspace above the first of these places that is in one.
fn above(places: &[&Path]) -> Option<PathBuf> {
    let is_root = |dir: &&Path| {
        dir.join("kernel/Cargo.toml").is_file() && dir.join("protocol/Cargo.toml").is_file()
    };
    places
        .iter()
        .flat_map(|place| place.ancestors())
        .find(is_root)
        .map(Path::to_owned)
}

/// The source's commit, with `+` behind it if there are changes beyond it; `unknown` where that is not kept by Git.
pub fn revision() -> Result<String> {
    let workspace = workspace()?;
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(&workspace)
            .args(arguments)
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "HEAD"]) else {
        return Ok("unknown".into());
    };
    let clean = git(&["status", "--porcelain", "--untracked-files=no"])
        .is_some_and(|changes| changes.is_empty());
    Ok(if clean { commit } else { commit + "+" })
}

/// The cache: `$ATOLL_CACHE`, else `atoll` in the user's cache directory. Made if it does not exist.
pub fn cache() -> Result<PathBuf> {
    let set = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let path = set("ATOLL_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("atoll")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/atoll")))
        .ok_or_else(|| Error::missing("no place for the cache: set ATOLL_CACHE or HOME"))?;
    fs::create_dir_all(&path).map_err(Error::file(&path))?;
    path.canonicalize().map_err(Error::file(&path))
}

/// The directory of running machines, which only its owner can enter.
pub fn runtime() -> Result<PathBuf> {
    let user = nix::unistd::getuid();
    let path = match env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_dir())
    {
        Some(dir) => dir.join("atoll"),
        None => env::temp_dir().join(format!("atoll-{user}")),
    };
    private_dir(&path)?;
    Ok(path)
}

/// Makes a directory that only its owner can enter, or makes sure that an existing one is such.
pub fn private_dir(path: &Path) -> Result<()> {
    match fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(path)
    {
        Ok(()) => {}
        Err(error) => return Err(Error::file(path)(error)),
    }
    let metadata = fs::symlink_metadata(path).map_err(Error::file(path))?;
    if !metadata.is_dir() || metadata.uid() != nix::unistd::getuid().as_raw() {
        return Err(Error::missing(format_args!(
            "{}: belongs to somebody else",
            path.display()
        )));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(Error::file(path))?;
    }
    Ok(())
}

/// The first file called `name` on the user's search path.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_above_the_program_before_it_is_where_that_was_built() {
        let dir = tempfile::tempdir().unwrap();
        let clone = |name: &str| {
            let root = dir.path().join(name);
            for part in ["kernel", "protocol"] {
                fs::create_dir_all(root.join(part)).unwrap();
                fs::write(root.join(part).join("Cargo.toml"), "").unwrap();
            }
            root
        };
        let (old, moved) = (clone("old"), clone("moved"));
        let program = moved.join("target/debug/atoll");
        let elsewhere = dir.path().join("elsewhere");
        let built = old.join("qemu");
        assert_eq!(above(&[&elsewhere, &program, &built]), Some(moved));
        let installed = dir.path().join("bin/atoll");
        assert_eq!(above(&[&elsewhere, &installed, &built]), Some(old));
        assert_eq!(above(&[&elsewhere, &installed]), None);
    }
}
