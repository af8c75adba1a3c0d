//! The user's terminal in raw mode, and its way back: on drop, on a panic, and when a signal ends the tool.

use std::io::{IsTerminal, Write, stdin, stdout};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use crate::error::{Error, Result};

/// As it was, while it is not.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal in raw mode: every key goes to the guest. Dropping it brings the terminal back.
#[derive(Debug)]
pub struct Raw(());

impl Raw {
    /// Raw mode if standard input is a terminal; else `None`.
    pub fn enter() -> Result<Option<Self>> {
        if !stdin().is_terminal() {
            return Ok(None);
        }
        let wrong = |error| Error::program("the terminal", error);
        let before = tcgetattr(stdin()).map_err(wrong)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        // Lines that the tool itself prints still start at the left.
        raw.output_flags |= before.output_flags & (OutputFlags::OPOST | OutputFlags::ONLCR);
        if let Ok(mut saved) = BEFORE.lock() {
            saved.get_or_insert(before);
        }
        restore_on_panic();
        tcsetattr(stdin(), SetArg::TCSANOW, &raw).map_err(wrong)?;
        Ok(Some(Self(())))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Whether the terminal shows its other screen.
static ELSEWHERE: AtomicBool = AtomicBool::new(false);
/// To the other screen, without a cursor (xterm's control sequences, DECSET 1049 and DECTCEM).
const LEAVE: &str = "\x1b[?1049h\x1b[?25l";
/// Back to the screen as it was.
const RETURN: &str = "\x1b[?25h\x1b[?1049l";

/// The whole terminal: raw mode, on the other screen. `None` unless both standard input and output are one.
pub fn whole_screen() -> Result<Option<Raw>> {
    if !stdout().is_terminal() {
        return Ok(None);
    }
    let Some(raw) = Raw::enter()? else {
        return Ok(None);
    };
    ELSEWHERE.store(true, Ordering::SeqCst);
    show(LEAVE);
    Ok(Some(raw))
}

fn show(text: &str) {
    let mut terminal = stdout().lock();
    let _ = terminal
        .write_all(text.as_bytes())
        .and_then(|()| terminal.flush());
}

/// Brings the terminal back, if it is away.
pub fn restore() {
    if ELSEWHERE.swap(false, Ordering::SeqCst) {
        show(RETURN);
    }
    if let Some(before) = BEFORE.lock().ok().and_then(|mut saved| saved.take()) {
        let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, &before);
    }
}

fn restore_on_panic() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            report(panic);
        }));
    });
}

/// The terminal's name and its size (rows, columns), if standard input and output are one.
#[must_use]
pub fn description() -> Option<(String, u16, u16)> {
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return None;
    }
    let name = std::env::var("TERM").unwrap_or_else(|_| "vt100".into());
    let (columns, rows) =
        terminal_size::terminal_size().map_or((0, 0), |(columns, rows)| (columns.0, rows.0));
    Some((name, rows, columns))
}
