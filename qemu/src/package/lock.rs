//! The record of what is in the cache: one line per file, in the format of `sha256sum`, so that `sha256sum -c` can check it too.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::place;

const NAME: &str = "fetched.sha256";

/// SHA-256 of a file, in hexadecimal.
pub fn hash(path: &Path) -> Result<String> {
    let mut file = fs::File::open(path).map_err(Error::file(path))?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        match io::Read::read(&mut file, &mut chunk).map_err(Error::file(path))? {
            0 => break,
            read => hasher.update(&chunk[..read]),
        }
    }
    Ok(hasher
        .finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
}

/// The cache's record.
#[derive(Debug)]
pub struct Lock {
    cache: PathBuf,
}

impl Lock {
    /// The record of the cache.
    pub fn open() -> Result<Self> {
        Ok(Self {
            cache: place::cache()?,
        })
    }

    /// The record of another directory.
    #[must_use]
    pub fn of(cache: &Path) -> Self {
        Self {
            cache: cache.to_owned(),
        }
    }

    fn file(&self) -> PathBuf {
        self.cache.join(NAME)
    }

    fn entries(&self) -> Result<Vec<(String, String)>> {
        match fs::read_to_string(self.file()) {
            Ok(text) => Ok(text
                .lines()
                .filter_map(|line| {
                    line.split_once("  ")
                        .map(|(hash, name)| (name.to_owned(), hash.to_owned()))
                })
                .collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::file(self.file())(error)),
        }
    }

    fn name_of(&self, path: &Path) -> String {
        path.strip_prefix(&self.cache)
            .unwrap_or(path)
            .to_string_lossy()
            .into_owned()
    }

    /// Records files of the cache as they are now.
    pub fn record(&self, paths: &[PathBuf]) -> Result<()> {
        let guard = fs::File::create(self.cache.join(".lock")).map_err(Error::file(&self.cache))?;
        guard.lock().map_err(Error::file(&self.cache))?;
        let mut entries = self.entries()?;
        for path in paths {
            let (name, hash) = (self.name_of(path), hash(path)?);
            entries.retain(|(known, _)| *known != name);
            entries.push((name, hash));
        }
        entries.sort();
        let text: String = entries
            .iter()
            .map(|(name, hash)| format!("{hash}  {name}\n"))
            .collect();
        let new = self.cache.join(format!("{NAME}.new"));
        fs::write(&new, text).map_err(Error::file(&new))?;
        fs::rename(&new, self.file()).map_err(Error::file(self.file()))
    }

    /// Checks a file against its record. A file without a record is refused as well: it is not what was fetched.
    pub fn verify(&self, path: &Path) -> Result<()> {
        let name = self.name_of(path);
        let recorded = self
            .entries()?
            .into_iter()
            .find(|(known, _)| *known == name);
        match recorded {
            Some((_, recorded)) if recorded == hash(path)? => Ok(()),
            _ => Err(Error::Hash {
                path: path.to_owned(),
                lock: self.file(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changed_after_it_was_recorded_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kernel");
        fs::write(&path, "as fetched").unwrap();
        let lock = Lock::of(dir.path());
        lock.record(std::slice::from_ref(&path)).unwrap();
        lock.verify(&path).unwrap();
        fs::write(&path, "as changed").unwrap();
        assert!(matches!(lock.verify(&path), Err(Error::Hash { .. })));
    }

    #[test]
    fn a_file_that_was_never_recorded_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stray");
        fs::write(&path, "").unwrap();
        assert!(matches!(
            Lock::of(dir.path()).verify(&path),
            Err(Error::Hash { .. })
        ));
    }
}
