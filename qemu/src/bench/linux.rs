//! Programs of ours that run on a Linux inside QEMU, and the kernel that runs KVM there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bare::{Toolchain, build};
use crate::error::{Error, Result};
use crate::package::apt::{self, Apt};
use crate::package::lock::Lock;
use crate::package::unpack;
use crate::place;
use crate::progress::Step;

/// Statically linked with the host's own C library: nothing else has to be put beside them.
const TARGET: &str = "x86_64-unknown-linux-gnu";
const STATIC: &str = "-Ctarget-feature=+crt-static";
/// What a compressed module begins with.
const XZ: &[u8] = b"\xfd7zXZ\0";

/// KVM's modules, in the order in which they need each other.
const MODULES: [&str; 3] = ["irqbypass", "kvm", "kvm-amd"];

/// The workspace below `qemu` of the programs that `atoll bench` needs.
const PEER: &str = "kvm-peer";

/// Builds a program of `qemu/kvm-peer`; its bytes.
pub fn program(name: &str, offline: bool) -> Result<Vec<u8>> {
    program_of(PEER, name, offline)
}

/// Builds a program of the workspace in a directory below `qemu`; its bytes.
pub fn program_of(directory: &str, name: &str, offline: bool) -> Result<Vec<u8>> {
    let workspace = place::workspace()?;
    let target = workspace.join("target/linux");
    let mut cargo = Toolchain::default().cargo();
    cargo
        .args([
            "build",
            "--release",
            "--locked",
            "--target",
            TARGET,
            "--target-dir",
        ])
        .arg(&target);
    cargo
        .env("CARGO_ENCODED_RUSTFLAGS", STATIC)
        .current_dir(workspace.join("qemu").join(directory));
    if offline {
        cargo.arg("--offline");
    }
    build::run(&mut cargo, "the programs for Linux")?;
    let path = target.join(TARGET).join("release").join(name);
    fs::read(&path).map_err(Error::file(path))
}

/// A kernel with KVM.
#[derive(Clone, Debug)]
pub struct KvmKernel {
    /// The kernel.
    pub image: PathBuf,
    /// KVM's modules, in the order in which they are loaded.
    pub modules: Vec<PathBuf>,
}

impl KvmKernel {
    /// Debian's cloud kernel with the modules that belong to it, from the cache or fetched into it.
    pub fn find(offline: bool) -> Result<Self> {
        let dir = place::cache()?.join("kvm");
        fs::create_dir_all(&dir).map_err(Error::file(&dir))?;
        let guard = fs::File::create(dir.join(".lock")).map_err(Error::file(&dir))?;
        guard.lock().map_err(Error::file(&dir))?;
        let kernel = Self {
            image: dir.join("vmlinuz"),
            modules: MODULES.map(|name| dir.join(format!("{name}.ko"))).to_vec(),
        };
        let lock = Lock::open()?;
        if kernel.files().all(|path| path.is_file()) {
            kernel.files().try_for_each(|path| lock.verify(path))?;
            return Ok(kernel);
        }
        if offline {
            return Err(Error::missing(format_args!(
                "the kernel that runs KVM is not in the cache ({}): run `atoll bench` once while online",
                dir.display()
            )));
        }
        Step::of("Fetching the kernel that runs KVM", |step| {
            kernel.fetch(&dir, &lock, step)
        })?;
        Ok(kernel)
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.image).chain(&self.modules)
    }

    fn fetch(&self, dir: &Path, lock: &Lock, step: &Step) -> Result<()> {
        let mut apt = Apt::find("the kernel to compare with")?;
        let wanted =
            |name: &str| name.starts_with("linux-image-") && name.ends_with("-cloud-amd64");
        let package = apt.with_lists(|apt| apt.dependency("linux-image-cloud-amd64", wanted))?;
        step.detail(&package);
        let download = tempfile::tempdir_in(dir).map_err(Error::file(dir))?;
        let packages =
            apt.with_lists(|apt| apt.download(std::slice::from_ref(&package), download.path()))?;
        let package = packages
            .first()
            .ok_or_else(|| Error::program("apt-get", "it downloaded nothing"))?;
        unpack::one_file(
            package,
            |path| path.trim_start_matches("./").starts_with("boot/vmlinuz-"),
            &self.image,
        )?;
        for (name, path) in MODULES.iter().zip(&self.modules) {
            let (plain, compressed) = (format!("/{name}.ko"), format!("/{name}.ko.xz"));
            unpack::one_file(
                package,
                |found| found.ends_with(&plain) || found.ends_with(&compressed),
                path,
            )?;
            decompress(path)?;
        }
        lock.record(&self.files().cloned().collect::<Vec<_>>())
    }
}

/// Debian 13 compresses modules.
fn decompress(module: &Path) -> Result<()> {
    let bytes = fs::read(module).map_err(Error::file(module))?;
    if bytes.starts_with(XZ) {
        let compressed = module.with_extension("ko.xz");
        fs::rename(module, &compressed).map_err(Error::file(module))?;
        apt::run(Command::new("xz").arg("-d").arg(compressed))?;
    }
    Ok(())
}
