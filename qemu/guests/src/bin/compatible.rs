//! Code of 32 bits in compatibility mode: other encodings, other address sizes.
#![no_std]
#![no_main]

use atoll_guests::apic::{self, ICR_HIGH, SELECT};
use atoll_guests::check::{equal, own, section};
use atoll_guests::memory::{load, load64, store, store64};
use atoll_guests::run::register::{RAX, RBX, RCX, RDI, RDX, RSI};
use atoll_guests::run::{Code, Run, Stop};
use atoll_guests::{code32, traps};

atoll_guests::guest!(main);

const VECTOR: u8 = 0x76;
const SCRATCH: u64 = 0x3ff;
/// RAM that addresses of 16 bits reach.
const LOW: u64 = 0x8000;

fn main() {
    apic::start();
    traps::on(VECTOR, |_| apic::end());
    exits();
    devices();
    strings();
    windows();
    atoll_guests::check::end();
}

fn run(code: Code, prepare: impl FnOnce(Run) -> Run) -> Stop {
    prepare(Run::new(code)).compatible().go()
}

fn exits() {
    section("exits");
    let stop = run(code32!("inc eax", "cpuid"), |run| {
        run.with(RAX, u64::from(u32::MAX))
    });
    equal(
        "cpuid behind an inc that would be REX",
        (stop.place(), stop.general[RBX]),
        (Stop::at(3), 0x6874_7541),
    );
    let stop = run(code32!(".byte 0x66, 0x2e", "cpuid"), |run| run);
    equal(
        "cpuid with prefixes",
        (stop.place(), stop.general[RBX]),
        (Stop::at(4), 0x6874_7541),
    );
    let stop = run(code32!("rdmsr"), |run| run.with(RCX, 0xc000_0080));
    equal(
        "rdmsr",
        (stop.place(), stop.general[RAX]),
        (Stop::at(2), 0x500),
    );
    apic::out(0x3ff, 0x8d);
    let stop = run(code32!("in al, dx"), |run| run.with(RDX, SCRATCH));
    equal("in", (stop.place(), stop.general[RAX]), (Stop::at(1), 0x8d));
    let stop = run(
        code32!(
            "mov eax, cr4",
            "or eax, 0x80",
            "mov cr4, eax",
            "mov ebx, cr4",
            "and eax, ~0x80",
            "mov cr4, eax"
        ),
        |run| run,
    );
    equal("mov cr4", (stop.vector, stop.general[RBX]), (3, 0x6a0));
    own(
        "vmmcall",
        || run(code32!("vmmcall"), |run| run.with(RAX, 0xdead)).general[RAX] as u32,
        (-1000_i32) as u32,
    );
}

