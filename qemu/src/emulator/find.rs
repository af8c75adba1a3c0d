//! Finding QEMU, in this order: `$ATOLL_QEMU`; the search path; the cache; then Debian's package, installed where this is root, else
//! unpacked into the cache together with the libraries it needs.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::confine::has_sandbox;
use crate::error::{Error, Result};
use crate::package::apt::{self, Apt};
use crate::package::lock::Lock;
use crate::package::unpack;
use crate::place;
use crate::progress::{Step, note};

/// The variable that chooses another one.
pub const CHOICE: &str = "ATOLL_QEMU";
const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";
/// Where QEMU is unpacked it finds neither modules nor firmware of packages that are installed: it looks for them beside itself.
const FAMILY: [&str; 3] = ["qemu-system-", "seabios", "ipxe-qemu"];
/// Older ones do not emulate enough of SVM.
const LEAST: (u32, u32) = (7, 2);

/// A QEMU that will do.
#[derive(Clone, Debug)]
pub struct Emulator {
    /// The program.
    pub program: PathBuf,
    /// Its version.
    pub version: (u32, u32, u32),
    /// Whether it can run in its [sandbox](super::confine::SANDBOX).
    pub sandbox: bool,
    /// Variables that it needs.
    pub environment: Vec<(&'static str, OsString)>,
    /// Directories of its firmware, where they are not the built-in ones.
    pub firmware: Vec<PathBuf>,
}

impl Emulator {
    /// Finds one, fetching it if need be.
    pub fn find(offline: bool) -> Result<Self> {
        if let Some(found) = Self::present()? {
            return Ok(found);
        }
        if offline {
            return Err(Error::missing(
                "QEMU 7.2 or later is not here: install qemu-system-x86, or run `atoll fetch` while online",
            ));
        }
        Self::fetch()?;
        Self::present()?
            .ok_or_else(|| Error::missing("Debian's QEMU was fetched, but is older than 7.2"))
    }

    /// The one that is here already, if any.
    pub fn present() -> Result<Option<Self>> {
        if let Some(program) = env::var_os(CHOICE).map(PathBuf::from) {
            let found = Self::at(program.clone())?;
            let missing = || {
                Error::missing(format_args!(
                    "{}: is not QEMU 7.2 or later ({CHOICE} chooses it)",
                    program.display()
                ))
            };
            return found.ok_or_else(missing).map(Some);
        }
        if let Some(found) = place::on_path(PROGRAM).map(Self::at).transpose()?.flatten() {
            return Ok(Some(found));
        }
        let root = place::cache()?.join("qemu");
        let program = root.join("usr/bin").join(PROGRAM);
        if !program.is_file() {
            return Ok(None);
        }
        Lock::open()?.verify(&program)?;
        Self::unpacked(&root, program)
    }

    fn at(program: PathBuf) -> Result<Option<Self>> {
        Self {
            program,
            version: (0, 0, 0),
            sandbox: false,
            environment: Vec::new(),
            firmware: Vec::new(),
        }
        .with_version()
    }

    fn unpacked(root: &Path, program: PathBuf) -> Result<Option<Self>> {
        let libraries = [
            "usr/lib/x86_64-linux-gnu",
            "lib/x86_64-linux-gnu",
            "usr/lib/x86_64-linux-gnu/pulseaudio",
        ];
        let environment = vec![
            (
                "LD_LIBRARY_PATH",
                env::join_paths(libraries.map(|dir| root.join(dir))).unwrap_or_default(),
            ),
            (
                "QEMU_MODULE_DIR",
                root.join("usr/lib/x86_64-linux-gnu/qemu").into_os_string(),
            ),
        ];
        let firmware = ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"]
            .map(|dir| root.join(dir))
            .to_vec();
        Self {
            program,
            version: (0, 0, 0),
            sandbox: false,
            environment,
            firmware,
        }
        .with_version()
    }

    fn with_version(mut self) -> Result<Option<Self>> {
        let text = apt::run(self.command().arg("--version"))?;
        let Some(version) = parse_version(&text) else {
            return Ok(None);
        };
        self.version = version;
        self.sandbox = has_sandbox(self.command());
        Ok(((version.0, version.1) >= LEAST).then_some(self))
    }

    /// A command that runs it.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        for dir in &self.firmware {
            command.arg("-L").arg(dir);
        }
        command
    }

    fn fetch() -> Result<()> {
        let mut apt = Apt::find("QEMU 7.2 or later")?;
        if nix::unistd::geteuid().is_root() {
            note(format!(
                "QEMU is not here: installing Debian's package {PACKAGE}"
            ));
            apt.update()?;
            return Step::of("Installing QEMU", |_| apt.install(&[PACKAGE]));
        }
        let cache = place::cache()?;
        let guard = fs::File::create(cache.join("qemu.lock")).map_err(Error::file(&cache))?;
        guard.lock().map_err(Error::file(&cache))?;
        note(format!(
            "QEMU is not here: unpacking Debian's package {PACKAGE} into {}",
            cache.display()
        ));
        let packages = apt.with_lists(|apt| apt.missing_closure(&[PACKAGE], &FAMILY))?;
        let step = Step::begin("Fetching QEMU");
        step.detail(&format!("{} packages", packages.len()));
        let download = tempfile::tempdir_in(&cache).map_err(Error::file(&cache))?;
        let files = apt.with_lists(|apt| apt.download(&packages, download.path()))?;
        let new = tempfile::tempdir_in(&cache).map_err(Error::file(&cache))?;
        unpack::all(&files, new.path())?;
        let root = cache.join("qemu");
        let _ = fs::remove_dir_all(&root);
        fs::rename(new.keep(), &root).map_err(Error::file(&root))?;
        Lock::open()?.record(&[root.join("usr/bin").join(PROGRAM)])
    }
}

fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let version = text
        .split_whitespace()
        .skip_while(|word| *word != "version")
        .nth(1)?;
    let mut parts = version.split('.').map_while(|part| part.parse().ok());
    Some((parts.next()?, parts.next()?, parts.next().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_first_line() {
        let debian =
            "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright (c) 2003-2022";
        assert_eq!(parse_version(debian), Some((7, 2, 22)));
        assert_eq!(
            parse_version("QEMU emulator version 10.0\n"),
            Some((10, 0, 0))
        );
        assert_eq!(parse_version("something else"), None);
    }
}
