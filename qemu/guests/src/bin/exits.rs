//! Every kind of exit that is no device's memory, string or window: what the instruction leaves in the registers, where it goes on, and
//! which exception it takes where it takes one.
#![no_std]
#![no_main]

use atoll_guests::apic::{self, ICR_HIGH};
use atoll_guests::check::{deviation, equal, on_atoll, own, section, shown, unasked};
use atoll_guests::run::register::{RAX, RBX, RCX, RDX};
use atoll_guests::run::{Code, IF, Run, Stop};
use atoll_guests::{code, memory, traps};

atoll_guests::guest!(main);

/// All bits of a register.
const FULL: u64 = u64::MAX;
/// #UD and its error code.
const UNDEFINED: (u8, u64) = (6, 0);
/// #GP(0).
const PROTECTION: (u8, u64) = (13, 0);
/// A port that is nobody's in both machines.
const NOBODYS: u64 = 0x5100;
/// The serial port's scratch register.
const SCRATCH: u64 = 0x3ff;
const VECTOR: u8 = 0x61;

fn main() {
    apic::start();
    cpuid();
    msrs();
    unknown_msrs();
    ports();
    hlt();
    control_registers();
    extended_control();
    caches();
    absent();
    hypercall();
    atoll_guests::check::end();
}

fn cpuid() {
    section("cpuid");
    let code = code!("cpuid");
    let ask = |leaf, subleaf| {
        Run::new(code)
            .with(RAX, FULL << 32 | leaf)
            .with(RCX, FULL << 32 | subleaf)
            .with(RBX, FULL)
            .with(RDX, FULL)
            .go()
    };
    for leaf in [
        0,
        1,
        7,
        0xd,
        0x8000_0000,
        0x8000_0001,
        0x4000_0000,
        0x1234_5678,
    ] {
        let stop = ask(leaf, 0);
        equal(
            format_args!("leaf {leaf:x} goes on behind the instruction"),
            stop.place(),
            Stop::at(2),
        );
        let [rax, rcx, rdx, rbx, ..] = stop.general;
        equal(
            format_args!("leaf {leaf:x} clears the upper halves"),
            (rax | rbx | rcx | rdx) >> 32,
            0,
        );
    }
    let vendor = ask(0, 0).general;
    shown("the vendor", (vendor[RBX], vendor[RDX], vendor[RCX]));
    shown("family, model, stepping", ask(1, 0).general[RAX]);
    shown("the brand", ask(0x8000_0002, 0).general[RAX]);
    equal(
        "topology echoes the level",
        ask(0xb, 0x77).general[RCX] & 0xff,
        0x77,
    );
    equal(
        "a long way above the last leaf there are the last basic leaf's values or nothing",
        ask(0x8fff_ffff, 0).place(),
        Stop::at(2),
    );
    own("the hypervisor bit", || ask(1, 0).general[RCX] >> 31, 1);
    own(
        "an unknown leaf is empty",
        || {
            ask(0x4fff_ffff, 0).general[..4]
                .iter()
                .fold(0, |all, register| all | register)
        },
        0,
    );
}

/// RCX for an MSR: its upper half does not count.
fn rcx(index: u64) -> u64 {
    FULL << 32 | index
}

fn read_msr(index: u64) -> (Stop, u64) {
    let stop = Run::new(code!("rdmsr"))
        .with(RCX, rcx(index))
        .with(RAX, FULL)
        .with(RDX, FULL)
        .go();
    (
        stop,
        stop.general[RDX] << 32 | stop.general[RAX] & 0xffff_ffff,
    )
}

fn write_msr(index: u64, value: u64) -> Stop {
    // The upper halves of the registers do not count.
    Run::new(code!("wrmsr"))
        .with(RCX, rcx(index))
        .with(RAX, FULL << 32 | value)
        .with(RDX, FULL << 32 | value >> 32)
        .go()
}

