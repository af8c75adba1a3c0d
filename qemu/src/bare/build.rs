//! Building for the bare machine. Several processes may ask at once (tests do): a lock lets one build and the others find it done.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use atoll_manifest::bundle::Programs;
use atoll_protocol::order::checksum;

use super::{TARGET, Toolchain};
use crate::error::{Error, Result};
use crate::progress::Step;
use crate::shown::complain;

/// Where built programs are.
#[derive(Clone, Debug)]
pub struct Built {
    dir: PathBuf,
    /// Programs of other crates, by the names of their images.
    own: BTreeMap<String, PathBuf>,
}

impl Built {
    /// Atoll's kernel.
    #[must_use]
    pub fn kernel(&self) -> PathBuf {
        self.dir.join("atoll-kernel")
    }

    /// Adds a program that is somewhere else.
    pub fn add(&mut self, name: &str, program: PathBuf) {
        self.own.insert(name.to_owned(), program);
    }

    /// A program by its name.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.own
            .get(name)
            .cloned()
            .unwrap_or_else(|| self.dir.join(name))
    }
}

impl Programs for Built {
    fn program(&self, image: &str) -> PathBuf {
        Self::program(self, image)
    }
}

/// Builds kernel and servers, unless they are up to date.
pub fn system(workspace: &Path, toolchain: &Toolchain) -> Result<Built> {
    let packages = [
        "-p",
        "atoll-kernel",
        "-p",
        "atoll-images",
        "-p",
        "atoll-rogue",
    ];
    cargo(
        toolchain,
        workspace,
        &workspace.join("target/bare"),
        "the kernel and the servers",
        &packages,
    )
}

/// Builds a kernel that logs digests of what servers must not touch, for tests of containment.
pub fn digesting_kernel(workspace: &Path, toolchain: &Toolchain) -> Result<Built> {
    let packages = ["-p", "atoll-kernel", "--features", "digest"];
    cargo(
        toolchain,
        workspace,
        &workspace.join("target/digest"),
        "the kernel with digests",
        &packages,
    )
}

/// Builds a kernel that injects the faults of a plan, for experiments.
pub fn injecting_kernel(workspace: &Path, toolchain: &Toolchain) -> Result<Built> {
    let packages = ["-p", "atoll-kernel", "--features", "fault-injection"];
    cargo(
        toolchain,
        workspace,
        &workspace.join("target/inject"),
        "the kernel with fault injection",
        &packages,
    )
}

/// Builds one test guest: another one that does not build is no hindrance.
pub fn guest(workspace: &Path, toolchain: &Toolchain, name: &str) -> Result<Built> {
    let what = format!("the test guest '{name}'");
    cargo(
        toolchain,
        &workspace.join("qemu/guests"),
        &workspace.join("target/guests"),
        &what,
        &["--bin", name],
    )
}

/// Builds the server in the crate in `dir`, which may be anywhere; its program.
pub fn own(workspace: &Path, toolchain: &Toolchain, dir: &Path) -> Result<PathBuf> {
    let dir = dir.canonicalize().map_err(Error::file(dir))?;
    let path = dir.join("Cargo.toml");
    let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
    let crate_: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| Error::guest(&path, error.message()))?;
    let name = crate_
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(toml::Value::as_str);
    let name = name.ok_or_else(|| Error::guest(&path, "has no package with a name"))?;
    // What the crates depend on is built once for all of them. But two crates may have the same name: each has a place for its program, and
    // until it is there no other is built. And cargo takes what it built for the one to be the other's, if that is older: so it forgets it.
    let target = workspace.join("target/own");
    let place = target.join("programs").join(format!(
        "{:x}",
        checksum(dir.as_os_str().as_encoded_bytes())
    ));
    fs::create_dir_all(&place).map_err(Error::file(&place))?;
    let _guard = alone(&target)?;
    let last = target.join("programs").join(format!("{name}.last"));
    if fs::read_to_string(&last).is_ok_and(|last| Path::new(&last) != dir) {
        let mut forget = toolchain.cargo();
        forget
            .args([
                "clean",
                "--profile",
                "bare",
                "--target",
                TARGET,
                "-p",
                name,
                "--target-dir",
            ])
            .arg(&target)
            .current_dir(&dir);
        run(
            &mut forget,
            &format!("anew: another '{name}' was built last"),
        )?;
    }
    fs::write(&last, dir.as_os_str().as_encoded_bytes()).map_err(Error::file(&last))?;
    let what = format!("the server in {}", dir.display());
    let built = build(toolchain, &dir, &target, &what, &["--bin", name])?.program(name);
    let program = place.join(name);
    fs::copy(&built, &program).map_err(Error::file(&built))?;
    Ok(program)
}

/// Names of the servers' images, as `servers/images` declares them; and of the one that brings its own program.
pub fn images(workspace: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for package in ["images", "rogue"] {
        let path = workspace.join("servers").join(package).join("Cargo.toml");
        let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
        let package: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| Error::guest(&path, error.message()))?;
        let programs = package
            .get("bin")
            .and_then(toml::Value::as_array)
            .into_iter()
            .flatten();
        names
            .extend(programs.filter_map(|program| Some(program.get("name")?.as_str()?.to_owned())));
    }
    names.sort();
    Ok(names)
}

/// One build per process: what is built once does not change under a running tool.
static DONE: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn cargo(
    toolchain: &Toolchain,
    dir: &Path,
    target: &Path,
    what: &str,
    packages: &[&str],
) -> Result<Built> {
    let mut done = DONE
        .lock()
        .map_err(|_| Error::missing("another thread failed to build"))?;
    if done.iter().any(|done| done == what) {
        return Ok(built_in(target));
    }
    let _guard = alone(target)?;
    let built = build(toolchain, dir, target, what, packages)?;
    done.push(what.to_owned());
    Ok(built)
}

/// Nobody else builds in `target` while the file is open.
fn alone(target: &Path) -> Result<fs::File> {
    fs::create_dir_all(target).map_err(Error::file(target))?;
    let guard = fs::File::create(target.join(".atoll-lock")).map_err(Error::file(target))?;
    guard.lock().map_err(Error::file(target))?;
    Ok(guard)
}

fn build(
    toolchain: &Toolchain,
    dir: &Path,
    target: &Path,
    what: &str,
    packages: &[&str],
) -> Result<Built> {
    let mut command = toolchain.cargo();
    command
        .args([
            "build",
            "--profile",
            "bare",
            "--target",
            TARGET,
            "--target-dir",
        ])
        .arg(target)
        .args(packages)
        .current_dir(dir);
    run(&mut command, what)?;
    Ok(built_in(target))
}

fn built_in(target: &Path) -> Built {
    Built {
        dir: target.join(TARGET).join("bare"),
        own: BTreeMap::new(),
    }
}

/// Runs a build, showing how it goes, and what it said if it fails.
pub(crate) fn run(command: &mut Command, what: &str) -> Result<()> {
    tracing::debug!(?command, "building");
    let step = Step::begin(format!("Building {what}"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Error::program("cargo", error))?;
    let mut said = VecDeque::new();
    for line in child
        .stderr
        .take()
        .into_iter()
        .flat_map(|stderr| BufReader::new(stderr).lines().map_while(Result::ok))
    {
        step.detail(&line);
        said.push_back(line);
        if said.len() > 4000 {
            said.pop_front();
        }
    }
    let status = child
        .wait()
        .map_err(|error| Error::program("cargo", error))?;
    drop(step);
    if status.success() {
        return Ok(());
    }
    for line in said {
        complain(line);
    }
    Err(Error::Build {
        package: what.to_owned(),
        status: status.to_string(),
    })
}
