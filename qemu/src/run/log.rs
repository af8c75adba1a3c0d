//! The kernel's log, as a file that does not grow without bound: it lies where a user's memory is, as a rule. QEMU appends to it; what is
//! old is given back to the file system by a hole at the file's beginning. Nothing is copied or renamed, so that no line is lost in between,
//! whoever reads goes on where it was, and what there is stays right when the tool is killed (QEMU ends with it).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;
use nix::unistd::{Whence, lseek};

use crate::error::{Error, Result};
use crate::progress::note;

/// What stands, behind the time, before what the kernel tells when it is left: for [`Totals`](super::statistics::Totals), not for people.
const TOTAL: &str = "] total: ";
/// Bytes of the log that are kept at least.
const KEPT: u64 = 1 << 20;
/// Bytes that it may have before the oldest are dropped.
const MOST: u64 = 4 << 20;
/// Where the file is begun anew, hole and all: QEMU may not write a file of any length.
const LENGTH: u64 = 1 << 30;
/// Holes are made of whole blocks of this size.
const BLOCK: u64 = 64 << 10;
/// How often the file is looked at: the kernel's throttles let some kilobytes through in that time.
const PERIOD: Duration = Duration::from_secs(1);

/// Keeps a log within its bounds until it is dropped.
#[derive(Debug)]
pub struct Keeper {
    _alive: Sender<()>,
}

impl Keeper {
    /// For the log at `path`, which QEMU is about to make.
    #[must_use]
    pub fn start(path: PathBuf) -> Self {
        let (alive, ended) = mpsc::channel();
        thread::spawn(move || {
            let (mut bounded, mut full) = (true, false);
            while ended.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                if bounded && let Err(error) = trim(&path, KEPT, MOST, LENGTH) {
                    bounded = false;
                    note(format!(
                        "the kernel's log grows without bound, {}: {error}",
                        path.display()
                    ));
                }
                if !full && is_full(&path) {
                    full = true;
                    note(format!(
                        "{}: the disk is full: the machine goes on, the kernel's log does not",
                        path.display()
                    ));
                }
            }
        });
        Self { _alive: alive }
    }
}

/// Whether there is no room for a further line.
fn is_full(path: &Path) -> bool {
    path.parent().is_some_and(|dir| {
        statvfs(dir).is_ok_and(|disk| disk.blocks() > 0 && disk.blocks_available() == 0)
    })
}

/// Where what is kept begins.
fn start(file: &File) -> u64 {
    lseek(file, 0, Whence::SeekData)
        .ok()
        .and_then(|at| u64::try_from(at).ok())
        .unwrap_or(0)
}

/// Drops what is old, if there is more than `most`, up to the last `kept` bytes; all of it where the file has its length.
fn trim(path: &Path, kept: u64, most: u64, length: u64) -> std::io::Result<()> {
    let Ok(file) = File::options().write(true).read(true).open(path) else {
        return Ok(());
    };
    let about = file.metadata()?;
    let size = about.size();
    if !about.is_file() || size.saturating_sub(start(&file)) <= most {
        return Ok(());
    }
    if size > length {
        return file.set_len(0);
    }
    let end = size.saturating_sub(kept) / BLOCK * BLOCK;
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(&file, flags, 0, end.cast_signed())?;
    Ok(())
}

/// A log that is read while it grows.
#[derive(Debug)]
pub struct Tail<'p> {
    path: &'p Path,
    file: Option<File>,
    at: u64,
}

impl<'p> Tail<'p> {
    /// From its beginning.
    #[must_use]
    pub fn of(path: &'p Path) -> Self {
        Self {
            path,
            file: None,
            at: 0,
        }
    }

    /// What is new, and how much of that has been dropped already. The file does not exist before QEMU has started.
    pub fn more(&mut self) -> Result<String> {
        if self.file.is_none() {
            match File::open(self.path) {
                Ok(file) => self.file = Some(file),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Ok(String::new());
                }
                Err(error) => return Err(Error::file(self.path)(error)),
            }
        }
        let Some(file) = &mut self.file else {
            return Ok(String::new());
        };
        let begun_anew = file.metadata().map_err(Error::file(self.path))?.size() < self.at;
        if begun_anew {
            self.at = 0;
        }
        let (read, begins) = (self.at, start(file));
        let from = begins.max(read);
        let mut bytes = Vec::new();
        // A device, or what somebody else has put there, is not read without end.
        let count = file
            .seek(SeekFrom::Start(from))
            .and_then(|_| file.take(2 * MOST).read_to_end(&mut bytes));
        self.at = from + count.map_err(Error::file(self.path))? as u64;
        let text = String::from_utf8_lossy(&bytes);
        if begun_anew {
            return Ok(format!("(some of the log was dropped here)\n{text}"));
        }
        if begins <= read {
            return Ok(text.into_owned());
        }
        // The line that the hole has cut in two goes with it.
        let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
        Ok(format!(
            "({} bytes of the log were dropped here)\n{rest}",
            from - read
        ))
    }
}

