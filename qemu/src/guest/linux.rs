//! Debian's kernel and busybox, fetched through the package manager whatever kernel the host itself runs.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use object::read::elf::ProgramHeader;

use super::format::{self, Format};
use crate::error::{Error, Result};
use crate::package::apt::Apt;
use crate::package::lock::Lock;
use crate::package::unpack;
use crate::place;
use crate::progress::Step;

/// Which of Debian's kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Flavor {
    /// For virtual machines: smaller, boots faster.
    #[default]
    Cloud,
    /// For everything.
    Generic,
}

impl Flavor {
    /// The flavor's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Generic => "generic",
        }
    }

    /// The package that depends on the current kernel of this flavor.
    fn metapackage(self) -> &'static str {
        match self {
            Self::Cloud => "linux-image-cloud-amd64",
            Self::Generic => "linux-image-amd64",
        }
    }

    fn accepts(self, package: &str) -> bool {
        package.starts_with("linux-image-")
            && package.ends_with("-amd64")
            && package.contains("-cloud-") == (self == Self::Cloud)
    }
}

/// Of which of Debian's releases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Release {
    /// The one that runs here.
    #[default]
    Host,
    /// Debian 13.
    Trixie,
}

/// One of Debian's kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    /// Its flavor.
    pub flavor: Flavor,
    /// Its release.
    pub release: Release,
}

impl Kernel {
    /// All of them, by the names of guests.
    pub const ALL: [(&str, Kernel); 4] = [
        (
            "linux",
            Kernel {
                flavor: Flavor::Cloud,
                release: Release::Host,
            },
        ),
        (
            "generic",
            Kernel {
                flavor: Flavor::Generic,
                release: Release::Host,
            },
        ),
        (
            "linux-13",
            Kernel {
                flavor: Flavor::Cloud,
                release: Release::Trixie,
            },
        ),
        (
            "generic-13",
            Kernel {
                flavor: Flavor::Generic,
                release: Release::Trixie,
            },
        ),
    ];

    /// What it is called in the cache.
    fn file(self) -> String {
        let suffix = match self.release {
            Release::Host => "",
            Release::Trixie => "-13",
        };
        format!("vmlinuz-{}{suffix}", self.flavor.name())
    }

    /// The one that a guest's name means.
    #[must_use]
    pub fn named(name: &str) -> Option<Kernel> {
        Self::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, kernel)| *kernel)
    }
}

/// Debian's kernel, from the cache or fetched into it.
pub fn kernel(kernel: Kernel, offline: bool) -> Result<PathBuf> {
    let Kernel { flavor, release } = kernel;
    let version = match release {
        Release::Host => "",
        Release::Trixie => " 13",
    };
    let file = kernel.file();
    let label = format!("Debian{version}'s {} kernel", flavor.name());
    cached(&file, &label, offline, release, |apt| {
        let package = apt
            .with_lists(|apt| apt.dependency(flavor.metapackage(), |name| flavor.accepts(name)))?;
        Ok((
            package,
            Box::new(|path| path.trim_start_matches("./").starts_with("boot/vmlinuz-")),
        ))
    })
}

/// A statically linked busybox, from the cache or fetched into it.
pub fn busybox(offline: bool) -> Result<PathBuf> {
    cached(BUSYBOX, "busybox", offline, Release::Host, |_| {
        Ok((
            "busybox-static".into(),
            Box::new(|path| path.ends_with("/bin/busybox")),
        ))
    })
}

/// Takes files that were put into a directory by hand, as if they had been fetched: what they are called there, and what they are.
pub fn take_from(dir: &Path) -> Result<Vec<PathBuf>> {
    let cache = place::cache()?.join("guest");
    fs::create_dir_all(&cache).map_err(Error::file(&cache))?;
    let kernels = Kernel::ALL.iter().map(|(_, kernel)| kernel.file());
    let names = kernels
        .map(|file| (file.clone(), file))
        .chain([("vmlinuz".to_owned(), Kernel::default().file())])
        .chain([(BUSYBOX.to_owned(), BUSYBOX.to_owned())]);
    let mut taken = Vec::new();
    let mut known = Vec::new();
    for (name, as_) in names {
        let (from, to) = (dir.join(&name), cache.join(as_));
        known.push(name);
        if !from.is_file() || taken.contains(&to) {
            continue;
        }
        check_taken(&from)?;
        fs::copy(&from, &to).map_err(Error::file(&to))?;
        taken.push(to);
    }
    if taken.is_empty() {
        return Err(Error::guest(
            dir,
            format_args!("has none of these files: {}", known.join(", ")),
        ));
    }
    Lock::open()?.record(&taken)?;
    Ok(taken)
}

