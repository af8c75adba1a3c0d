//! The line into a running machine: questions and answers as postcard in COBS frames, over a Unix socket.

pub mod dump;
pub mod frame;
pub mod listing;
pub mod multiplexer;
pub mod orders;
pub mod tables;
pub mod upload;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use atoll_protocol::control::{Ask, Tell};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::error::{Error, Result};
use crate::progress::note;
use crate::run::instance::{control_of, holder_of};

/// How long an answer may take: a guest that keeps the host busy slows the control server down, too.
const PATIENCE: Duration = Duration::from_secs(5);
/// After what time the user is told that there is no answer yet.
const WORTH_TELLING: Duration = Duration::from_secs(1);
/// How often it is looked for more.
const PERIOD: Duration = Duration::from_millis(200);

/// An open line.
#[derive(Debug)]
pub struct Line {
    name: String,
    stream: UnixStream,
    pending: Vec<u8>,
    /// Whether it leads to the tool that runs the machine, which says when it still waits for the machine itself.
    shared: bool,
    /// Whether the user is told of a wait.
    quiet: bool,
}

impl Line {
    /// To the machine with this name, by the tool that runs it.
    pub fn open(name: &str) -> Result<Self> {
        Self::shared(name, &control_of(name)?)
    }

    /// The same, where it is known where that tool listens.
    pub fn shared(name: &str, path: &Path) -> Result<Self> {
        let stream = patiently(name, path).map_err(|error| match error {
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
        let line = Self::over(name, stream, path)?;
        Ok(Self {
            shared: true,
            quiet: false,
            ..line
        })
    }

    /// To the machine that listens on `path` itself, with nothing on the way that an earlier line has asked and not waited for.
    pub fn settled(name: &str, path: &Path) -> Result<Self> {
        let mut line = Self::at(name, path)?;
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let number = std::process::id() ^ since.subsec_nanos();
        line.ask(Ask::Ping(number))?;
        line.answer(|tell| (*tell == Tell::Pong(number)).then_some(()))?;
        Ok(line)
    }

    /// To the machine that listens on `path` itself: nobody else can have a line there meanwhile.
    pub fn at(name: &str, path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).map_err(Error::file(path))?;
        Self::over(name, stream, path)
    }

    fn over(name: &str, stream: UnixStream, path: &Path) -> Result<Self> {
        stream
            .set_read_timeout(Some(PERIOD))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .map_err(Error::file(path))?;
        Ok(Self {
            name: name.to_owned(),
            stream,
            pending: Vec::new(),
            shared: false,
            quiet: true,
        })
    }

    /// From now on the user is not told of a wait: the screen shows something else.
    #[must_use]
    pub fn quietly(self) -> Self {
        Self {
            quiet: true,
            ..self
        }
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
        let since = Instant::now();
        let mut heard = since;
        let mut chunk = [0; 512];
        loop {
            while let Some(end) = self.pending.iter().position(|byte| *byte == 0) {
                let mut frame: Vec<u8> = self.pending.drain(..=end).collect();
                if end == 0 && self.shared {
                    heard = Instant::now();
                    continue;
                }
                if let Ok(tell) = postcard::from_bytes_cobs::<Tell<'_>>(&mut frame)
                    && let Some(taken) = take(&tell)
                {
                    return Ok(taken);
                }
            }
            if heard.elapsed() > PATIENCE {
                return Err(self.silent(nothing_came(&self.name, self.shared)));
            }
            if !self.quiet && since.elapsed() > WORTH_TELLING {
                self.quiet = true;
                note(format!(
                    "waiting for an answer from the machine '{}'",
                    self.name
                ));
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(self.hung_up()),
                Ok(read) => self.pending.extend_from_slice(&chunk[..read]),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Err(self.hung_up());
                }
                Err(error) => return Err(self.silent(error)),
            }
        }
    }

    /// Nobody is on the line any more: the machine has ended, or those who run it have given up waiting for its answer.
    fn hung_up(&self) -> Error {
        if self.shared && control_of(&self.name).is_ok() {
            self.silent(nothing_came(&self.name, false))
        } else {
            self.silent("it has ended")
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

/// What to say of a machine that says nothing; `shared`: not even those who run it do.
fn nothing_came(name: &str, shared: bool) -> String {
    let seconds = PATIENCE.as_secs();
    if shared {
        let holder = holder_of(name).map_or_else(
            || "the process that runs it".into(),
            |pid| format!("process {pid}, which runs it,"),
        );
        format!("nothing came for {seconds} s: {holder} may be stopped")
    } else {
        format!("nothing came for {seconds} s: the host may be too busy; try again")
    }
}

/// Connects. Where those who listen take no connection they are not waited for without end, as by `connect` itself.
fn patiently(name: &str, path: &Path) -> Result<UnixStream> {
    let wrong = |error: Errno| Error::file(path)(error.into());
    let address = UnixAddr::new(path).map_err(wrong)?;
    let since = Instant::now();
    loop {
        let socket = socket(
            AddressFamily::Unix,
            SockType::Stream,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            None,
        )
        .map_err(wrong)?;
        match connect(socket.as_raw_fd(), &address) {
            Ok(()) => {
                let stream = UnixStream::from(socket);
                stream.set_nonblocking(false).map_err(Error::file(path))?;
                return Ok(stream);
            }
            // Nobody has taken those yet that have come before.
            Err(Errno::EAGAIN | Errno::EINTR) if since.elapsed() < PATIENCE => {
                std::thread::sleep(PERIOD);
            }
            Err(Errno::EAGAIN) => {
                return Err(Error::Silent {
                    name: name.to_owned(),
                    what: nothing_came(name, true),
                });
            }
            Err(error) => return Err(wrong(error)),
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
