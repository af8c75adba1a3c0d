//! What the frame of an exception says when a hypervisor has raised it, and code segments with a base that does not count.
#![no_std]
#![no_main]

use atoll_guests::apic::{self, ICR_HIGH};
use atoll_guests::check::{deviation, equal, left, own, section, unasked};
use atoll_guests::memory::store;
use atoll_guests::run::register::{RAX, RBX, RCX, RDI, RDX};
use atoll_guests::run::{Code, RF, Run, Stop};
use atoll_guests::traps::BASED_CODE;
use atoll_guests::{code, paging, traps};

atoll_guests::guest!(main);

const VECTOR: u8 = 0x61;

fn main() {
    apic::start();
    resume();
    based();
    atoll_guests::check::end();
}

/// The exception and whether RF is set in its frame (APM vol. 2 §3.1.6, §8.2: of faults it is, of traps it is not).
fn raised(code: Code, prepare: impl FnOnce(Run) -> Run) -> (u8, bool) {
    let stop = prepare(Run::new(code)).go();
    (stop.vector, stop.rflags & RF != 0)
}

fn resume() {
    section("resume flag");
    let unset = "RF is not set";
    for (name, code, vector) in [
        ("vmrun", code!("vmrun rax"), 6),
        ("skinit", code!("skinit eax"), 6),
        ("rsm", code!("rsm"), 6),
    ] {
        deviation(
            format_args!("RF in the frame of #UD by {name}"),
            unset,
            raised(code, |run| run),
            (vector, true),
        );
    }
    deviation(
        "RF in the frame of #GP by rdmsr",
        "unknown registers read as 0",
        raised(code!("rdmsr"), |run| run.with(RCX, 0x1234)),
        (13, true),
    );
    deviation(
        "RF in the frame of #GP by wrmsr",
        "unknown registers are ignored",
        raised(code!("wrmsr"), |run| run.with(RCX, 0x1234)),
        (13, true),
    );
    unasked(
        "RF in the frame of #GP by mov cr4",
        "QEMU makes a #VMEXIT of nobody's of reserved bits",
        || raised(code!("mov cr4, rax"), |run| run.with(RAX, 1 << 40)),
        (13, true),
    );
    deviation(
        "RF in the frame of #GP by mov cr8",
        "reserved bits are ignored",
        raised(code!("mov cr8, rax"), |run| run.with(RAX, 1 << 40)),
        (13, true),
    );
    // What the CPU raises by itself, with and without a hypervisor.
    paging::unmap(300);
    for (name, code, vector) in [
        ("ud2", code!("ud2"), 6),
        ("xsetbv without OSXSAVE", code!("xsetbv"), 6),
        ("div", code!("xor eax, eax", "div eax"), 0),
        ("a selector", code!("mov ds, edi"), 13),
        ("a page that is not there", code!("mov eax, [rbx]"), 14),
    ] {
        left(
            format_args!("RF in the frame of a fault by {name}"),
            unset,
            raised(code, |run| run.with(RDI, 0x7ff8).with(RBX, paging::at(300))),
            (vector, true),
        );
    }
    equal(
        "none behind int3",
        raised(code!("nop"), |run| run),
        (3, false),
    );
    equal(
        "none behind int n",
        raised(code!("int 0x55"), |run| run),
        (0x55, false),
    );
    equal(
        "none behind an exit",
        raised(code!("cpuid"), |run| run),
        (3, false),
    );
}

/// The segment's base does not count in 64-bit mode (APM vol. 2 §4.8).
fn based() {
    section("64-bit code segment with a base");
    let run = |code: Code| Run::new(code).segment(BASED_CODE);
    equal("nop", run(code!("nop")).go().place(), Stop::at(1));
    let stop = run(code!("cpuid")).go();
    equal(
        "cpuid",
        (stop.place(), stop.general[RBX]),
        (Stop::at(2), 0x6874_7541),
    );
    let stop = run(code!(".byte 0x66", "cpuid")).go();
    equal(
        "cpuid with a prefix",
        (stop.place(), stop.general[RBX]),
        (Stop::at(3), 0x6874_7541),
    );
    let stop = run(code!("rdmsr")).with(RCX, 0xc000_0080).go();
    equal(
        "rdmsr",
        (stop.place(), stop.general[RAX]),
        (Stop::at(2), 0x500),
    );
    let stop = run(code!("wrmsr"))
        .with(RCX, 0xc000_0080)
        .with(RAX, 0x500)
        .go();
    equal("wrmsr", stop.place(), Stop::at(2));
    apic::out(0x3ff, 0x6b);
    let stop = run(code!("in al, dx")).with(RDX, 0x3ff).go();
    equal("in", (stop.place(), stop.general[RAX]), (Stop::at(1), 0x6b));
    let stop = run(code!("mov eax, [rdi]", "add [rdi], eax", "mov ebx, [rdi]")).with(RDI, {
        store(ICR_HIGH, 0x1234);
        ICR_HIGH
    });
    let stop = stop.go();
    equal(
        "device memory",
        (stop.place(), stop.general[RAX], stop.general[RBX]),
        (Stop::at(6), 0x1234, 0x2468),
    );
    let stop = run(code!(
        "mov rax, cr4",
        "mov cr4, rax",
        "wbinvd",
        "mov rax, cr0",
        "mov cr0, rax"
    ))
    .go();
    equal("control registers and caches", stop.place(), Stop::at(14));
    let stop = run(code!("mov cr8, rax", "mov rbx, cr8", "mov cr8, rcx"))
        .with(RAX, 5)
        .go();
    equal("cr8", (stop.vector, stop.general[RBX]), (3, 5));
    own(
        "vmmcall",
        || run(code!("vmmcall")).with(RAX, 0xdead).go().general[RAX],
        (-1000_i64) as u64,
    );
    traps::on(VECTOR, |_| apic::end());
    traps::clear();
    apic::raise(VECTOR);
    let halt = code!("sti", "hlt", "cli");
    let stop = run(halt).go();
    equal(
        "hlt",
        (stop.place(), traps::count(), traps::taken(0)),
        (Stop::at(3), 1, (VECTOR, halt.0 + 2)),
    );
    traps::clear();
    apic::raise(VECTOR);
    let window = code!("sti", "cpuid", "nop", "cli");
    let stop = run(window).go();
    equal(
        "a window",
        (stop.place(), traps::count(), traps::taken(0)),
        (Stop::at(5), 1, (VECTOR, window.0 + 3)),
    );
    let stop = run(code!("vmrun rax")).go();
    equal(
        "vmrun is undefined",
        (stop.fault(), stop.offset),
        ((6, 0), 0),
    );
}
