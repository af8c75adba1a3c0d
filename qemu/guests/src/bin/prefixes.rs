//! Instructions that exit, with prefixes: each must be recognised and skipped with all of its bytes, wherever in a page it lies.
#![no_std]
#![no_main]

use atoll_guests::alone::Alone;
use atoll_guests::check::{equal, own, section};
use atoll_guests::paging::{self, PAGE, PRESENT, Page, WRITABLE};
use atoll_guests::run::register::{RAX, RBX, RCX, RDX};
use atoll_guests::run::{Code, Run, Stop};
use atoll_guests::{apic, memory, traps};

atoll_guests::guest!(main);

const VECTOR: u8 = 0x62;
const INT3: u8 = 0xcc;
const STI: u8 = 0xfb;

/// Prefixes, and what they are. All that a CPU takes before these opcodes: up to fifteen bytes with the shortest of them.
const PREFIXES: [(&str, &[u8]); 13] = [
    ("no prefix", &[]),
    ("66", &[0x66]),
    ("67", &[0x67]),
    ("f2", &[0xf2]),
    ("f3", &[0xf3]),
    ("rex.w", &[0x48]),
    ("rex.wrxb", &[0x4f]),
    ("cs", &[0x2e]),
    ("gs", &[0x65]),
    ("66 f3", &[0x66, 0xf3]),
    ("f3 rex.w", &[0xf3, 0x48]),
    (
        "66 67 2e 36 3e 26 64 65 rex",
        &[0x66, 0x67, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0x40],
    ),
    (
        "eleven and rex",
        &[
            0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x66, 0x48,
        ],
    ),
];

static PAGES: Alone<[Page; 4]> = Alone::new([Page::ZERO; 4]);

/// An instruction, and how a run sees that it was executed.
struct Subject {
    name: &'static str,
    opcode: &'static [u8],
    run: fn(Run) -> Run,
    done: fn(&Stop) -> bool,
}

const SUBJECTS: [Subject; 4] = [
    Subject {
        name: "cpuid",
        opcode: &[0x0f, 0xa2],
        run: |run| run.with(RAX, u64::MAX << 32).with(RBX, u64::MAX),
        done: |stop| stop.general[RAX] >> 32 == 0 && stop.general[RBX] == 0x6874_7541,
    },
    Subject {
        name: "rdmsr",
        opcode: &[0x0f, 0x32],
        run: |run| {
            run.with(RAX, u64::MAX)
                .with(RDX, u64::MAX)
                .with(RCX, 0xc000_0080)
        },
        done: |stop| stop.general[RAX] == 0x500 && stop.general[RDX] == 0,
    },
    Subject {
        name: "wrmsr",
        opcode: &[0x0f, 0x30],
        run: |run| {
            run.with(RAX, 0x0007_0406)
                .with(RDX, 0x0007_0406)
                .with(RCX, 0x277)
        },
        done: |stop| stop.general[RAX] == 0x0007_0406 && stop.general[RCX] == 0x277,
    },
    Subject {
        name: "hlt",
        opcode: &[0xf4],
        run: |run| run,
        // The interrupt came behind it.
        done: |stop| traps::count() == 1 && traps::taken(0).0 == VECTOR && taken_at(stop),
    },
];

/// Whether the interrupt came where the run ended, less the INT3 if it ended with one.
fn taken_at(stop: &Stop) -> bool {
    traps::taken(0).1 == stop.start.wrapping_add(stop.offset) - u64::from(stop.vector == 3)
}

fn main() {
    apic::start();
    traps::on(VECTOR, |_| apic::end());
    for subject in &SUBJECTS {
        section(subject.name);
        within_a_page(subject);
        at_the_end_of_a_page(subject);
        across_pages(subject);
        rewritten(subject);
    }
    vmmcall();
    atoll_guests::check::end();
}

/// The window's first two pages, mapped to frames that do not follow each other; the second if `both`.
fn pages(both: bool) {
    let frames = PAGES.get().addr() as u64;
    paging::map(0, frames + 2 * PAGE, PRESENT | WRITABLE);
    if both {
        paging::map(1, frames, PRESENT | WRITABLE)
    } else {
        paging::unmap(1)
    }
}

