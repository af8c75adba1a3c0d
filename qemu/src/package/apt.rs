//! `apt-get` and `apt-cache`, with package lists of the tool's own where the system's are missing and only root could fetch them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};
use crate::{place, progress};

/// The keys of all of Debian's releases.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What to do on a system without it.
fn without(what: &str) -> String {
    format!(
        "{what} is not here, and there is no apt-get to fetch it (this is neither Debian nor Ubuntu): install QEMU (Fedora: qemu-system-x86-core, \
         Arch: qemu-system-x86, Nix: qemu), put a kernel as `vmlinuz` and a static `busybox` into a directory for `atoll fetch --from DIR`, or give \
         --kernel FILE and --initrd FILE"
    )
}

/// How the package manager is called.
#[derive(Clone, Debug, Default)]
pub struct Apt {
    options: Vec<String>,
    /// Its lists are of the tool's own already.
    own_lists: bool,
}

impl Apt {
    /// The system's package manager, if this is a system that has one: `what` is to come from it.
    pub fn find(what: &str) -> Result<Self> {
        match place::on_path("apt-get") {
            Some(_) => Ok(Self {
                options: vec!["-oAPT::Sandbox::User=root".into()],
                own_lists: false,
            }),
            None => Err(Error::missing(without(what))),
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .args(&self.options)
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        command
    }

    /// Fetches package lists: the system's when this is root, else lists of the tool's own in the cache.
    pub fn update(&mut self) -> Result<()> {
        if !self.own_lists && !nix::unistd::geteuid().is_root() {
            self.keep_lists(&place::cache()?.join("apt"))?;
        }
        progress::Step::of("Fetching the package lists", |_| {
            run(self.command("apt-get").args(["update", "-q"]))
        })
        .map(drop)
    }

    fn keep_lists(&mut self, own: &Path) -> Result<()> {
        for dir in ["lists/partial", "archives/partial"] {
            std::fs::create_dir_all(own.join(dir)).map_err(Error::file(own.join(dir)))?;
        }
        self.options.push(format!(
            "-oDir::State::lists={}",
            own.join("lists").display()
        ));
        self.options.push(format!("-oDir::Cache={}", own.display()));
        self.own_lists = true;
        Ok(())
    }

    /// Takes packages from another of Debian's releases, out of the archive that this system uses itself. The system's own sources and
    /// lists stay as they are.
    pub fn of_release(mut self, codename: &str) -> Result<Self> {
        let format = [
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE)",
            "Created-By: Packages",
        ];
        let sources = run(self.command("apt-get").args(format))?;
        let archive = debian_archive(&sources).ok_or_else(|| {
            Error::missing(format_args!(
                "no source of packages here is Debian's archive: cannot fetch from {codename}"
            ))
        })?;
        let own = place::cache()?.join(format!("apt-{codename}"));
        self.keep_lists(&own)?;
        let list = own.join("sources.list");
        std::fs::write(
            &list,
            format!("deb [signed-by={KEYRING}] {archive} {codename} main\n"),
        )
        .map_err(Error::file(&list))?;
        self.options
            .push(format!("-oDir::Etc::sourcelist={}", list.display()));
        self.options.push("-oDir::Etc::sourceparts=-".into());
        Ok(self)
    }

    /// Runs `work`, and once more after fetching the package lists if it fails.
    pub fn with_lists<T>(&mut self, work: impl Fn(&Self) -> Result<T>) -> Result<T> {
        work(self).or_else(|_| {
            self.update()?;
            work(self)
        })
    }

