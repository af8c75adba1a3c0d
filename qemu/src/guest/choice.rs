//! Which guest is booted, with everything that it needs in memory and looked at.

use std::fs;
use std::path::{Path, PathBuf};

use super::addition::Addition;
use super::archive::Archive;
use super::format::{self, Format, memory_needed};
use super::init::Marks;
use super::initramfs::{self, Job};
use super::intree;
use super::linux::{self, Kernel};
use crate::bare::Toolchain;
use crate::bare::target::Permission;
use crate::error::{Error, Result};
use crate::progress::note;

/// Most modules of a multiboot kernel.
const MODULES: usize = 7;
/// What any guest needs beside its files.
const WORKING_MEMORY: u64 = 8 << 20;

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// One of [`Kernel::ALL`], or an in-tree guest.
    pub name: Option<String>,
    /// A kernel's file.
    pub kernel: Option<PathBuf>,
    /// An initial RAM disk's file; of a multiboot kernel the modules' files, each with its text behind a blank, between commas.
    pub initrd: Option<PathBuf>,
    /// More for the command line.
    pub append: Option<String>,
    /// Files that Linux is to have beside its initial RAM disk.
    pub add: Vec<Addition>,
    /// What the initramfs of ours is to do.
    pub job: Job,
    /// Whether runs are to repeat bit by bit.
    pub repeatable: bool,
    /// What may be installed or fetched.
    pub permission: Permission,
}

/// A guest, ready to be packed or booted.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Where its kernel came from.
    pub path: PathBuf,
    /// What kind of kernel it is.
    pub format: Format,
    /// Its kernel.
    pub kernel: Vec<u8>,
    /// Its initial RAM disk.
    pub initrd: Option<Vec<u8>>,
    /// Its modules, if it is a multiboot kernel, each with its text.
    pub modules: Vec<(String, Vec<u8>)>,
    /// Its command line.
    pub command_line: String,
    /// Marks around its command's output, if it runs one.
    pub marks: Option<Marks>,
}

impl Choice {
    /// Finds, fetches or builds it.
    pub fn find(&self) -> Result<Guest> {
        let offline = self.permission.offline;
        match (&self.kernel, self.name.as_deref()) {
            (Some(kernel), _) => self.given(kernel),
            (None, Some(name)) => match Kernel::named(name) {
                Some(kernel) => self.given(&linux::kernel(kernel, offline)?),
                None => self.in_tree(name),
            },
            (None, None) => match self.fetched() {
                // A wrong file must not look as if the network were at fault.
                Err(error @ (Error::Missing { .. } | Error::Program { .. }))
                    if self.job.exec.is_none() && self.initrd.is_none() && self.add.is_empty() =>
                {
                    note(format!("Linux cannot be fetched: {error}"));
                    note("booting the in-tree guest 'hello' instead");
                    self.in_tree("hello")
                }
                guest => guest,
            },
        }
    }

    fn fetched(&self) -> Result<Guest> {
        self.given(&linux::kernel(Kernel::default(), self.permission.offline)?)
    }

    fn given(&self, path: &Path) -> Result<Guest> {
        let (format, kernel) = format::read(path)?;
        let is_linux = is_linux(format, &kernel);
        let ours = is_linux && self.initrd.is_none();
        if self.job.exec.is_some() && !ours {
            return Err(Error::guest(
                path,
                "is no Linux kernel: --exec needs Linux with Atoll's own initramfs",
            ));
        }
        let modules = match &self.initrd {
            Some(list) if format == Format::Multiboot => read_modules(list)?,
            _ => Vec::new(),
        };
        let initrd = match &self.initrd {
            Some(_) if format == Format::Multiboot => None,
            Some(initrd) => Some(fs::read(initrd).map_err(Error::file(initrd))?),
            None if ours => match linux::busybox(self.permission.offline) {
                Ok(busybox) => Some(initramfs::build(&busybox, &self.job)?),
                // Whoever gives a kernel by hand may have no use for our shell.
                Err(error @ (Error::Missing { .. } | Error::Program { .. }))
                    if self.kernel.is_some() && self.job.exec.is_none() =>
                {
                    note(format!("booting without a shell: {error}"));
                    None
                }
                Err(error) => return Err(error),
            },
            None => None,
        };
        let initrd = match &self.add[..] {
            [] => initrd,
            _ if format != Format::BzImage => {
                return Err(Error::guest(path, "is no bzImage: --add needs Linux"));
            }
            add => {
                let mut more = Archive::default();
                add.iter().try_for_each(|one| one.pack(&mut more))?;
                Some(beside(initrd.unwrap_or_default(), more)?)
            }
        };
        let marks = self.job.exec.as_ref().map(|(_, marks)| marks.clone());
        Ok(Guest {
            path: path.to_owned(),
            format,
            kernel,
            initrd,
            modules,
            command_line: self.command_line(is_linux),
            marks,
        })
    }

    fn in_tree(&self, name: &str) -> Result<Guest> {
        if !self.add.is_empty() {
            return Err(Error::Usage {
                what: format!("--add needs Linux; '{name}' is no Linux"),
            });
        }
        if self.job.exec.is_some() {
            return Err(Error::Usage {
                what: format!("--exec needs Linux; '{name}' is no Linux"),
            });
        }
        let (path, kernel) = intree::build(name, &Toolchain::find(self.permission)?)?;
        let command_line = self.command_line(false);
        Ok(Guest {
            path,
            format: Format::Multiboot,
            kernel,
            initrd: None,
            modules: Vec::new(),
            command_line,
            marks: None,
        })
    }

