//! Files on their way between the host and the guest: into its initramfs before it boots, and out of it as an archive that its console shows
//! when its command has ended.

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::archive::Archive;
use crate::error::{Error, Result};

/// Where relative paths in the guest begin: where its shell and its commands run.
const HOME: &str = "root";

/// A file or directory of the host's that the guest is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    from: PathBuf,
    to: Option<String>,
}

/// One of the guest's that the host is to have when its command has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retrieval {
    from: String,
    to: PathBuf,
}

impl FromStr for Addition {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (from, to) = parts(text, "FILE[:PATH], for example ./data:/root/data")?;
        let to = to.map(within).transpose()?;
        Ok(Self {
            from: from.into(),
            to,
        })
    }
}

impl FromStr for Retrieval {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (from, to) = parts(text, "PATH[:FILE], for example /root/result:./result")?;
        let from = within(from)?;
        let name = from.rsplit('/').next().unwrap_or_default();
        let to = to.map_or_else(|| name.into(), PathBuf::from);
        Ok(Self { from, to })
    }
}

/// The part before the last colon, and that behind it if there is one.
fn parts<'t>(text: &'t str, form: &str) -> std::result::Result<(&'t str, Option<&'t str>), String> {
    let (from, to) = match text.rsplit_once(':') {
        Some((from, to)) => (from, Some(to)),
        None => (text, None),
    };
    if from.is_empty() || to == Some("") {
        return Err(format!("expected {form}"));
    }
    Ok((from, to))
}

/// A path in the guest, from its root on.
fn within(path: &str) -> std::result::Result<String, String> {
    let whole = Path::new("/").join(HOME).join(path);
    let mut names = Vec::new();
    for component in whole.components() {
        match component {
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(format!(
                    "'{path}': expected a path in the guest without '..'"
                ));
            }
        }
    }
    if names.is_empty() {
        return Err(format!("'{path}': expected a path below the guest's root"));
    }
    let directory = if path.ends_with('/') { "/" } else { "" };
    Ok(names.join("/") + directory)
}

impl Addition {
    /// Packs it, with the directories above it.
    pub(crate) fn pack(&self, archive: &mut Archive) -> Result<()> {
        let name = || {
            let whole = self.from.canonicalize().map_err(Error::file(&self.from))?;
            let name = whole
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            name.ok_or_else(|| {
                Error::guest(
                    &self.from,
                    "has no name: say how the guest is to call it (--add FILE:PATH)",
                )
            })
        };
        let to = match &self.to {
            None => format!("{HOME}/{}", name()?),
            Some(to) => match to.strip_suffix('/') {
                Some(directory) => format!("{directory}/{}", name()?),
                None => to.clone(),
            },
        };
        for (end, _) in to.match_indices('/') {
            archive.directory(&to[..end])?;
        }
        pack(archive, &self.from, &to)
    }
}

/// What the name leads to is followed where the user gives it, and kept as it is below.
fn pack(archive: &mut Archive, from: &Path, to: &str) -> Result<()> {
    let about = fs::metadata(from).map_err(Error::file(from))?;
    let mode = about.permissions().mode() & 0o7777;
    if about.is_file() {
        return archive.file(to, mode, &fs::read(from).map_err(Error::file(from))?);
    }
    if !about.is_dir() {
        return Err(Error::guest(from, "is neither a file nor a directory"));
    }
    archive.directory(to)?;
    let mut entries = fs::read_dir(from)
        .map_err(Error::file(from))?
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(Error::file(from))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_str().ok_or_else(|| {
            Error::guest(
                &path,
                "has a name that is not UTF-8, which the archive cannot have",
            )
        })?;
        let inside = format!("{to}/{name}");
        if entry.file_type().map_err(Error::file(&path))?.is_symlink() {
            let target = fs::read_link(&path).map_err(Error::file(&path))?;
            archive.link(&inside, target.as_os_str().as_encoded_bytes())?;
        } else {
            pack(archive, &path, &inside)?;
        }
    }
    Ok(())
}

impl Retrieval {
    /// As the guest's command line for `tar` has it.
    #[must_use]
    pub(crate) fn path(&self) -> &str {
        self.from.trim_end_matches('/')
    }

    /// Refuses to write over something: told before the guest boots.
    pub fn check(&self) -> Result<()> {
        match fs::symlink_metadata(&self.to) {
            Ok(_) => Err(Error::guest(
                &self.to,
                "is there already; --get does not write over it",
            )),
            Err(_) => Ok(()),
        }
    }
}

/// Puts what the guest has shown, an archive in Base64, where it was asked for.
pub fn unpack(shown: &[u8], wanted: &[Retrieval]) -> Result<()> {
    let text: Vec<u8> = shown
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let broken = |what: &dyn std::fmt::Display| {
        Error::program(
            "bringing files back",
            format_args!("the guest's archive is broken: {what}"),
        )
    };
    let bytes = STANDARD.decode(&text).map_err(|error| broken(&error))?;
    let dir = tempfile::tempdir_in(".").map_err(Error::file("."))?;
    tar::Archive::new(Cursor::new(bytes))
        .unpack(dir.path())
        .map_err(|error| broken(&error))?;
    for one in wanted {
        let found = dir.path().join(one.path());
        if fs::symlink_metadata(&found).is_err() {
            return Err(Error::missing(format_args!(
                "the guest has no /{} to bring back",
                one.path()
            )));
        }
        one.check()?;
        fs::rename(&found, &one.to).map_err(Error::file(&one.to))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_the_guest_begins_at_home_and_stays_in_the_guest() {
        let to = |text: &str| text.parse::<Addition>().unwrap().to;
        assert_eq!(to("a"), None);
        assert_eq!(to("a:b/./c"), Some("root/b/c".into()));
        assert_eq!(to("a:/etc/"), Some("etc/".into()));
        for wrong in ["", ":b", "a:", "a:../b", "a:/"] {
            assert!(wrong.parse::<Addition>().is_err(), "{wrong}");
        }
        let get: Retrieval = "out/result.txt".parse().unwrap();
        assert_eq!(
            (get.path(), get.to.as_path()),
            ("root/out/result.txt", Path::new("result.txt"))
        );
    }

    #[test]
    fn what_comes_back_is_put_where_it_was_asked_for_and_over_nothing() {
        let dir = tempfile::tempdir_in(".").unwrap();
        let to = dir.path().join("here");
        let wanted: Retrieval = format!("/root/result:{}", to.display()).parse().unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(4);
        header.set_mode(0o644);
        header.set_cksum();
        builder
            .append_data(&mut header, "root/result", &b"done"[..])
            .unwrap();
        let mut text = STANDARD.encode(builder.into_inner().unwrap());
        text.insert_str(76, "\r\n");
        wanted.check().unwrap();
        unpack(text.as_bytes(), std::slice::from_ref(&wanted)).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"done");
        let error = wanted.check().unwrap_err().to_string();
        assert!(error.contains("is there already"), "{error}");
        fs::remove_file(&to).unwrap();
        let missing: Retrieval = format!("/root/other:{}", to.display()).parse().unwrap();
        let error = unpack(text.as_bytes(), &[missing]).unwrap_err().to_string();
        assert!(error.contains("no /root/other"), "{error}");
        assert!(unpack(b"!", &[]).is_err());
    }
}
