//! INS and OUTS, with and without REP: what arrives, in which order, and the registers wherever it stops.
#![no_std]
#![no_main]

use atoll_guests::alone::Alone;
use atoll_guests::apic;
use atoll_guests::paging::{self, PAGE, PRESENT, Page, WRITABLE};
use atoll_guests::run::register::{RCX, RDI, RDX, RSI};
use atoll_guests::run::{Code, Run, Stop};

mod faults;
mod looped;
mod order;
mod pages;
mod widths;

atoll_guests::guest!(main);

/// The serial port's scratch register.
const SCRATCH: u16 = 0x3ff;

static FRAMES: Alone<[Page; 8]> = Alone::new([Page::ZERO; 8]);

fn main() {
    apic::start();
    widths::input();
    widths::output();
    widths::prefixes();
    order::order();
    order::counts();
    pages::pages();
    pages::interrupted();
    faults::input();
    faults::output();
    faults::bits();
    atoll_guests::check::end();
}

/// Registers of a string instruction.
fn string(code: Code, port: u16, at: u64, count: u64, flags: u64) -> Stop {
    Run::new(code)
        .with(RDX, u64::from(port))
        .with(RDI, at)
        .with(RSI, at)
        .with(RCX, count)
        .flags(flags)
        .go()
}

/// How far an index register has moved, and what is left to do.
fn moved(stop: &Stop, index: usize, at: u64) -> (i64, u64) {
    (
        stop.general[index].wrapping_sub(at) as i64,
        stop.general[RCX],
    )
}

/// The frame behind the window's page `page`: the reverse of their order.
fn frame(page: u64) -> u64 {
    FRAMES.get().addr() as u64 + (7 - page) * PAGE
}

/// Maps the window's first eight pages.
fn map_all() {
    for page in 0..8 {
        paging::map(page, frame(page), PRESENT | WRITABLE);
    }
}
