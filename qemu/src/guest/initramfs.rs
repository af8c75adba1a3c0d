//! The guest's root: busybox and a script, as a `newc` archive in memory.

use std::path::Path;

use super::addition::Retrieval;
use super::archive::Archive;
use super::init::{INITTAB, Marks, SCRIPT, SHELL};
use crate::error::{Error, Result};

/// What the guest is to do.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// A command to run instead of a shell, and the marks to put around its output.
    pub exec: Option<(String, Marks)>,
    /// What is to be brought back when the command has ended.
    pub get: Vec<Retrieval>,
    /// The terminal's name and its size (rows, columns), if the console is one.
    pub terminal: Option<(String, u16, u16)>,
    /// A script to have at hand, as `/w`: a short name, since what is typed before the machine runs must fit its serial port.
    pub workload: Option<String>,
}

const DIRECTORIES: [&str; 9] = [
    "atoll", "bin", "dev", "etc", "proc", "root", "sys", "tmp", "mnt",
];

/// Packs the archive.
pub fn build(busybox: &Path, job: &Job) -> Result<Vec<u8>> {
    let busybox_bytes = std::fs::read(busybox).map_err(Error::file(busybox))?;
    let mut archive = Archive::default();
    for name in DIRECTORIES {
        archive.directory(name)?;
    }
    archive.device("dev/console", 5, 1)?;
    archive.device("dev/null", 1, 3)?;
    archive.file("bin/busybox", 0o755, &busybox_bytes)?;
    archive.file("init", 0o755, SCRIPT.as_bytes())?;
    archive.file("etc/inittab", 0o644, INITTAB.as_bytes())?;
    archive.file("atoll/shell", 0o755, SHELL.as_bytes())?;
    archive.file("etc/passwd", 0o644, b"root::0:0:root:/root:/bin/sh\n")?;
    archive.file("etc/group", 0o644, b"root:x:0:\n")?;
    if let Some((command, marks)) = &job.exec {
        archive.file("atoll/exec", 0o644, format!("{command}\n").as_bytes())?;
        archive.file("atoll/nonce", 0o644, marks.nonce().as_bytes())?;
        if !job.get.is_empty() {
            let paths: String = job
                .get
                .iter()
                .map(|one| one.path().to_owned() + "\n")
                .collect();
            archive.file("atoll/get", 0o644, paths.as_bytes())?;
        }
    }
    if let Some((name, rows, columns)) = &job.terminal {
        archive.file("atoll/term", 0o644, name.as_bytes())?;
        if *rows > 0 && *columns > 0 {
            archive.file(
                "atoll/size",
                0o644,
                format!("rows {rows} cols {columns}").as_bytes(),
            )?;
        }
    }
    if let Some(workload) = &job.workload {
        archive.file("w", 0o755, workload.as_bytes())?;
    }
    archive.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn names(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        let mut rest = Cursor::new(archive.to_vec());
        loop {
            let mut reader = cpio::newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                return found;
            }
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut content).unwrap();
            found.push((reader.entry().name().to_owned(), content));
            rest = reader.finish().unwrap();
        }
    }

    #[test]
    fn a_command_reaches_the_guest_byte_by_byte_with_its_nonce() {
        let busybox = tempfile::NamedTempFile::new().unwrap();
        let job = Job {
            exec: Some(("echo \"$HOME\" 'ä'".into(), Marks::new("n1"))),
            ..Job::default()
        };
        let files = names(&build(busybox.path(), &job).unwrap());
        let content = |name: &str| {
            files
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, c)| c.clone())
        };
        assert_eq!(
            content("atoll/exec").unwrap(),
            "echo \"$HOME\" 'ä'\n".as_bytes()
        );
        assert_eq!(content("atoll/nonce").unwrap(), b"n1");
        assert!(content("init").is_some() && content("dev/console").is_some());
    }

    #[test]
    fn an_interactive_guest_gets_no_command() {
        let busybox = tempfile::NamedTempFile::new().unwrap();
        let files = names(&build(busybox.path(), &Job::default()).unwrap());
        assert!(!files.iter().any(|(name, _)| name == "atoll/exec"));
    }
}
