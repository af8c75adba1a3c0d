//! One line into a machine, many who ask.
//!
//! The machine has one control line, and QEMU takes one connection to it. So the tool that runs the machine keeps that, and listens for
//! whoever wants to ask: each client has a conversation of its own, one question of all of them is under way at a time, in the order in which
//! they came, and only whole answers leave. A client that says nothing, or does not read what it has asked for, keeps nobody waiting.
//!
//! While a client waits it is sent empty frames, so that it can tell a machine that takes its time from a line on which nobody is.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use atoll_protocol::control::{Ask, Tell};
use atoll_protocol::order::{Order, Outcome};
use nix::sys::socket;

use super::Line;
use crate::error::{Error, Result};

/// How often a client that waits hears that it is not forgotten.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// How long a client may take to make room for an answer.
const SLOW: Duration = Duration::from_secs(30);
/// How long QEMU may take until it listens, and how often that is looked for.
const START: Duration = Duration::from_secs(5);
const PERIOD: Duration = Duration::from_millis(20);
/// Most clients at a time.
const CLIENTS: usize = 64;
/// The longest question: no more than a piece of an image with what is around it.
const QUESTION: usize = 512;

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Multiplexer {
    listener: UnixListener,
    clients: Arc<Mutex<Clients>>,
}

#[derive(Debug, Default)]
struct Clients {
    ended: bool,
    /// Each by its number, with the other end of its connection.
    open: Vec<(u64, UnixStream)>,
    /// Whose image is on its way into the machine: it has room for one.
    uploader: Option<u64>,
    next: u64,
}

/// A question on its way to the machine; without an answer, the machine has given none.
struct Question {
    frame: Vec<u8>,
    answer: Sender<Vec<u8>>,
}

impl Multiplexer {
    /// Begins to listen at `path` for the machine called `name`, whose own line is at `machine`.
    pub fn start(name: &str, machine: PathBuf, path: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path).map_err(Error::file(path))?;
        let accepting = listener.try_clone().map_err(Error::file(path))?;
        let clients = Arc::default();
        let (questions, asked) = mpsc::channel();
        let name = name.to_owned();
        thread::spawn(move || pass_on(&name, &machine, &asked));
        thread::spawn({
            let clients = Arc::clone(&clients);
            move || accept(&accepting, &clients, &questions)
        });
        Ok(Self { listener, clients })
    }
}

