//! CPL 3: the way there with an interrupt pending, and what exits from there.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};

use atoll_guests::alone::Alone;
use atoll_guests::apic::{self, ICR_HIGH, SELECT};
use atoll_guests::check::{equal, own, section};
use atoll_guests::code;
use atoll_guests::memory::{fill, load, store};
use atoll_guests::paging::{self, PAGE, PRESENT, Page, USER, WRITABLE};
use atoll_guests::run::register::{RAX, RBX, RCX, RDI, RDX, RSI};
use atoll_guests::run::{Code, IF, Run, Stop};
use atoll_guests::traps::{self, USER_CODE, USER_DATA};

atoll_guests::guest!(main);

const VECTOR: u8 = 0x74;
const UNDEFINED: u8 = 6;
const PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;
/// IOPL 3.
const IOPL: u64 = 3 << 12;

static PAGES: Alone<[Page; 2]> = Alone::new([Page::ZERO; 2]);
/// The code segment that the last interrupt came from.
static FROM: AtomicU64 = AtomicU64::new(0);

fn main() {
    apic::start();
    traps::on(VECTOR, |frame| {
        FROM.store(frame.cs, Ordering::Relaxed);
        apic::end();
    });
    let frames = PAGES.get().addr() as u64;
    paging::map(0, frames, PRESENT | WRITABLE | USER);
    paging::map(1, frames + PAGE, PRESENT | WRITABLE | USER);
    windows();
    privileges();
    exits();
    devices();
    atoll_guests::check::end();
}

/// Puts code into the page of CPL 3, with UD2 behind it.
fn place(bytes: &[u8]) -> u64 {
    fill(paging::at(0), bytes);
    fill(paging::at(0) + bytes.len() as u64, &[0x0f, 0x0b]);
    paging::at(0)
}

/// Runs bytes at CPL 3. RBX is lost on the way.
fn run(bytes: &[u8], prepare: impl FnOnce(Run) -> Run, flags: u64) -> Stop {
    let at = place(bytes);
    // An IRET frame, below the stack that CPL 3 has.
    let frame = paging::at(2) - 64;
    for (word, value) in [at, USER_CODE, flags | 2, paging::at(2) - 128, USER_DATA]
        .into_iter()
        .enumerate()
    {
        atoll_guests::memory::store64(frame + 8 * word as u64, value);
    }
    let mut stop = prepare(Run::new(code!("mov rsp, rbx", "iretq")))
        .with(RBX, frame)
        .go();
    stop.offset = stop.offset.wrapping_add(stop.start).wrapping_sub(at);
    stop
}

fn windows() {
    section("windows");
    // STAR: the segments for SYSRET lie behind 0x20.
    let write_msr = |index: u64, high: u64, low: u64| {
        let _ = Run::new(code!("wrmsr"))
            .with(RCX, index)
            .with(RDX, high)
            .with(RAX, low)
            .go();
    };
    write_msr(0xc000_0081, 0x0020_0008, 0);
    write_msr(0xc000_0080, 0, 0x501);
    let at = place(&[0x90, 0x90]);
    let came = || {
        (
            traps::count(),
            traps::taken(0).1.wrapping_sub(at),
            FROM.load(Ordering::Relaxed),
        )
    };
    let sysret = |code: Code, flags: u64| {
        traps::clear();
        apic::raise(VECTOR);
        Run::new(code).with(RCX, at).with(11, flags | 2).go()
    };
    let stop = sysret(code!("sti", "sysretq"), IF);
    equal(
        "sti; sysret: at CPL 3, before its first instruction",
        (stop.vector, came()),
        (UNDEFINED, (1, 0, USER_CODE)),
    );
    let stop = sysret(code!("sysretq"), IF);
    equal(
        "sysret that sets IF",
        (stop.vector, came()),
        (UNDEFINED, (1, 0, USER_CODE)),
    );
    traps::clear();
    apic::raise(VECTOR);
    let stop = run(&[0x90, 0x90], |run| run, IF);
    equal(
        "iret that sets IF",
        (stop.vector, came()),
        (UNDEFINED, (1, 0, USER_CODE)),
    );
    traps::clear();
    apic::one_shot(VECTOR, 3_000);
    // dec ecx; jnz
    let stop = run(&[0xff, 0xc9, 0x75, 0xfc], |run| run.with(RCX, 100_000), IF);
    equal(
        "one that comes later",
        (
            stop.vector,
            stop.general[RCX],
            traps::count(),
            FROM.load(Ordering::Relaxed),
        ),
        (UNDEFINED, 0, 1, USER_CODE),
    );
}