fn msrs() {
    section("msrs");
    let kept = [
        (0x174, 0x10, "SYSENTER_CS"),
        (0x175, 0xffff_8000_1234_5678, "SYSENTER_ESP"),
        (0x176, 0xffff_8000_8765_4321, "SYSENTER_EIP"),
        (0x277, 0x0007_0106_0007_0406, "PAT"),
        (0xc000_0081, 0x0023_0010_0000_0000, "STAR"),
        (0xc000_0082, 0xffff_8000_0000_1000, "LSTAR"),
        (0xc000_0083, 0xffff_8000_0000_2000, "CSTAR"),
        (0xc000_0084, 0x4_7700, "SFMASK"),
        (0xc000_0100, 0x1234_5678_9abc, "FS.base"),
        (0xc000_0101, 0xffff_9234_5678_9abc, "GS.base"),
        (0xc000_0102, 0x7fff_ffff_ffff, "KernelGSBase"),
        (0xc000_0103, 0x1234_5678, "TSC_AUX"),
    ];
    for (index, value, name) in kept {
        equal(
            format_args!("{name} is written"),
            write_msr(index, value).place(),
            Stop::at(2),
        );
        let (stop, read) = read_msr(index);
        equal(
            format_args!("{name} is read"),
            (stop.place(), read),
            (Stop::at(2), value),
        );
        equal(
            format_args!("reading {name} clears the upper halves"),
            (stop.general[RAX] | stop.general[RDX]) >> 32,
            0,
        );
    }
    equal(
        "FS.base is where FS points",
        fs_points_at_its_base(),
        0x1122_3344,
    );
    equal(
        "RDTSCP shows TSC_AUX",
        Run::new(code!("rdtscp")).go().general[RCX],
        0x1234_5678,
    );
    equal("EFER says long mode", read_msr(0xc000_0080).1, 0x500);
    equal(
        "EFER.SCE can be set",
        (
            write_msr(0xc000_0080, 0x501).place(),
            read_msr(0xc000_0080).1,
        ),
        (Stop::at(2), 0x501),
    );
    equal(
        "EFER.NXE can be set",
        (
            write_msr(0xc000_0080, 0xd01).place(),
            read_msr(0xc000_0080).1,
        ),
        (Stop::at(2), 0xd01),
    );
    equal("APIC_BASE", read_msr(0x1b).1, 0xfee0_0900);
    let first = read_msr(0x10).1;
    let between = Run::new(code!("rdtsc", "shl rdx, 32", "or rax, rdx"))
        .go()
        .general[RAX];
    let last = read_msr(0x10).1;
    deviation(
        "TSC by MSR and by RDTSC is one counter",
        "the MSR reads as 0",
        first < between && between < last,
        true,
    );
}

fn fs_points_at_its_base() -> u64 {
    static CELL: [u32; 2] = [0, 0x1122_3344];
    let _ = write_msr(0xc000_0100, CELL.as_ptr().addr() as u64);
    Run::new(code!("mov eax, fs:[4]")).go().general[RAX]
}

fn unknown_msrs() {
    section("unknown msrs");
    let unknown = "unknown registers read as 0 and ignore writes";
    for index in [0x1234, 0x3fff_ffff, 0xc000_1fff, 0xc001_0114, 0xffff_ffff] {
        deviation(
            format_args!("rdmsr {index:x}"),
            unknown,
            read_msr(index).0.fault(),
            PROTECTION,
        );
        own(
            format_args!("rdmsr {index:x} leaves the registers"),
            || read_msr(index).0.general[RAX],
            FULL,
        );
        deviation(
            format_args!("wrmsr {index:x}"),
            unknown,
            (write_msr(index, 0).fault(), write_msr(index, 0).offset),
            (PROTECTION, 0),
        );
    }
    unasked(
        "EFER's reserved bits",
        "they are ignored",
        || write_msr(0xc000_0080, 0xd01 | 1 << 20).fault(),
        PROTECTION,
    );
    unasked(
        "EFER.SVME",
        "QEMU offers it",
        || write_msr(0xc000_0080, 0xd01 | 1 << 12).fault(),
        PROTECTION,
    );
    own("EFER stays as it was", || read_msr(0xc000_0080).1, 0xd01);
}

fn ports() {
    section("ports");
    let port = |code: Code, port| {
        Run::new(code)
            .with(RAX, 0x1122_3344_5566_7788)
            .with(RDX, port)
            .go()
    };
    let read = |name: &str, stop: Stop, length, value: u64| {
        equal(
            name,
            (stop.place(), stop.general[RAX]),
            (Stop::at(length), value),
        );
    };
    read(
        "in al, dx of nobody's port",
        port(code!("in al, dx"), NOBODYS),
        1,
        0x1122_3344_5566_77ff,
    );
    read(
        "in ax, dx of nobody's port",
        port(code!("in ax, dx"), NOBODYS),
        2,
        0x1122_3344_5566_ffff,
    );
    read(
        "in eax, dx of nobody's port",
        port(code!("in eax, dx"), NOBODYS),
        1,
        0xffff_ffff,
    );
    read(
        "in al, imm8 of nobody's port",
        port(code!("in al, 0xe4"), 0),
        2,
        0x1122_3344_5566_77ff,
    );
    read(
        "in ax, imm8 of nobody's port",
        port(code!("in ax, 0xe4"), 0),
        3,
        0x1122_3344_5566_ffff,
    );
    read(
        "in eax, imm8 of nobody's port",
        port(code!("in eax, 0xe4"), 0),
        2,
        0xffff_ffff,
    );
    for (name, code, length) in [
        ("out dx, al to nobody's port", code!("out dx, al"), 1),
        ("out dx, ax to nobody's port", code!("out dx, ax"), 2),
        ("out dx, eax to nobody's port", code!("out dx, eax"), 1),
        ("out imm8, al to nobody's port", code!("out 0xe4, al"), 2),
        ("out imm8, ax to nobody's port", code!("out 0xe4, ax"), 3),
        ("out imm8, eax to nobody's port", code!("out 0xe4, eax"), 2),
    ] {
        read(name, port(code, NOBODYS), length, 0x1122_3344_5566_7788);
    }
    for value in [0x00, 0x5a, 0xff] {
        let _ = Run::new(code!("out dx, al"))
            .with(RAX, value)
            .with(RDX, SCRATCH)
            .go();
        let stop = port(code!("in al, dx"), SCRATCH);
        read(
            "the scratch register keeps a byte",
            stop,
            1,
            0x1122_3344_5566_7700 | value,
        );
    }
    // Only 16 bits of RDX count.
    read(
        "the upper part of rdx does not count",
        port(code!("in al, dx"), 0xffff_0000_0000_0000 | SCRATCH),
        1,
        0x1122_3344_5566_77ff,
    );
}

