//! Taking files out of a package without installing it. `dpkg-deb` takes the archive out of its compression; of the archive only what
//! is wanted is written (a kernel package holds thousands of modules that nobody here needs).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// Writes the first regular file of `package` whose path (`./boot/vmlinuz-6.1`) `wanted` accepts to `to`.
pub fn one_file(package: &Path, wanted: impl Fn(&str) -> bool, to: &Path) -> Result<()> {
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Error::program("dpkg-deb", error))?;
    let found = child
        .stdout
        .take()
        .map(|stream| copy_from(stream, wanted, to));
    let _ = child.kill();
    let _ = child.wait();
    match found {
        Some(Ok(true)) => Ok(()),
        Some(Err(error)) => Err(Error::file(to)(error)),
        _ => Err(Error::guest(
            package,
            "does not hold the file it was fetched for",
        )),
    }
}

fn copy_from(stream: impl io::Read, wanted: impl Fn(&str) -> bool, to: &Path) -> io::Result<bool> {
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() && wanted(&entry.path()?.to_string_lossy()) {
            let new = to.with_extension("new");
            io::copy(&mut entry, &mut fs::File::create(&new)?)?;
            fs::rename(new, to)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Unpacks whole packages into `root`.
pub fn all(packages: &[PathBuf], root: &Path) -> Result<()> {
    for package in packages {
        super::apt::run(Command::new("dpkg-deb").arg("-x").arg(package).arg(root))?;
    }
    Ok(())
}
