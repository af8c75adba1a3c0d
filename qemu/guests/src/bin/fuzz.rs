//! The fuzzer of privileged sequences: those that are known, then as many as `steps=` says. `seed=` begins them, `every=` says how often the
//! digest is printed, and `detail=1` prints each step.
#![no_std]
#![no_main]

use atoll_guests::alone::Alone;
use atoll_guests::apic::{self, inb};
use atoll_guests::check::{equal, on_atoll, section, shown};
use atoll_guests::fuzz::random::Random;
use atoll_guests::fuzz::sequence::known::KNOWN;
use atoll_guests::fuzz::sequence::{Devices, Kind, Sequence, set_entries};
use atoll_guests::fuzz::state::{self, State, fold};
use atoll_guests::paging::Page;
use atoll_guests::run::register::RSP;
use atoll_guests::run::{Run, Stop};
use atoll_guests::system::Register;
use atoll_guests::{parameters, println, traps};

atoll_guests::guest!(main);

const NE: u64 = 1 << 5;
/// Of each digest.
const START: u64 = 0xcbf2_9ce4_8422_2325;

static STACK: Alone<Page> = Alone::new(Page::ZERO);

fn main() {
    let seed = parameters::number("seed", 1);
    let steps = parameters::number("steps", 0);
    let every = parameters::number("every", 500);
    let detail = parameters::number("detail", 0) != 0;
    prepare();
    let sane = State::now();
    section("known");
    for known in &KNOWN {
        let (stop, found) = step_of(&Sequence::known(known), &sane);
        equal(known.name, stop.place(), known.ends);
        shown(known.name, fold_stop(&stop, found.fold(START)));
    }
    section("steps");
    let mut random = Random::new(seed);
    let mut digest = START;
    for step in 1..=steps {
        let sequence = Sequence::next(&mut random);
        let compared = sequence.kind != Kind::Alone;
        if compared || on_atoll() {
            if detail {
                announce(step, &sequence);
            }
            let (stop, found) = step_of(&sequence, &sane);
            if compared {
                digest = fold_stop(&stop, found.fold(digest));
            }
            if detail {
                show(&stop, &found, digest);
            }
        }
        if step % every == 0 {
            println!("value after {step} steps = {digest:x}");
        }
    }
    atoll_guests::check::end();
}

/// Handlers for the interrupts that come, on a stack of their own, whatever a sequence's is.
fn prepare() {
    let top = STACK.get().addr() as u64 + 4096;
    for vector in 0x20..=0xff {
        traps::on(vector, |frame| {
            if frame.vector == u64::from(state::SERIAL) {
                let _ = inb(0x3f8);
            }
            apic::end();
        });
        traps::on_stack(vector, top);
    }
    // NMIs come of what is written to the local APIC.
    traps::on(2, traps::counted);
    traps::on_stack(2, top);
    state::devices(Devices::All);
    set_entries();
    // SAFETY: no local descriptors are used.
    unsafe { core::arch::asm!("lldt {:x}", in(reg) 0) };
    let _ = Register::Cr0.set(Register::Cr0.get() | NE);
}

/// Runs a sequence; what it ended with, and what it left in the registers.
fn step_of(sequence: &Sequence, sane: &State) -> (Stop, State) {
    state::begin(sequence.general[0]);
    let mut run = Run::new(sequence.code).flags(sequence.flags);
    for (register, value) in sequence.general.into_iter().enumerate() {
        if register != RSP || value != 0 {
            run = run.with(register, value);
        }
    }
    let stop = sequence.timeless(run.go());
    if sequence.tables {
        state::tables();
    }
    let found = State::now();
    sane.restore();
    state::devices(sequence.devices);
    (stop, found)
}

fn fold_stop(stop: &Stop, digest: u64) -> u64 {
    let Stop {
        vector,
        error,
        offset,
        general,
        rflags,
        cr2,
        ..
    } = *stop;
    general
        .into_iter()
        .chain([u64::from(vector), error, offset, state::flags(rflags), cr2])
        .fold(digest, fold)
}

/// Before it runs: it may not come back.
fn announce(
    step: u64,
    Sequence {
        kind,
        code,
        length,
        flags,
        ..
    }: &Sequence,
) {
    // SAFETY: the code is there, and does not change now.
    let bytes = unsafe {
        core::slice::from_raw_parts(
            core::ptr::with_exposed_provenance::<u8>(code.0 as usize),
            *length,
        )
    };
    println!(
        "own ok step {step} {kind:?} flags {flags:x} at {:x}: {}",
        code.0,
        Bytes(bytes)
    );
}

/// Bytes, as a disassembler takes them.
struct Bytes<'b>(&'b [u8]);

impl core::fmt::Display for Bytes<'_> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

fn show(stop: &Stop, found: &State, digest: u64) {
    let Stop {
        vector,
        error,
        offset,
        general,
        rflags,
        cr2,
        ..
    } = stop;
    println!(
        "own ok   {vector:x} {error:x} at {offset:x} flags {rflags:x} cr2 {cr2:x} {general:x?}"
    );
    println!("own ok   {found:x?} {digest:x}");
}