/// Puts the subject with its prefixes at `at` and runs it. HLT is preceded by STI, so that it ends.
fn run(subject: &Subject, prefixes: &[u8], at: u64, ending: &[u8]) -> Stop {
    let halts = subject.name == "hlt";
    let start = if halts { at - 1 } else { at };
    let mut end = at;
    if halts {
        memory::fill(start, &[STI]);
        traps::clear();
        apic::raise(VECTOR);
    }
    for part in [prefixes, subject.opcode, ending] {
        memory::fill(end, part);
        end += part.len() as u64;
    }
    let mut stop = (subject.run)(Run::new(Code(start))).go();
    stop.offset = stop.offset.wrapping_sub(at - start);
    stop.start = at;
    stop
}

fn within_a_page(subject: &Subject) {
    pages(true);
    for (name, prefixes) in PREFIXES {
        let length = (prefixes.len() + subject.opcode.len()) as u64;
        let stop = run(subject, prefixes, paging::at(0) + 0x100, &[INT3]);
        equal(
            format_args!("{} with {name}", subject.name),
            (stop.place(), (subject.done)(&stop)),
            (Stop::at(length), true),
        );
    }
}

/// The last byte of the instruction is the last of its page, and nothing is mapped behind it.
fn at_the_end_of_a_page(subject: &Subject) {
    pages(false);
    for (name, prefixes) in PREFIXES {
        let length = (prefixes.len() + subject.opcode.len()) as u64;
        let stop = run(subject, prefixes, paging::at(1) - length, &[]);
        let behind = (14, length, paging::at(1));
        equal(
            format_args!("{} with {name} ends a page", subject.name),
            (stop.vector, stop.offset, stop.cr2, (subject.done)(&stop)),
            (behind.0, behind.1, behind.2, true),
        );
    }
}

/// Only the first byte of the instruction is in the first page, and then all but the last.
fn across_pages(subject: &Subject) {
    pages(true);
    for (name, prefixes) in PREFIXES {
        let length = (prefixes.len() + subject.opcode.len()) as u64;
        for first in [1, length - 1] {
            if first == 0 || first == length {
                continue;
            }
            let stop = run(subject, prefixes, paging::at(1) - first, &[INT3]);
            equal(
                format_args!(
                    "{} with {name}, {first} bytes in the first page",
                    subject.name
                ),
                (stop.place(), (subject.done)(&stop)),
                (Stop::at(length), true),
            );
        }
    }
}

/// At one address, the same instruction grows and shrinks: what was found out about an address does not outlive its bytes.
fn rewritten(subject: &Subject) {
    pages(true);
    for round in 0..3 {
        for prefixes in [&[][..], &[0x66], &[0x66, 0x66, 0x66], &[0x66]] {
            let length = (prefixes.len() + subject.opcode.len()) as u64;
            let stop = run(subject, prefixes, paging::at(0) + 0x200, &[INT3]);
            equal(
                format_args!("{} in place of another, round {round}", subject.name),
                (stop.place(), (subject.done)(&stop)),
                (Stop::at(length), true),
            );
        }
    }
    // The same address in another frame, while the old frame keeps its bytes.
    paging::map(0, PAGES.get().addr() as u64 + 3 * PAGE, PRESENT | WRITABLE);
    let stop = run(subject, &[0x2e, 0x66], paging::at(0) + 0x200, &[INT3]);
    let length = 2 + subject.opcode.len() as u64;
    equal(
        format_args!("{} in another frame", subject.name),
        (stop.place(), (subject.done)(&stop)),
        (Stop::at(length), true),
    );
}

fn vmmcall() {
    section("vmmcall");
    let subject = Subject {
        name: "vmmcall",
        opcode: &[0x0f, 0x01, 0xd9],
        run: |run| run.with(RAX, 0xdead),
        done: |stop| stop.general[RAX] == (-1000_i64) as u64,
    };
    pages(true);
    for (name, prefixes) in [
        ("no prefix", &[][..]),
        ("rex.w", &[0x48]),
        ("cs", &[0x2e]),
        ("67", &[0x67]),
    ] {
        let length = (prefixes.len() + 3) as u64;
        let run = || run(&subject, prefixes, paging::at(0) + 0x300, &[INT3]);
        own(
            format_args!("vmmcall with {name}"),
            || (run().place(), (subject.done)(&run())),
            (Stop::at(length), true),
        );
    }
}