fn hlt() {
    section("hlt");
    traps::on(VECTOR, |_| apic::end());
    traps::clear();
    apic::one_shot(VECTOR, 20_000);
    let code = code!("sti", "hlt", "cli");
    let stop = Run::new(code).go();
    equal(
        "the timer ends it",
        (stop.place(), traps::count()),
        (Stop::at(3), 1),
    );
    equal(
        "the interrupt comes behind it",
        traps::taken(0),
        (VECTOR, code.0 + 2),
    );
    traps::clear();
    apic::raise(VECTOR);
    let _ = Run::new(code).go();
    equal(
        "a pending interrupt ends it at once",
        (traps::count(), traps::taken(0)),
        (1, (VECTOR, code.0 + 2)),
    );
    let _ = Run::new(code!("nop")).flags(IF).go();
    equal("none is left", traps::count(), 1);
}

fn control_registers() {
    section("control registers");
    let cr0 = Run::new(code!("mov rax, cr0")).go().general[RAX];
    equal("CR0 has PE, ET and PG", cr0 & 0x8000_0011, 0x8000_0011);
    let write_cr0 = |value| {
        Run::new(code!("mov cr0, rax", "mov rbx, cr0"))
            .with(RAX, value)
            .go()
    };
    equal(
        "CR0.WP set",
        write_cr0(cr0 | 1 << 16).general[RBX],
        cr0 | 1 << 16,
    );
    equal(
        "CR0.TS set",
        write_cr0(cr0 | 1 << 3).general[RBX],
        cr0 | 1 << 3,
    );
    let clts = Run::new(code!("clts", "mov rbx, cr0")).go();
    equal(
        "CLTS",
        (clts.place(), clts.general[RBX]),
        (Stop::at(5), cr0),
    );
    let lmsw = Run::new(code!("lmsw ax", "mov rbx, cr0"))
        .with(RAX, 0xb)
        .go();
    equal("LMSW sets TS and MP", lmsw.general[RBX] & 0xf, 0xb);
    let lmsw = Run::new(code!("lmsw ax", "mov rbx, cr0")).with(RAX, 0).go();
    equal("LMSW does not clear PE", lmsw.general[RBX] & 0xf, 1);
    let _ = write_cr0(cr0);

    let cr4 = Run::new(code!("mov rax, cr4")).go().general[RAX];
    let write_cr4 = |value| {
        Run::new(code!("mov cr4, rax", "mov rbx, cr4"))
            .with(RAX, value)
            .go()
    };
    for (bit, name) in [
        (7, "PGE"),
        (3, "DE"),
        (8, "PCE"),
        (2, "TSD"),
        (20, "SMEP"),
        (16, "FSGSBASE"),
        (18, "OSXSAVE"),
    ] {
        let stop = write_cr4(cr4 | 1 << bit);
        equal(
            format_args!("CR4.{name} set"),
            (stop.place(), stop.general[RBX]),
            (Stop::at(6), cr4 | 1 << bit),
        );
        equal(
            format_args!("CR4.{name} cleared"),
            write_cr4(cr4).general[RBX],
            cr4,
        );
    }
    // Each bit alone, and CR4.PAE: the guest `reserved`.
    own(
        "CR4's bit 13 is refused at the instruction",
        || {
            (
                write_cr4(cr4 | 1 << 13).fault(),
                write_cr4(cr4 | 1 << 13).offset,
            )
        },
        (PROTECTION, 0),
    );
    own(
        "CR4 stays as it was",
        || Run::new(code!("mov rax, cr4")).go().general[RAX],
        cr4,
    );

    let cr3 = Run::new(code!("mov rax, cr3", "mov cr3, rax", "mov rbx, cr3")).go();
    equal("CR3 is kept", cr3.general[RBX], cr3.general[RAX]);
    let cr2 = Run::new(code!("mov cr2, rax", "mov rbx, cr2"))
        .with(RAX, 0x1234_5678_9abc)
        .go();
    equal("CR2 is kept", cr2.general[RBX], 0x1234_5678_9abc);
    let debug = Run::new(code!("mov dr0, rax", "mov rbx, dr0"))
        .with(RAX, 0x1234_5678)
        .go();
    equal("DR0 is kept", debug.general[RBX], 0x1234_5678);
    let invlpg = Run::new(code!("invlpg [rax]")).with(RAX, 0x20_0000).go();
    equal("INVLPG", invlpg.place(), Stop::at(3));
}