impl Drop for Multiplexer {
    fn drop(&mut self) {
        // Whoever waits for a client, or for what it asks, is woken up.
        let _ = socket::shutdown(self.listener.as_raw_fd(), socket::Shutdown::Both);
        let mut clients = lock(&self.clients);
        clients.ended = true;
        for (_, stream) in &clients.open {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn lock(clients: &Mutex<Clients>) -> MutexGuard<'_, Clients> {
    clients.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &UnixListener, clients: &Arc<Mutex<Clients>>, questions: &Sender<Question>) {
    while let Ok((stream, _)) = listener.accept() {
        let Ok(other) = stream.try_clone() else {
            continue;
        };
        let mut all = lock(clients);
        if all.ended {
            return;
        }
        if all.open.len() >= CLIENTS {
            continue;
        }
        let number = all.next;
        all.next += 1;
        all.open.push((number, other));
        drop(all);
        let client = Client {
            number,
            stream,
            clients: Arc::clone(clients),
            questions: questions.clone(),
        };
        thread::spawn(move || client.serve());
    }
}

/// One conversation.
struct Client {
    number: u64,
    stream: UnixStream,
    clients: Arc<Mutex<Clients>>,
    questions: Sender<Question>,
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut clients = lock(&self.clients);
        clients.open.retain(|(number, _)| *number != self.number);
        if clients.uploader == Some(self.number) {
            clients.uploader = None;
        }
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Client {
    /// Question after question, until it goes.
    fn serve(mut self) {
        if self.stream.set_write_timeout(Some(SLOW)).is_err() {
            return;
        }
        let mut frames = Frames::default();
        while let Ok(Some(frame)) = frames.next(&mut self.stream) {
            if self.answer(frame).is_err() {
                return;
            }
        }
    }

    fn answer(&mut self, frame: Option<Vec<u8>>) -> io::Result<()> {
        let mut decoded = frame.clone().unwrap_or_default();
        let Ok(ask) = postcard::from_bytes_cobs::<Ask<'_>>(&mut decoded) else {
            return self.tell(&Tell::End);
        };
        if let Ask::Order(order) = ask
            && !self.may_order(order)
        {
            return self.tell(&Tell::Outcome(Outcome::NotNow));
        }
        let (answer, answered) = mpsc::channel();
        let question = Question {
            frame: frame.unwrap_or_default(),
            answer,
        };
        self.questions
            .send(question)
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        loop {
            match answered.recv_timeout(SIGN_OF_LIFE) {
                Ok(answer) => return self.stream.write_all(&answer),
                Err(RecvTimeoutError::Timeout) => self.stream.write_all(&[0])?,
                Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    fn tell(&mut self, tell: &Tell<'_>) -> io::Result<()> {
        self.stream.write_all(&encoded(tell))
    }

    /// The machine has room for one image that comes: from the first word of it until its client has gone it is that client's.
    fn may_order(&self, order: Order<'_>) -> bool {
        let mut clients = lock(&self.clients);
        let mine = clients.uploader == Some(self.number);
        match order {
            Order::Upload(..) if clients.uploader.is_none() => {
                clients.uploader = Some(self.number);
                true
            }
            Order::Upload(..) | Order::Piece(..) | Order::Swap(.., None) => mine,
            Order::Swap(.., Some(_)) | Order::Kill(_) => true,
        }
    }
}

fn encoded(tell: &Tell<'_>) -> Vec<u8> {
    postcard::to_stdvec_cobs(tell).unwrap_or_default()
}

/// Frames out of a stream of bytes.
#[derive(Default)]
struct Frames {
    bytes: VecDeque<u8>,
    frame: Vec<u8>,
    too_long: bool,
}

impl Frames {
    /// The next one, with its end, or `None` within for one that is too long; `None` if no more come. Empty ones are passed over.
    #[expect(
        clippy::option_option,
        reason = "a frame that cannot be had is still to be answered"
    )]
    fn next(&mut self, stream: &mut UnixStream) -> io::Result<Option<Option<Vec<u8>>>> {
        let mut chunk = [0; 1024];
        loop {
            while let Some(byte) = self.bytes.pop_front() {
                if self.frame.len() < QUESTION {
                    self.frame.push(byte);
                } else {
                    self.too_long = true;
                }
                if byte != 0 {
                    continue;
                }
                let frame = std::mem::take(&mut self.frame);
                if std::mem::take(&mut self.too_long) {
                    return Ok(Some(None));
                }
                if frame.len() > 1 {
                    return Ok(Some(Some(frame)));
                }
            }
            match stream.read(&mut chunk)? {
                0 => return Ok(None),
                read => self.bytes.extend(&chunk[..read]),
            }
        }
    }
}

/// Asks the machine, one question after the other.
fn pass_on(name: &str, machine: &Path, asked: &Receiver<Question>) {
    let mut line = None;
    while let Ok(question) = asked.recv() {
        match ask(name, machine, &mut line, question.frame) {
            Ok(answer) => _ = question.answer.send(answer),
            Err(error) => {
                tracing::debug!(%error, "the machine has given no answer");
                line = None;
                // Those who asked meanwhile have waited as long as it takes to know that nothing comes.
                while asked.try_recv().is_ok() {}
            }
        }
    }
}

fn ask(name: &str, machine: &Path, line: &mut Option<Line>, mut frame: Vec<u8>) -> Result<Vec<u8>> {
    let line = match line {
        Some(line) => line,
        None => line.insert(connected(name, machine)?),
    };
    let ask =
        postcard::from_bytes_cobs::<Ask<'_>>(&mut frame).map_err(|error| line.silent(error))?;
    line.ask(ask)?;
    let mut answer = Vec::new();
    loop {
        let last = line.answer(|tell| {
            answer.extend(encoded(tell));
            Some(is_last(ask, tell))
        })?;
        if last {
            return Ok(answer);
        }
    }
}

/// QEMU begins to listen a moment after it has started.
fn connected(name: &str, machine: &Path) -> Result<Line> {
    let since = Instant::now();
    while !machine.exists() && since.elapsed() < START {
        thread::sleep(PERIOD);
    }
    Line::settled(name, machine)
}

/// Whether nothing more comes to this question.
fn is_last(ask: Ask<'_>, tell: &Tell<'_>) -> bool {
    match ask {
        Ask::Ping(number) => *tell == Tell::Pong(number),
        Ask::Machine => matches!(tell, Tell::Machine(_) | Tell::End),
        Ask::Order(_) => matches!(tell, Tell::Outcome(_) | Tell::End),
        Ask::Servers | Ask::Exits | Ask::Dump(_) => matches!(tell, Tell::End),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A machine of one's own behind a multiplexer: it answers `Ping`, and `Servers` with nothing; it leaves `Exits` without an answer.
    struct Machine {
        dir: TempDir,
        _multiplexer: Multiplexer,
    }

    impl Machine {
        fn start() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let listener = UnixListener::bind(dir.path().join("machine.sock")).unwrap();
            thread::spawn(move || {
                // One at a time, as QEMU does it.
                while let Ok((stream, _)) = listener.accept() {
                    serve(stream);
                }
            });
            let multiplexer = Multiplexer::start(
                "test",
                dir.path().join("machine.sock"),
                &dir.path().join("control.sock"),
            )
            .unwrap();
            Self {
                dir,
                _multiplexer: multiplexer,
            }
        }

        fn control(&self) -> PathBuf {
            self.dir.path().join("control.sock")
        }

        fn line(&self) -> Line {
            Line::shared("test", &self.control()).unwrap()
        }
    }

    fn serve(mut stream: UnixStream) {
        let mut frames = Frames::default();
        while let Ok(Some(frame)) = frames.next(&mut stream) {
            let mut frame = frame.unwrap();
            let tell = match postcard::from_bytes_cobs::<Ask<'_>>(&mut frame).unwrap() {
                Ask::Ping(number) => Tell::Pong(number),
                Ask::Exits => continue,
                Ask::Order(_) => Tell::Outcome(Outcome::Done),
                _ => Tell::End,
            };
            if stream.write_all(&encoded(&tell)).is_err() {
                return;
            }
        }
    }

    fn ping(line: &mut Line, number: u32) {
        line.ask(Ask::Ping(number)).unwrap();
        line.answer(|tell| (*tell == Tell::Pong(number)).then_some(()))
            .unwrap();
    }

    #[test]
    fn many_clients_have_their_answers_while_others_say_nothing_or_do_not_read() {
        let machine = Machine::start();
        let _silent: Vec<_> = (0..8)
            .map(|_| UnixStream::connect(machine.control()).unwrap())
            .collect();
        // It asks without end and reads nothing, until its connection holds no more.
        let mut greedy = UnixStream::connect(machine.control()).unwrap();
        greedy
            .set_write_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let frame = postcard::to_stdvec_cobs(&Ask::Ping(1)).unwrap();
        while greedy.write_all(&frame).is_ok() {}

        thread::scope(|scope| {
            for client in 0..8 {
                let machine = &machine;
                scope.spawn(move || {
                    let mut line = machine.line();
                    (0..50).for_each(|round| ping(&mut line, client * 1000 + round));
                });
            }
        });
    }

    #[test]
    fn a_question_without_an_answer_is_told_so_and_the_next_is_answered() {
        let machine = Machine::start();
        let mut line = machine.line();
        line.ask(Ask::Exits).unwrap();
        let error = line
            .answer(|tell| matches!(tell, Tell::End).then_some(()))
            .unwrap_err();
        assert!(matches!(error, Error::Silent { .. }), "{error}");
        ping(&mut machine.line(), 7);
    }

    #[test]
    fn what_is_no_question_is_answered_by_an_end() {
        let machine = Machine::start();
        let mut stream = UnixStream::connect(machine.control()).unwrap();
        stream.write_all(&[0, 0, 5, 1, 1, 0]).unwrap();
        let mut answer = vec![0; encoded(&Tell::End).len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, encoded(&Tell::End));
        stream.write_all(&[1; 100_000]).unwrap();
        stream.write_all(&[0]).unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, encoded(&Tell::End));
    }

    #[test]
    fn one_client_at_a_time_sends_an_image() {
        let machine = Machine::start();
        let (mut first, mut second) = (machine.line(), machine.line());
        let order = |line: &mut Line, order| {
            line.ask(Ask::Order(order)).unwrap();
            super::super::orders::outcome(line).unwrap()
        };
        let image = Order::Upload(9, 1);
        assert_eq!(order(&mut first, image), Outcome::Done);
        assert_eq!(order(&mut second, image), Outcome::NotNow);
        assert_eq!(
            order(&mut second, Order::Piece(0, 1, b"other")),
            Outcome::NotNow
        );
        assert_eq!(
            order(&mut first, Order::Piece(0, 1, b"mine")),
            Outcome::Done
        );
        drop(first);
        while order(&mut second, image) != Outcome::Done {
            thread::yield_now();
        }
    }

    #[test]
    fn clients_hear_of_the_end() {
        let machine = Machine::start();
        let mut line = machine.line();
        ping(&mut line, 1);
        drop(machine);
        assert!(line.answer(|_| Some(())).is_err());
    }
}