/// What CPL 3 may not do is a #GP there, not an exit.
fn privileges() {
    section("privileges");
    for (name, bytes) in [
        ("hlt", &[0xf4][..]),
        ("cli", &[0xfa]),
        ("sti", &[0xfb]),
        ("rdmsr", &[0x0f, 0x32]),
        ("wrmsr", &[0x0f, 0x30]),
        ("in al, dx", &[0xec]),
        ("out dx, al", &[0xee]),
        ("insb", &[0x6c]),
        ("rep outsb", &[0xf3, 0x6e]),
        ("mov cr0, rax", &[0x0f, 0x22, 0xc0]),
        ("mov cr4, rax", &[0x0f, 0x22, 0xe0]),
        ("mov rax, cr3", &[0x0f, 0x20, 0xd8]),
        ("clts", &[0x0f, 0x06]),
        ("wbinvd", &[0x0f, 0x09]),
        ("invd", &[0x0f, 0x08]),
        ("invlpg [rax]", &[0x0f, 0x01, 0x38]),
        ("lmsw ax", &[0x0f, 0x01, 0xf0]),
        ("int3", &[0xcc]),
        ("int 0x74", &[0xcd, 0x74]),
    ] {
        let stop = run(bytes, |run| run.with(RDX, 0x3ff).with(RCX, 0xc000_0080), 0);
        equal(
            format_args!("{name} is refused"),
            (stop.vector, stop.offset),
            (PROTECTION, 0),
        );
    }
    let stop = run(&[0x8b, 0x07], |run| run.with(RDI, 0x10_0000), 0);
    equal(
        "memory of CPL 0",
        (stop.fault(), stop.cr2),
        ((PAGE_FAULT, 5), 0x10_0000),
    );
}

fn exits() {
    section("exits");
    let stop = run(&[0x0f, 0xa2], |run| run, 0);
    equal(
        "cpuid",
        (stop.vector, stop.offset, stop.general[RBX]),
        (UNDEFINED, 2, 0x6874_7541),
    );
    apic::out(0x3ff, 0x9c);
    let stop = run(&[0xec], |run| run.with(RDX, 0x3ff), IOPL);
    equal(
        "in with IOPL 3",
        (stop.vector, stop.offset, stop.general[RAX]),
        (UNDEFINED, 1, 0x9c),
    );
    let to = paging::at(1) + 0x100;
    let stop = run(
        &[0xf3, 0x6c],
        |run| run.with(RDX, 0x3ff).with(RDI, to).with(RCX, 4),
        IOPL,
    );
    equal(
        "rep insb with IOPL 3",
        (stop.vector, stop.offset, load(to)),
        (UNDEFINED, 2, 0x9c9c_9c9c),
    );
    let stop = run(
        &[0xf3, 0x6c],
        |run| run.with(RDX, 0x3ff).with(RDI, 0x10_0000).with(RCX, 4),
        IOPL,
    );
    equal(
        "rep insb to memory of CPL 0",
        (stop.fault(), stop.cr2, stop.general[RCX]),
        ((PAGE_FAULT, 7), 0x10_0000, 4),
    );
    let stop = run(
        &[0x6e],
        |run| run.with(RDX, 0x3ff).with(RSI, 0x10_0000),
        IOPL,
    );
    equal(
        "outsb from memory of CPL 0",
        (stop.fault(), stop.cr2),
        ((PAGE_FAULT, 5), 0x10_0000),
    );
    // KVM refuses hypercalls from CPL 3 by -EPERM.
    own(
        "vmmcall",
        || run(&[0x0f, 0x01, 0xd9], |run| run.with(RAX, 0xdead), 0).general[RAX],
        (-1_i64) as u64,
    );
}

/// A device's page that CPL 3 may reach.
fn devices() {
    section("devices");
    paging::map(4, ICR_HIGH & !0xfff, PRESENT | WRITABLE | USER);
    paging::map(5, SELECT, PRESENT | WRITABLE);
    let at = paging::at(4) + (ICR_HIGH & 0xfff);
    store(ICR_HIGH, 0x1111_2222);
    let stop = run(&[0x8b, 0x07], |run| run.with(RDI, at), 0);
    equal(
        "a load",
        (stop.vector, stop.offset, stop.general[RAX]),
        (UNDEFINED, 2, 0x1111_2222),
    );
    let stop = run(&[0x01, 0x07], |run| run.with(RDI, at).with(RAX, 0x1111), 0);
    equal(
        "a change",
        (stop.vector, stop.offset, load(ICR_HIGH)),
        (UNDEFINED, 2, 0x1111_3333),
    );
    let to = paging::at(1) + 0x200;
    let stop = run(&[0xa5], |run| run.with(RSI, at).with(RDI, to), 0);
    equal(
        "movsd",
        (stop.vector, stop.offset, load(to)),
        (UNDEFINED, 1, 0x1111_3333),
    );
    let stop = run(&[0xa5], |run| run.with(RSI, at).with(RDI, 0x10_0000), 0);
    equal(
        "movsd to memory of CPL 0",
        (stop.fault(), stop.cr2),
        ((PAGE_FAULT, 7), 0x10_0000),
    );
    let stop = run(&[0x89, 0x07], |run| run.with(RDI, paging::at(5)), 0);
    equal(
        "one that it may not reach",
        (stop.fault(), stop.cr2),
        ((PAGE_FAULT, 7), paging::at(5)),
    );
    store(ICR_HIGH, 0);
}
