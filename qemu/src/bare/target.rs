//! A compiler for the bare target, found or completed: the active toolchain if it has the target; else `rustup target add`; else
//! Debian's own Rust, with a sysroot that it builds once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{TARGET, sysroot};
use crate::error::{Error, Result};
use crate::place;
use crate::progress::{Step, note};

/// A network can hang; this is how long rustup may.
const RUSTUP_PATIENCE: Duration = Duration::from_secs(120);

/// A cargo that can build for the bare target.
#[derive(Clone, Debug, Default)]
pub struct Toolchain {
    /// A cargo other than the active one, and the compiler that it is to use.
    pub other: Option<(PathBuf, PathBuf)>,
    /// Where that compiler's libraries are.
    pub libraries: Option<String>,
    /// A sysroot other than the compiler's.
    pub sysroot: Option<PathBuf>,
    /// Flags in place of those in `.cargo/config.toml`; none: those stand.
    pub flags: Vec<String>,
}

/// What the tool may do to get one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Permission {
    /// Nothing may be installed.
    pub no_install: bool,
    /// Nothing may be fetched.
    pub offline: bool,
}

impl Toolchain {
    /// Finds one, and says which way it took where that is not the plain one.
    pub fn find(permission: Permission) -> Result<Self> {
        if has_target("rustc") {
            tracing::debug!("the active compiler has {TARGET}");
            return Ok(Self::default());
        }
        if let Some(ready) = sysroot::present()? {
            note(format!(
                "building with Debian's Rust: the active compiler has no {TARGET}"
            ));
            return Ok(ready);
        }
        let reason = if permission.no_install {
            "installing is switched off (--no-install)".to_owned()
        } else if permission.offline {
            "this is offline".to_owned()
        } else if place::on_path("rustup").is_some() {
            note(format!(
                "the active compiler has no {TARGET}: running `rustup target add {TARGET}` (--no-install prevents this)"
            ));
            match rustup_add() {
                Ok(()) if has_target("rustc") => return Ok(Self::default()),
                Ok(()) => "rustup added it, but the active compiler is not rustup's".to_owned(),
                Err(error) => error.to_string(),
            }
        } else {
            "rustup is not here".to_owned()
        };
        if permission.no_install || permission.offline {
            return Err(Error::missing(format_args!(
                "the compiler has no {TARGET}, and {reason}: run `rustup target add {TARGET}`"
            )));
        }
        note(format!("{reason}: building with Debian's Rust instead"));
        sysroot::make()
    }

    /// A cargo command without anything inherited that would change what it builds.
    #[must_use]
    pub fn cargo(&self) -> Command {
        let active =
            || std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        let mut command = Command::new(
            self.other
                .as_ref()
                .map_or_else(active, |(cargo, _)| cargo.clone()),
        );
        let inherited = [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET_DIR",
        ];
        for name in inherited.into_iter().chain([
            "CARGO_BUILD_TARGET",
            "CARGO_MAKEFLAGS",
            "MAKEFLAGS",
            "RUSTC",
            "RUSTDOC",
        ]) {
            command.env_remove(name);
        }
        // Cargo gives its children what describes the package that it runs; a build script would take it for its own.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_")
                || text.starts_with("CARGO_MANIFEST_")
                || text.starts_with("CARGO_PROFILE_")
            {
                command.env_remove(name);
            }
        }
        if let Some((_, compiler)) = &self.other {
            command
                .env("RUSTC", compiler)
                .env_remove("RUSTUP_TOOLCHAIN");
            // The wrapper is for the compiler that is not used.
            command.env_remove("RUSTC_WRAPPER");
        }
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let mut flags = self.flags.clone();
        flags.extend(
            self.sysroot
                .as_ref()
                .map(|path| format!("--sysroot={}", path.display())),
        );
        // What is loaded does not depend on who has built it, and where.
        let remapped = remapped(&named_places());
        if flags.is_empty() {
            let list = toml::Value::from(remapped);
            command.args(["--config", &format!("target.{TARGET}.rustflags={list}")]);
        } else {
            flags.extend(remapped);
            // They replace what the configuration file says, and are not for build scripts, since there is a `--target`.
            command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        }
        command
    }
}

/// Directories whose names get into what is built, and what they are called there.
fn named_places() -> Vec<(PathBuf, &'static str)> {
    let packages = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let packages = packages.map(|packages| (packages, "/cargo"));
    let source = place::workspace().ok().map(|source| (source, "/atoll"));
    packages.into_iter().chain(source).collect()
}

/// The compiler's flags for them.
fn remapped(places: &[(PathBuf, &str)]) -> Vec<String> {
    places
        .iter()
        .map(|(place, name)| format!("--remap-path-prefix={}={name}", place.display()))
        .collect()
}

/// Whether this compiler has the target's `core`. Its directory's name is printed even if there is nothing in it.
#[must_use]
pub fn has_target(compiler: &str) -> bool {
    let output = Command::new(compiler)
        .args(["--print", "target-libdir", "--target", TARGET])
        .stderr(Stdio::null())
        .output();
    output.is_ok_and(|output| holds_core(Path::new(String::from_utf8_lossy(&output.stdout).trim())))
}

fn holds_core(dir: &Path) -> bool {
    let is_core = |name: &str| name.starts_with("libcore-") && name.ends_with(".rlib");
    fs::read_dir(dir).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| is_core(&entry.file_name().to_string_lossy())))
    })
}

fn rustup_add() -> Result<()> {
    let _step = Step::begin("Adding the bare target");
    let child = Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| Error::program("rustup", error))?;
    wait_at_most(&mut child, RUSTUP_PATIENCE)
}

fn wait_at_most(child: &mut Child, patience: Duration) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < patience {
        match child
            .try_wait()
            .map_err(|error| Error::program("rustup", error))?
        {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(Error::program("rustup", status)),
            None => std::thread::sleep(Duration::from_millis(100)),
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(Error::program(
        "rustup",
        format_args!("it took longer than {} s", patience.as_secs()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_directory_is_no_target() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!holds_core(dir.path()));
        fs::write(dir.path().join("libcore-0123.rlib"), "").unwrap();
        assert!(holds_core(dir.path()));
    }

    #[test]
    fn a_program_that_hangs_is_given_up() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let error = wait_at_most(&mut child, Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().contains("longer"), "{error}");
    }
}