    fn command_line(&self, is_linux: bool) -> String {
        let mut words = Vec::new();
        if is_linux {
            words.push("console=ttyS0 panic=-1");
            if self.repeatable {
                words.push("nokaslr");
            }
        }
        words.extend(self.append.as_deref());
        words.join(" ")
    }
}

/// Whether a kernel is Linux: one without its own packing says so itself.
fn is_linux(format: Format, kernel: &[u8]) -> bool {
    let banner = b"Linux version ";
    match format {
        Format::BzImage => true,
        Format::Multiboot => false,
        Format::Pvh => kernel.windows(banner.len()).any(|text| text == banner),
    }
}

/// Reads a multiboot kernel's modules. QEMU and Atoll give each its text with the file's name in front, as GRUB does.
fn read_modules(list: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let list = list.to_string_lossy();
    let modules: Vec<&str> = list.split(',').map(str::trim).collect();
    if modules.len() > MODULES {
        return Err(Error::Usage {
            what: format!(
                "--initrd names {} modules; at most {MODULES} are loaded",
                modules.len()
            ),
        });
    }
    let read = |text: &&str| {
        let file = Path::new(text.split(' ').next().unwrap_or_default());
        let bytes = fs::read(file).map_err(Error::file(file))?;
        Ok(((*text).to_owned(), bytes))
    };
    modules.iter().map(read).collect()
}

impl Guest {
    /// Adds an archive to its initial RAM disk. Linux unpacks one after the other; what comes later replaces what was there.
    pub(crate) fn unpack_also(&mut self, more: Archive) -> Result<()> {
        self.initrd = Some(beside(self.initrd.take().unwrap_or_default(), more)?);
        Ok(())
    }

    /// What its kernel is called: the first word of a multiboot kernel's command line.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Refuses a guest that its machine's memory cannot hold.
    pub fn check_memory(&self, memory: u64) -> Result<()> {
        let modules = self.modules.iter().map(|(_, bytes)| bytes.len());
        let initrd = (self.initrd.as_ref().map_or(0, Vec::len) + modules.sum::<usize>()) as u64;
        let needed = memory_needed(&self.kernel)
            .saturating_add(initrd)
            .saturating_add(WORKING_MEMORY);
        if needed <= memory {
            return Ok(());
        }
        let needed = needed.div_ceil(2 << 20) * 2;
        Err(Error::Memory {
            file: self.path.display().to_string(),
            needed,
            memory: memory >> 20,
        })
    }
}

/// An initial RAM disk with another archive behind it.
fn beside(mut initrd: Vec<u8>, more: Archive) -> Result<Vec<u8>> {
    initrd.resize(initrd.len().next_multiple_of(512), 0);
    initrd.extend(more.finish()?);
    Ok(initrd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exec_with_a_kernel_that_is_no_linux_is_refused() {
        let kernel = tempfile::NamedTempFile::new().unwrap();
        let mut image = vec![0; 64];
        image[..4].copy_from_slice(&0x1bad_b002_u32.to_le_bytes());
        image[8..12].copy_from_slice(&0x1bad_b002_u32.wrapping_neg().to_le_bytes());
        fs::write(kernel.path(), image).unwrap();
        let job = Job {
            exec: Some(("true".into(), Marks::new("1"))),
            ..Job::default()
        };
        let choice = Choice {
            kernel: Some(kernel.path().to_owned()),
            job,
            ..Choice::default()
        };
        assert!(
            choice
                .find()
                .unwrap_err()
                .to_string()
                .contains("--exec needs Linux")
        );
    }

    #[test]
    fn a_multiboot_kernels_modules_are_read_each_with_its_text() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        fs::write(&one, "first").unwrap();
        fs::write(&two, "second").unwrap();
        let list = format!("{} root=/dev/sda,{}", one.display(), two.display());
        let modules = read_modules(Path::new(&list)).unwrap();
        assert_eq!(
            modules,
            [
                (
                    format!("{} root=/dev/sda", one.display()),
                    b"first".to_vec()
                ),
                (two.display().to_string(), b"second".to_vec())
            ]
        );
        let many = vec![one.display().to_string(); 8].join(",");
        let error = read_modules(Path::new(&many)).unwrap_err().to_string();
        assert!(error.contains("at most 7"), "{error}");
    }

    #[test]
    fn an_elf_file_is_linux_if_it_says_so() {
        assert!(is_linux(Format::Pvh, b"...Linux version 6.1 (debian)"));
        assert!(!is_linux(Format::Pvh, b"Xen 4.17"));
        assert!(is_linux(Format::BzImage, b"") && !is_linux(Format::Multiboot, b"Linux version "));
    }

    #[test]
    fn a_guest_that_does_not_fit_says_how_much_it_needs() {
        let guest = Guest {
            path: "vmlinuz".into(),
            format: Format::Multiboot,
            kernel: vec![0; 40 << 20],
            initrd: None,
            modules: Vec::new(),
            command_line: String::new(),
            marks: None,
        };
        let error = guest.check_memory(32 << 20).unwrap_err().to_string();
        assert!(
            error.contains("48 MiB") && error.contains("--memory 48M"),
            "{error}"
        );
        guest.check_memory(48 << 20).unwrap();
    }
}
