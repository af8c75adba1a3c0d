//! The serial port's other side, in a process of its own, as Atoll's console is a server of its own: a line goes there through a pipe and a
//! byte comes back through another. That is what the figure `mail` is held against. Everything is printed at the end, so that no device
//! gets into the figures.

use std::error::Error;
use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What makes this program the console.
pub(crate) const ARGUMENT: &str = "console";
/// This program: it is the first one.
const PROGRAM: &str = "/init";
/// What the console answers.
const TAKEN: [u8; 1] = [0x06];

/// The way to the console.
#[derive(Debug)]
pub(crate) struct Console {
    process: Child,
    there: ChildStdin,
    back: ChildStdout,
}

impl Console {
    /// Starts the process.
    pub(crate) fn start() -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(PROGRAM)
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        match (process.stdin.take(), process.stdout.take()) {
            (Some(there), Some(back)) => Ok(Self {
                process,
                there,
                back,
            }),
            _ => Err("the console has no pipes".into()),
        }
    }

    /// Passes a line on, and waits for the word that it was taken.
    pub(crate) fn pass_on(&mut self, line: &[u8]) -> Result<(), Box<dyn Error>> {
        if line.is_empty() {
            return Ok(());
        }
        self.there.write_all(line)?;
        self.back.read_exact(&mut [0])?;
        Ok(())
    }

    /// Nothing more will come.
    pub(crate) fn close(mut self) -> Result<(), Box<dyn Error>> {
        drop(self.there);
        let mut rest = Vec::new();
        self.back.read_to_end(&mut rest)?;
        self.process.wait()?;
        io::stdout().write_all(&rest)?;
        io::stdout().flush()?;
        Ok(())
    }
}

/// Is the console: takes lines, answers each, and sends everything back at the end.
pub(crate) fn run() {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut all = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = input.read(&mut chunk) {
        all.extend_from_slice(&chunk[..read]);
        if output
            .write_all(&TAKEN)
            .and_then(|()| output.flush())
            .is_err()
        {
            return;
        }
    }
    let _ = output.write_all(&all);
}