    /// The package that `package` depends on and whose name `wanted` accepts.
    pub fn dependency(&self, package: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let text = run(self.command("apt-cache").args(["depends", package]))?;
        text.lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|name| wanted(name))
            .map(str::to_owned)
            .ok_or_else(|| {
                Error::program(
                    "apt-cache",
                    format_args!("the package {package} names no kernel"),
                )
            })
    }

    /// `packages` and everything they depend on that is not installed, or whose name begins with one of `family`. Of alternatives one
    /// that is installed will do, else the first.
    pub fn missing_closure(&self, packages: &[&str], family: &[&str]) -> Result<Vec<String>> {
        let here =
            |name: &str| installed(name) && !family.iter().any(|prefix| name.starts_with(prefix));
        let depends = |names: &[String]| {
            run(self.command("apt-cache").arg("depends").args(names))
                .map(|text| dependency_groups(&text))
        };
        closure(packages, depends, here)
    }

    /// Downloads packages into `into` and gives their files.
    pub fn download(&self, packages: &[String], into: &Path) -> Result<Vec<PathBuf>> {
        std::fs::create_dir_all(into).map_err(Error::file(into))?;
        run(self
            .command("apt-get")
            .args(["download", "-q"])
            .args(packages)
            .current_dir(into))?;
        let mut files = Vec::new();
        for entry in std::fs::read_dir(into).map_err(Error::file(into))? {
            let path = entry.map_err(Error::file(into))?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Installs packages; only root may.
    pub fn install(&self, packages: &[&str]) -> Result<()> {
        run(self
            .command("apt-get")
            .args(["install", "-y", "-q", "--no-install-recommends"])
            .args(packages))
        .map(drop)
    }
}

/// `packages` and everything that they depend on and that is not here. `depends` gives the groups of alternatives of some packages.
fn closure(
    packages: &[&str],
    depends: impl Fn(&[String]) -> Result<Vec<Vec<String>>>,
    here: impl Fn(&str) -> bool,
) -> Result<Vec<String>> {
    let mut known: Vec<String> = packages.iter().map(|name| (*name).to_owned()).collect();
    let mut fresh = 0..known.len();
    while !fresh.is_empty() {
        let groups = depends(&known[fresh.clone()])?;
        let next = known.len();
        for group in groups {
            if !group.iter().any(|name| known.contains(name) || here(name)) {
                known.extend(group.into_iter().next());
            }
        }
        fresh = next..known.len();
    }
    Ok(known)
}

/// What `apt-cache depends` prints, as groups of alternatives: `|` before a dependency says that the next one would do as well. Names
/// that no package has (`<...>`) are left out.
fn dependency_groups(text: &str) -> Vec<Vec<String>> {
    let mut groups = Vec::new();
    let mut group = Vec::new();
    for line in text.lines() {
        let (open, line) = line
            .trim_start()
            .strip_prefix('|')
            .map_or((false, line.trim_start()), |rest| (true, rest));
        let Some(name) = line
            .strip_prefix("Depends: ")
            .or_else(|| line.strip_prefix("PreDepends: "))
        else {
            continue;
        };
        if !name.starts_with('<') {
            group.push(name.to_owned());
        }
        if !open && !group.is_empty() {
            groups.push(std::mem::take(&mut group));
        }
    }
    groups
}

/// Debian's archive among the sources (`URI release` lines): what has its path, and no suite beside the release itself.
fn debian_archive(sources: &str) -> Option<&str> {
    let mut sources = sources.lines().filter_map(|line| line.split_once(' '));
    sources
        .find(|(uri, release)| {
            uri.trim_end_matches('/').ends_with("/debian") && !release.contains(['-', '/'])
        })
        .map(|(uri, _)| uri)
}

/// Whether a package is installed.
#[must_use]
pub fn installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}\n", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.stdout.starts_with(b"installed"))
}

/// Runs a program to its end and gives its output; its last words if it fails.
pub fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    tracing::debug!(?command, "running");
    let output = command
        .output()
        .map_err(|error| Error::program(&program, error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing")
        .trim()
        .to_owned();
    Err(Error::program(
        program,
        format_args!("{last} ({})", output.status),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_archive_is_told_from_other_sources() {
        let sources = "http://a/debian-security/ bookworm-security\nhttps://b/apt x\nhttp://a/debian/ bookworm-updates\nhttp://c/debian/ bookworm\n";
        assert_eq!(debian_archive(sources), Some("http://c/debian/"));
        assert_eq!(debian_archive("https://b/apt bookworm\n"), None);
    }

    #[test]
    fn alternatives_stay_together_and_virtual_names_are_left_out() {
        let text = "a\n  Depends: libc6\n |Depends: gcc\n |Depends: clang\n  Depends: <c-compiler>\n    tcc\n  Recommends: x\nb\n  PreDepends: d\n";
        assert_eq!(
            dependency_groups(text),
            [vec!["libc6"], vec!["gcc", "clang"], vec!["d"]]
        );
    }

    #[test]
    fn what_is_here_is_left_out_with_all_that_only_it_depends_on() {
        let depends = |names: &[String]| {
            let groups = names.iter().flat_map(|name| match name.as_str() {
                "a" => vec![vec!["b", "c"], vec!["d"]],
                "b" => vec![vec!["a"], vec!["e"]],
                "d" => vec![vec!["f"]],
                _ => vec![],
            });
            Ok(groups
                .map(|group| group.into_iter().map(str::to_owned).collect())
                .collect())
        };
        assert_eq!(
            closure(&["a"], depends, |_| false).unwrap(),
            ["a", "b", "d", "e", "f"]
        );
        assert_eq!(
            closure(&["a"], depends, |name| ["c", "d"].contains(&name)).unwrap(),
            ["a"]
        );
        assert_eq!(
            closure(&["a"], depends, |name| name == "d").unwrap(),
            ["a", "b", "e"]
        );
    }
}