/// A log without what is not for people.
#[must_use]
pub fn readable(log: &str) -> String {
    log.split_inclusive('\n')
        .filter(|line| total(line).is_none())
        .collect()
}

/// What the kernel has told when it was left: of what kind, and the record.
pub fn totals(log: &str) -> impl Iterator<Item = (&str, Vec<u8>)> {
    log.lines().filter_map(|line| {
        let (what, digits) = total(line)?.split_once(' ')?;
        Some((what, bytes(digits)?))
    })
}

/// What the kernel tells on this line when it is left. A server's text that looks like it stands behind the server's name.
fn total(line: &str) -> Option<&str> {
    let (time, text) = line.split_once(TOTAL)?;
    (time.starts_with('[') && !time.contains(']')).then_some(text.trim_end())
}

/// Bytes of digits.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let pair = std::str::from_utf8(pair)
                .ok()
                .filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect()
}

/// All that there is of the log at `path`.
pub fn text(path: &Path) -> Result<String> {
    Tail::of(path).more()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_written_later_is_read_later_and_nothing_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kernel.log");
        let mut tail = Tail::of(&path);
        assert_eq!(tail.more().unwrap(), "", "there is no file yet");
        let mut file = File::create(&path).unwrap();
        for part in ["one\n", "two", " three\n"] {
            file.write_all(part.as_bytes()).unwrap();
            assert_eq!(tail.more().unwrap(), part);
        }
        assert_eq!(tail.more().unwrap(), "");
    }

    #[test]
    fn a_log_has_a_bound_and_says_what_was_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kernel.log");
        let mut file = File::create(&path).unwrap();
        let (kept, most) = (4 * BLOCK, 8 * BLOCK);
        let mut lines = 0_u64..;
        let mut write = |bytes: u64| {
            let mut written = 0;
            while written < bytes {
                let line = format!("line {}\n", lines.next().unwrap());
                written += line.len() as u64;
                file.write_all(line.as_bytes()).unwrap();
            }
        };
        write(100);
        let mut tail = Tail::of(&path);
        let first = tail.more().unwrap();
        assert!(first.starts_with("line 0\nline 1\n"), "{first}");
        for _ in 0..20 {
            write(2 * BLOCK);
            trim(&path, kept, most, u64::MAX).unwrap();
            let blocks = std::fs::metadata(&path).unwrap().blocks() * 512;
            assert!(blocks <= most + 2 * BLOCK, "{blocks} bytes on the disk");
        }
        // Whoever has read the beginning is told what is missing, and so is whoever comes now.
        for text in [tail.more().unwrap(), text(&path).unwrap()] {
            let (said, rest) = text.split_once('\n').unwrap();
            assert!(
                said.ends_with("bytes of the log were dropped here)"),
                "{said}"
            );
            let numbers: Vec<u64> = rest
                .lines()
                .map(|line| line.strip_prefix("line ").unwrap().parse().unwrap())
                .collect();
            assert!(
                numbers.windows(2).all(|pair| pair[0] + 1 == pair[1])
                    && numbers.len() as u64 * 12 >= kept,
                "{}",
                numbers.len()
            );
            assert_eq!(
                numbers.last().copied(),
                lines.clone().next().map(|next: u64| next - 1),
                "the end is there"
            );
        }
    }

    #[test]
    fn a_log_that_has_its_length_begins_anew_and_its_reader_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kernel.log");
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        let mut tail = Tail::of(&path);
        file.write_all(&[b'x'; 100]).unwrap();
        tail.more().unwrap();
        trim(&path, 10, 50, 90).unwrap();
        file.write_all(b"anew\n").unwrap();
        assert_eq!(
            tail.more().unwrap(),
            "(some of the log was dropped here)\nanew\n"
        );
        file.write_all(b"and on\n").unwrap();
        assert_eq!(tail.more().unwrap(), "and on\n");
    }

    #[test]
    fn a_device_in_the_logs_place_is_neither_trimmed_nor_read_for_ever() {
        trim(Path::new("/dev/full"), 1, 1, 1).unwrap();
        assert!(text(Path::new("/dev/zero")).unwrap().len() as u64 <= 2 * MOST);
    }
}