/// Whether a file by hand is what its name says: the guest would tell later, and less clearly.
fn check_taken(path: &Path) -> Result<()> {
    if path.file_name().is_some_and(|name| name != BUSYBOX) {
        return match format::read(path)? {
            (Format::BzImage, _) => Ok(()),
            _ => Err(Error::guest(path, "is no bzImage, which Linux's kernel is")),
        };
    }
    let bytes = fs::read(path).map_err(Error::file(path))?;
    let file = object::read::elf::ElfFile64::<object::Endianness>::parse(&*bytes)
        .map_err(|error| Error::guest(path, format_args!("is no program for x86-64: {error}")))?;
    let dynamic = file
        .elf_program_headers()
        .iter()
        .any(|segment| segment.p_type(file.endian()) == object::elf::PT_INTERP);
    if dynamic {
        return Err(Error::guest(
            path,
            "needs libraries, which the guest does not have: use a busybox that is linked statically",
        ));
    }
    Ok(())
}

const BUSYBOX: &str = "busybox";

type Wanted = Box<dyn Fn(&str) -> bool>;

fn cached(
    name: &str,
    label: &str,
    offline: bool,
    release: Release,
    find: impl Fn(&mut Apt) -> Result<(String, Wanted)>,
) -> Result<PathBuf> {
    let dir = place::cache()?.join("guest");
    fs::create_dir_all(&dir).map_err(Error::file(&dir))?;
    let path = dir.join(name);
    let guard = fs::File::create(dir.join(".lock")).map_err(Error::file(&dir))?;
    guard.lock().map_err(Error::file(&dir))?;
    let lock = Lock::open()?;
    if path.is_file() {
        lock.verify(&path)?;
        return Ok(path);
    }
    if offline {
        return Err(Error::missing(format_args!(
            "{label} is not in the cache ({}): run `atoll fetch` while online",
            path.display()
        )));
    }
    Step::of(format!("Fetching {label}"), |step| {
        fetch(&path, label, &lock, release, find, step)
    })?;
    Ok(path)
}

fn fetch(
    path: &Path,
    label: &str,
    lock: &Lock,
    release: Release,
    find: impl Fn(&mut Apt) -> Result<(String, Wanted)>,
    step: &Step,
) -> Result<()> {
    let dir = path.parent().unwrap_or(path);
    let mut apt = match release {
        Release::Host => Apt::find(label)?,
        Release::Trixie => Apt::find(label)?.of_release("trixie")?,
    };
    let (package, wanted) = find(&mut apt)?;
    step.detail(&package);
    let download = tempfile::tempdir_in(dir).map_err(Error::file(dir))?;
    let packages =
        apt.with_lists(|apt| apt.download(std::slice::from_ref(&package), download.path()))?;
    let package = packages
        .first()
        .ok_or_else(|| Error::program("apt-get", "it downloaded nothing"))?;
    unpack::one_file(package, wanted, path)?;
    lock.record(&[path.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_name_says_flavor_and_release() {
        assert_eq!(Kernel::named("linux"), Some(Kernel::default()));
        assert_eq!(
            Kernel::named("generic-13"),
            Some(Kernel {
                flavor: Flavor::Generic,
                release: Release::Trixie
            })
        );
        assert_eq!(Kernel::named("hello"), None);
    }

    #[test]
    fn a_file_by_hand_is_looked_at_before_it_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("vmlinuz"), "text").unwrap();
        let error = check_taken(&path("vmlinuz")).unwrap_err().to_string();
        assert!(error.contains("is neither a bzImage"), "{error}");
        // This test itself is a program that needs libraries.
        fs::copy(std::env::current_exe().unwrap(), path(BUSYBOX)).unwrap();
        let error = check_taken(&path(BUSYBOX)).unwrap_err().to_string();
        assert!(error.contains("linked statically"), "{error}");
    }

    #[test]
    fn each_flavor_takes_only_its_own_kernel_package() {
        assert!(Flavor::Cloud.accepts("linux-image-6.1.0-56-cloud-amd64"));
        assert!(!Flavor::Cloud.accepts("linux-image-6.1.0-56-amd64"));
        assert!(Flavor::Generic.accepts("linux-image-6.12.9+deb13-amd64"));
        assert!(!Flavor::Generic.accepts("linux-image-6.12.9+deb13-cloud-amd64"));
    }
}
