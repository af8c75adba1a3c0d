//! The line into a running machine: questions and answers as postcard in COBS frames, over a Unix socket.

pub mod dump;
pub mod frame;
pub mod listing;
pub mod orders;
pub mod tables;
pub mod upload;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use atoll_protocol::control::{Ask, Tell};

use crate::error::{Error, Result};
use crate::run::instance::control_of;

/// How long an answer may take: a guest that keeps the host busy slows the control server down, too.
const PATIENCE: Duration = Duration::from_secs(5);

/// An open line.
#[derive(Debug)]
pub struct Line {
    name: String,
    stream: UnixStream,
    pending: Vec<u8>,
}

impl Line {
    /// To the machine with this name.
    pub fn open(name: &str) -> Result<Self> {
        let path = control_of(name)?;
        let mut line = Self::at(name, &path).map_err(|error| match error {
            Error::File { error, .. }
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) =>
            {
                Error::Silent {
                    name: name.to_owned(),
                    what: "it is still being built, or has just ended".into(),
                }
            }
            error => error,
        })?;
        line.settle()?;
        Ok(line)
    }

    /// Passes over what an earlier line asked and did not wait for.
    fn settle(&mut self) -> Result<()> {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let number = std::process::id() ^ since.subsec_nanos();
        self.ask(Ask::Ping(number))?;
        self.answer(|tell| (*tell == Tell::Pong(number)).then_some(()))
    }

    /// To the machine that listens on `path`.
    pub fn at(name: &str, path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).map_err(Error::file(path))?;
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .map_err(Error::file(path))?;
        Ok(Self {
            name: name.to_owned(),
            stream,
            pending: Vec::new(),
        })
    }

    fn silent(&self, what: impl ToString) -> Error {
        Error::Silent {
            name: self.name.clone(),
            what: what.to_string(),
        }
    }

    fn refused(&self, what: impl ToString) -> Error {
        Error::Refused {
            name: self.name.clone(),
            what: what.to_string(),
        }
    }

    /// Asks. A leading zero ends whatever an earlier line left unfinished.
    pub fn ask(&mut self, ask: Ask<'_>) -> Result<()> {
        let mut frame = vec![0];
        frame.extend(postcard::to_stdvec_cobs(&ask).map_err(|error| self.silent(error))?);
        self.stream
            .write_all(&frame)
            .map_err(|error| self.silent(error))
    }

    /// The next answer, as `take` sees it; frames that do not decode are passed over.
    pub fn answer<T>(&mut self, mut take: impl FnMut(&Tell<'_>) -> Option<T>) -> Result<T> {
        let latest = Instant::now() + PATIENCE;
        let mut chunk = [0; 512];
        loop {
            while let Some(end) = self.pending.iter().position(|byte| *byte == 0) {
                let mut frame: Vec<u8> = self.pending.drain(..=end).collect();
                if let Ok(tell) = postcard::from_bytes_cobs::<Tell<'_>>(&mut frame)
                    && let Some(taken) = take(&tell)
                {
                    return Ok(taken);
                }
            }
            if Instant::now() > latest {
                return Err(self.silent(format_args!("nothing came for {} s", PATIENCE.as_secs())));
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(self.silent("it hung up")),
                Ok(read) => self.pending.extend_from_slice(&chunk[..read]),
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(error) => return Err(self.silent(error)),
            }
        }
    }

    /// All records of a list, up to its end, each made into what `take` wants.
    pub fn list<T>(
        &mut self,
        ask: Ask<'_>,
        mut take: impl FnMut(&Tell<'_>) -> Option<T>,
    ) -> Result<Vec<T>> {
        self.ask(ask)?;
        let mut all = Vec::new();
        loop {
            let next = self.answer(|tell| {
                if matches!(tell, Tell::End) {
                    Some(None)
                } else {
                    take(tell).map(Some)
                }
            })?;
            match next {
                Some(record) => all.push(record),
                None => return Ok(all),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn noise_before_an_answer_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let machine = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 64];
            let read = stream.read(&mut asked).unwrap();
            let ask: Ask<'_> = postcard::from_bytes_cobs(&mut asked[1..read]).unwrap();
            stream.write_all(b"\x05garbage\0").unwrap();
            let Ask::Ping(number) = ask else {
                panic!("{ask:?}")
            };
            stream
                .write_all(&postcard::to_stdvec_cobs(&Tell::Pong(number)).unwrap())
                .unwrap();
            stream
        });
        let mut line = Line::at("test", &path).unwrap();
        line.ask(Ask::Ping(7)).unwrap();
        let number = line
            .answer(|tell| {
                if let Tell::Pong(number) = tell {
                    Some(*number)
                } else {
                    None
                }
            })
            .unwrap();
        assert_eq!(number, 7);
        drop(machine.join().unwrap());
    }
}
