//! `atoll top`: the servers of a running machine, live: most busy first, by what they did since the last frame.

use std::io::{Read, Write, stdin, stdout};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};

use crate::cli::TopArgs;
use crate::console::terminal;
use crate::control::Line;
use crate::control::frame::{Frame, Order};
use crate::control::listing::listing;
use crate::error::{Error, Result};
use crate::progress::note;
use crate::run::instance::{control_of, counts_instructions};
use crate::shown;
use crate::shown::document;

/// Ends the display, in raw mode, where it is no signal.
const CTRL_C: u8 = 3;

/// Shows them until a key or a signal ends it, or the machine ends.
pub(super) fn run(args: &TopArgs) -> Result<()> {
    let name = &args.asked.which.name;
    let (mut line, instructions) = (Line::open(name)?, counts_instructions(name)?);
    let mut now = listing(&mut line, instructions)?;
    let mut line = line.quietly();
    if args.asked.json {
        return document(&now);
    }
    let screen = if args.once {
        None
    } else {
        terminal::whole_screen()?
    };
    if screen.is_none() {
        return crate::shown::print(
            Frame {
                now: &now,
                before: None,
                order: Order::Busy,
            }
            .text(None),
        );
    }
    let signal = signals()?;
    let (mut before, mut order) = (None, Order::Busy);
    loop {
        draw(&Frame {
            now: &now,
            before: before.as_ref(),
            order,
        })?;
        let next = Instant::now() + Duration::from_secs(args.every);
        loop {
            match key_until(next)? {
                _ if signal.load(Ordering::Relaxed) != 0 => {
                    drop(screen);
                    return Err(Error::Signal {
                        signal: signal.load(Ordering::Relaxed) as i32,
                    });
                }
                Some(b'q' | CTRL_C) => return Ok(()),
                Some(key) => order = Order::of_key(key).unwrap_or(order),
                None => {}
            }
            if Instant::now() >= next {
                break;
            }
            draw(&Frame {
                now: &now,
                before: before.as_ref(),
                order,
            })?;
        }
        match listing(&mut line, instructions) {
            Ok(later) => before = Some(std::mem::replace(&mut now, later)),
            Err(_) if control_of(name).is_err() => {
                drop(screen);
                note(format!("the machine '{name}' has ended"));
                return Ok(());
            }
            // It boots again, or is too busy to answer: what is known is shown until it does.
            Err(_) => {
                if let Ok(again) = Line::open(name) {
                    line = again.quietly();
                }
            }
        }
    }
}

/// Where the number of a signal that is to end the tool appears. One that only says that the window has another size wakes it up.
fn signals() -> Result<Arc<AtomicUsize>> {
    let arrived = Arc::new(AtomicUsize::new(0));
    let wrong = |error| Error::program("signals", error);
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
        signal_hook::flag::register_usize(signal, Arc::clone(&arrived), signal as usize)
            .map_err(wrong)?;
    }
    signal_hook::flag::register(SIGWINCH, Arc::default()).map_err(wrong)?;
    Ok(arrived)
}

fn draw(frame: &Frame<'_>) -> Result<()> {
    let size = terminal_size::terminal_size().map_or((80, 24), |(columns, rows)| {
        (columns.0.into(), rows.0.into())
    });
    let mut text = String::from("\x1b[H");
    for line in frame.text(Some(size)).lines() {
        text += &shown::name(line);
        text += "\x1b[K\r\n";
    }
    text += "\x1b[J";
    let mut output = stdout().lock();
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .map_err(Error::file("standard output"))
}

/// A key, if one is typed before `latest` and no signal comes.
fn key_until(latest: Instant) -> Result<Option<u8>> {
    let wait = latest
        .saturating_duration_since(Instant::now())
        .as_millis()
        .try_into()
        .unwrap_or(u16::MAX);
    let stdin = stdin();
    let mut ready = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    match poll(&mut ready, PollTimeout::from(wait)) {
        Ok(0) | Err(Errno::EINTR) => Ok(None),
        Ok(_) => {
            let mut key = [0];
            let read = stdin
                .lock()
                .read(&mut key)
                .map_err(Error::file("standard input"))?;
            // The terminal is gone.
            Ok(Some(if read == 0 { b'q' } else { key[0] }))
        }
        Err(error) => Err(Error::program("the terminal", error)),
    }
}