fn devices() {
    section("devices");
    let device = |code: Code, at: u64, value: u64| {
        let stop = run(code, |run| run.with(RDI, at).with(RAX, value));
        (stop.vector, stop.general[RAX], load(at))
    };
    store(ICR_HIGH, 0x1234_5678);
    equal(
        "mov eax, [edi]",
        device(code32!("mov eax, [edi]"), ICR_HIGH, 0),
        (3, 0x1234_5678, 0x1234_5678),
    );
    equal(
        "mov eax, [address]",
        device(code32!("mov eax, [0xfee00310]"), ICR_HIGH, 0),
        (3, 0x1234_5678, 0x1234_5678),
    );
    equal(
        "mov [edi], eax",
        device(code32!("mov [edi], eax"), ICR_HIGH, 0x8765_4321),
        (3, 0x8765_4321, 0x8765_4321),
    );
    equal(
        "mov dword ptr [edi], imm",
        device(code32!("mov dword ptr [edi], 0x5a5a5a5a"), ICR_HIGH, 1),
        (3, 1, 0x5a5a_5a5a),
    );
    equal(
        "add [edi], eax",
        device(code32!("add [edi], eax"), ICR_HIGH, 1),
        (3, 1, 0x5a5a_5a5b),
    );
    equal(
        "xchg [edi], eax",
        device(code32!("xchg [edi], eax"), ICR_HIGH, 7),
        (3, 0x5a5a_5a5b, 7),
    );
    equal(
        "inc dword ptr [edi]",
        device(code32!("inc dword ptr [edi]"), ICR_HIGH, 7),
        (3, 7, 8),
    );
    equal(
        "bts dword ptr [edi], 31",
        device(code32!("bts dword ptr [edi], 31"), ICR_HIGH, 7),
        (3, 7, 0x8000_0008),
    );
    equal(
        "bts dword ptr [edi], eax",
        device(code32!("bts dword ptr [edi - 16], eax"), ICR_HIGH, 130),
        (3, 130, 0x8000_000c),
    );
    store(ICR_HIGH, 0);
    store(SELECT, 0xf1);
    equal(
        "movzx eax, byte ptr [edi]",
        device(code32!("movzx eax, byte ptr [edi]"), SELECT, 0),
        (3, 0xf1, 0xf1),
    );
    equal(
        "movsx eax, byte ptr [edi]",
        device(code32!("movsx eax, byte ptr [edi]"), SELECT, 0),
        (3, 0xffff_fff1, 0xf1),
    );
    equal(
        "mov ah, [edi]",
        device(code32!("mov ah, [edi]"), SELECT, 0x77),
        (3, 0xf177, 0xf1),
    );
    equal(
        "mov [edi], ax",
        device(code32!("mov [edi], ax"), SELECT, 0x33),
        (3, 0x33, 0x33),
    );
    equal(
        "rep stosd",
        device(code32!("mov ecx, 2", "rep stosd"), SELECT, 0x34),
        (3, 0x34, 0x34),
    );
    store64(LOW, 0x7777_7777_0000_0035);
    let stop = run(code32!("movsd"), |run| run.with(RSI, LOW).with(RDI, SELECT));
    equal(
        "movsd",
        (
            stop.vector,
            stop.general[RSI],
            stop.general[RDI],
            load(SELECT),
        ),
        (3, LOW + 4, SELECT + 4, 0x35),
    );
    let stop = run(code32!("mov eax, [ebx + ecx * 4 - 4]"), |run| {
        run.with(RBX, 0xffff_fffc).with(RCX, (SELECT + 8) / 4)
    });
    equal(
        "an address that wraps",
        (stop.vector, stop.general[RAX]),
        (3, 0x35),
    );
}

fn strings() {
    section("strings");
    apic::out(0x3ff, 0x2f);
    store64(LOW, 0);
    let stop = run(code32!("rep insb"), |run| {
        run.with(RDI, LOW).with(RDX, SCRATCH).with(RCX, 3)
    });
    equal(
        "rep insb",
        (
            stop.vector,
            stop.general[RDI],
            stop.general[RCX],
            load64(LOW),
        ),
        (3, LOW + 3, 0, 0x2f_2f2f),
    );
    store64(LOW, 0);
    // Only the lower halves of the registers count and change.
    let stop = run(code32!(".byte 0x67", "rep insb"), |run| {
        run.with(RDI, 0x5_0000 | LOW)
            .with(RDX, SCRATCH)
            .with(RCX, 0x7_0002)
    });
    equal(
        "with addresses of 16 bits",
        (
            stop.vector,
            stop.general[RDI],
            stop.general[RCX],
            load64(LOW),
        ),
        (3, 0x5_0000 | (LOW + 2), 0x7_0000, 0x2f2f),
    );
    store64(LOW, 0x99);
    let stop = run(code32!(".byte 0x67", "outsb"), |run| {
        run.with(RSI, 0x5_0000 | LOW).with(RDX, SCRATCH)
    });
    equal(
        "outsb with addresses of 16 bits",
        (stop.vector, stop.general[RSI], apic::inb(0x3ff)),
        (3, 0x5_0000 | (LOW + 1), 0x99),
    );
    store64(LOW, 0x4242_4242);
    let stop = run(code32!("outsw"), |run| run.with(RSI, LOW).with(RDX, 0x3fe));
    equal(
        "outsw",
        (stop.vector, stop.general[RSI], apic::inb(0x3ff)),
        (3, LOW + 2, 0x42),
    );
}

fn windows() {
    section("windows");
    traps::clear();
    apic::raise(VECTOR);
    let code = code32!("sti", "cpuid", "nop", "cli");
    let stop = run(code, |run| run);
    equal(
        "sti; cpuid: behind it",
        (
            stop.vector,
            traps::count(),
            traps::taken(0).1.wrapping_sub(code.0),
        ),
        (3, 1, 3),
    );
    traps::clear();
    apic::one_shot(VECTOR, 20_000);
    let code = code32!("sti", "hlt", "cli");
    let stop = run(code, |run| run);
    equal(
        "hlt",
        (
            stop.vector,
            traps::count(),
            traps::taken(0).1.wrapping_sub(code.0),
        ),
        (3, 1, 2),
    );
}
