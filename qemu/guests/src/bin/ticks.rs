//! One tick after the other, by the local APIC's timer and the interval timer in turn, each asked for once and then counted: one that is lost
//! would never be followed by another, one that is doubled is noticed at the next. Every tick is a line on the console. A character that is
//! typed ends it.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};

use atoll_guests::apic::{self, SELECT, WINDOW};
use atoll_guests::memory::store;
use atoll_guests::{println, traps};
use x86_64::instructions::interrupts::{disable, enable_and_hlt};

atoll_guests::guest!(main);

/// Vectors of the local APIC's timer and of the interval timer.
const VECTORS: [u8; 2] = [0x41, 0x52];
/// Their ticks.
static TICKS: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// The interval timer's pin of the I/O APIC, as redirection entry.
const PIN: u32 = 0x10 + 2 * 2;
/// COM1: FIFO control, modem control, line status, data.
const FIFO_CONTROL: u16 = 0x3fa;
const MODEM_CONTROL: u16 = 0x3fc;
const LINE_STATUS: u16 = 0x3fd;
const DATA: u16 = 0x3f8;

fn main() {
    apic::start();
    traps::on(VECTORS[0], |_| tick(0));
    traps::on(VECTORS[1], |_| tick(1));
    store(SELECT, PIN + 1);
    store(WINDOW, 0);
    store(SELECT, PIN);
    store(WINDOW, VECTORS[1].into());
    // Ready to receive.
    apic::out(FIFO_CONTROL, 1);
    apic::out(MODEM_CONTROL, 3);
    let mut asked = [0; 2];
    for number in 1_u64.. {
        let source = (number & 1) as usize;
        asked[source] += 1;
        ask(source, number);
        disable();
        while ticks()[source] < asked[source] {
            enable_and_hlt();
            disable();
        }
        if ticks() == asked {
            println!("tick {number} is the only one, as it should be");
        } else {
            println!("tick {number}: {:?} have come, not {asked:?}", ticks());
        }
        if apic::inb(LINE_STATUS) & 1 != 0 {
            println!(
                "{:?} is enough after {number} ticks",
                apic::inb(DATA) as char
            );
            return;
        }
    }
}

fn tick(source: usize) {
    TICKS[source].fetch_add(1, Ordering::Relaxed);
    apic::end();
}

fn ticks() -> [u64; 2] {
    [
        TICKS[0].load(Ordering::Relaxed),
        TICKS[1].load(Ordering::Relaxed),
    ]
}

/// Asks a timer for one tick, after 20 to 520 microseconds.
fn ask(source: usize, number: u64) {
    let microseconds = 20 + number * 7919 % 500;
    if source == 0 {
        return apic::one_shot(VECTORS[0], microseconds as u32 * 1000);
    }
    let cycles = (microseconds * 1_193_182 / 1_000_000) as u16;
    apic::out(0x43, 0x30);
    for byte in cycles.to_le_bytes() {
        apic::out(0x40, byte);
    }
}
