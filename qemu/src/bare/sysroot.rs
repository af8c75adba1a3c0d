//! Debian's own Rust, for those whose compiler lacks the bare target and cannot get it. Its packages are unpacked into the cache, so that
//! no other Rust on this machine notices. They bring the library's source, of which `core` and `alloc` are built once, into a sysroot
//! whose path names the compiler and the flags: cargo does not notice a sysroot that is rebuilt in place.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{TARGET, Toolchain};
use crate::error::{Error, Result};
use crate::package::apt::{self, Apt};
use crate::package::lock::Lock;
use crate::package::unpack;
use crate::place;
use crate::progress::Step;

const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// As in `.cargo/config.toml`, for `core` has to agree with what is built on it; with bitcode, or fat LTO would not find any.
const FLAGS: [&str; 4] = [
    "-Crelocation-model=static",
    "-Ccode-model=kernel",
    "-Cforce-frame-pointers=yes",
    "-Cembed-bitcode=yes",
];
/// What a toolchain in the cache is not complete without.
const DONE: &str = "complete";

/// Debian's Rust in the cache.
struct Unpacked {
    root: PathBuf,
}

impl Unpacked {
    fn of_cache() -> Result<Self> {
        Ok(Self {
            root: place::cache()?.join("rust"),
        })
    }

    fn program(&self, name: &str) -> PathBuf {
        self.root.join("usr/bin").join(name)
    }

    fn libraries(&self) -> Result<String> {
        let dir = self.root.join("usr/lib/x86_64-linux-gnu");
        dir.into_os_string()
            .into_string()
            .map_err(|path| Error::missing(format_args!("{}: is no UTF-8", path.display())))
    }

    fn compiler(&self) -> Result<Command> {
        let mut command = Command::new(self.program("rustc"));
        command.env("LD_LIBRARY_PATH", self.libraries()?);
        Ok(command)
    }

    /// Compiler version and LLVM's major version.
    fn versions(&self) -> Result<(String, String)> {
        let text = apt::run(self.compiler()?.arg("-vV"))?;
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
                .unwrap_or_default()
        };
        let llvm = value("LLVM version:").split('.').next().unwrap_or_default();
        Ok((value("release:").to_owned(), llvm.to_owned()))
    }

    fn toolchain(&self) -> Result<Toolchain> {
        let (version, llvm) = self.versions()?;
        let mut flags: Vec<String> = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!(
            "-Clinker={}",
            self.root
                .join(format!("usr/lib/llvm-{llvm}/bin/ld.lld"))
                .display()
        ));
        Ok(Toolchain {
            other: Some((self.program("cargo"), self.program("rustc"))),
            libraries: Some(self.libraries()?),
            sysroot: Some(self.root.join(format!(
                "sysroot-{version}-{}",
                FLAGS.join("").replace(['=', '-'], "")
            ))),
            flags,
        })
    }
}

/// The one that was made earlier.
pub fn present() -> Result<Option<Toolchain>> {
    let rust = Unpacked::of_cache()?;
    if !rust.root.join(DONE).is_file() {
        return Ok(None);
    }
    Lock::open()?.verify(&rust.program("rustc"))?;
    let toolchain = rust.toolchain()?;
    Ok(toolchain
        .sysroot
        .as_ref()
        .is_some_and(|path| path.is_dir())
        .then_some(toolchain))
}

/// Fetches Debian's Rust and builds a sysroot with it.
pub fn make() -> Result<Toolchain> {
    let rust = Unpacked::of_cache()?;
    let cache = place::cache()?;
    let guard = fs::File::create(cache.join("rust.lock")).map_err(Error::file(&cache))?;
    guard.lock().map_err(Error::file(&cache))?;
    if let Some(ready) = present()? {
        return Ok(ready);
    }
    let mut apt = Apt::find("a Rust compiler with the bare target")?;
    let step = Step::begin("Fetching Debian's Rust");
    fetch(&mut apt, &PACKAGES, &rust.root)?;
    let (_, llvm) = rust.versions()?;
    fetch(&mut apt, &[&format!("lld-{llvm}")], &rust.root)?;
    drop(step);
    let toolchain = rust.toolchain()?;
    Step::of("Building core and alloc for the bare machine", |_| {
        build(&rust, &toolchain)
    })?;
    Lock::open()?.record(&[rust.program("rustc")])?;
    fs::write(rust.root.join(DONE), "").map_err(Error::file(&rust.root))?;
    Ok(toolchain)
}

fn fetch(apt: &mut Apt, packages: &[&str], root: &Path) -> Result<()> {
    fs::create_dir_all(root).map_err(Error::file(root))?;
    let missing = apt.with_lists(|apt| apt.missing_closure(packages, &[]))?;
    let download = tempfile::tempdir_in(root).map_err(Error::file(root))?;
    let files = apt.with_lists(|apt| apt.download(&missing, download.path()))?;
    unpack::all(&files, root)
}

/// Builds the library with a crate that holds nothing, and lays its parts out as a compiler expects them.
fn build(rust: &Unpacked, toolchain: &Toolchain) -> Result<()> {
    let seed = tempfile::tempdir().map_err(Error::file(env::temp_dir()))?;
    let write = |name: &str, text: &str| {
        fs::write(seed.path().join(name), text).map_err(Error::file(seed.path()))
    };
    write(
        "Cargo.toml",
        "[workspace]\n[package]\nname = \"seed\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n",
    )?;
    write("lib.rs", "#![no_std]\n")?;
    let plain = Toolchain {
        sysroot: None,
        flags: FLAGS.map(str::to_owned).to_vec(),
        ..toolchain.clone()
    };
    let output = seed.path().join("target");
    apt::run(
        plain
            .cargo()
            .args([
                "build",
                "--release",
                "-Zbuild-std=core,alloc,compiler_builtins",
            ])
            .args([
                "-Zbuild-std-features=compiler-builtins-mem",
                "--target",
                TARGET,
                "--target-dir",
            ])
            .arg(&output)
            .env("RUSTC_BOOTSTRAP", "1")
            .current_dir(seed.path()),
    )?;
    let Some(sysroot) = &toolchain.sysroot else {
        return Ok(());
    };
    let new = tempfile::tempdir_in(&rust.root).map_err(Error::file(&rust.root))?;
    let libraries = new.path().join("lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&libraries).map_err(Error::file(&libraries))?;
    let parts = output.join(TARGET).join("release/deps");
    for entry in fs::read_dir(&parts).map_err(Error::file(&parts))? {
        let path = entry.map_err(Error::file(&parts))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libseed") {
            fs::copy(&path, libraries.join(&name)).map_err(Error::file(&path))?;
        }
    }
    let _ = fs::remove_dir_all(sysroot);
    fs::rename(new.keep(), sysroot).map_err(Error::file(sysroot))
}