fn extended_control() {
    section("xsetbv");
    let xsetbv = |index, value| {
        Run::new(code!("xsetbv"))
            .with(RCX, index)
            .with(RAX, value)
            .go()
    };
    equal(
        "without OSXSAVE it is undefined",
        xsetbv(0, 3).fault(),
        UNDEFINED,
    );
    let cr4 = Run::new(code!("mov rax, cr4", "or rax, rdx", "mov cr4, rax"))
        .with(RDX, 1 << 18)
        .go();
    equal("OSXSAVE is set", cr4.vector, 3);
    for states in [1, 3, 7] {
        let stop = xsetbv(0, states);
        let read = Run::new(code!("xgetbv")).go();
        equal(
            format_args!("XCR0 = {states}"),
            (stop.place(), read.general[RAX]),
            (Stop::at(3), states),
        );
    }
    equal(
        "without x87",
        (xsetbv(0, 2).fault(), xsetbv(0, 2).offset),
        (PROTECTION, 0),
    );
    equal(
        "bits that are no states",
        xsetbv(0, 1 << 40 | 3).place(),
        Stop::at(3),
    );
    equal("another register", xsetbv(1, 3).fault(), PROTECTION);
    equal("AVX without SSE", xsetbv(0, 5).fault(), PROTECTION);
    equal(
        "OSXSAVE in CPUID",
        Run::new(code!("cpuid")).with(RAX, 1).go().general[RCX] >> 27 & 1,
        1,
    );
}

fn caches() {
    section("caches");
    equal("invd", Run::new(code!("invd")).go().place(), Stop::at(2));
    equal(
        "wbinvd",
        Run::new(code!("wbinvd")).go().place(),
        Stop::at(2),
    );
    equal("pause", Run::new(code!("pause")).go().place(), Stop::at(2));
    memory::store(ICR_HIGH, 0x7700_0000);
    equal(
        "device memory is not cached",
        (
            Run::new(code!("wbinvd")).go().vector,
            memory::load(ICR_HIGH),
        ),
        (3, 0x7700_0000),
    );
}

fn absent() {
    section("absent instructions");
    for (name, code) in [
        ("vmrun", code!("vmrun rax")),
        ("vmload", code!("vmload rax")),
        ("vmsave", code!("vmsave rax")),
        ("stgi", code!("stgi")),
        ("clgi", code!("clgi")),
        ("invlpga", code!("invlpga rax, ecx")),
        ("skinit", code!("skinit eax")),
        ("rsm", code!("rsm")),
        ("ud2", code!("ud2")),
    ] {
        let stop = Run::new(code).go();
        equal(
            format_args!("{name} is undefined"),
            (stop.fault(), stop.offset),
            (UNDEFINED, 0),
        );
    }
    let there = "QEMU has it, whatever CPUID says";
    deviation(
        "monitor is undefined",
        there,
        Run::new(code!("monitor")).with(RAX, 0x20_0000).go().fault(),
        UNDEFINED,
    );
    unasked(
        "mwait is undefined",
        there,
        || Run::new(code!("mwait")).go().fault(),
        UNDEFINED,
    );
    deviation(
        "rdpmc without counters",
        "QEMU has no rdpmc",
        Run::new(code!("rdpmc")).go().fault(),
        PROTECTION,
    );
}

fn hypercall() {
    section("hypercall");
    let call = || {
        Run::new(code!("vmmcall"))
            .with(RAX, 0xdead)
            .with(RBX, 1)
            .go()
    };
    own(
        "an unknown one is refused by -1000",
        || (call().place(), call().general[RAX]),
        (Stop::at(3), (-1000_i64) as u64),
    );
    own(
        "nothing else changes",
        || (call().general[RBX], call().general[RCX]),
        (1, 0),
    );
    equal(
        "without a hypervisor it is undefined",
        on_atoll() || call().fault() == UNDEFINED,
        true,
    );
}
