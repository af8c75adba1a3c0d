//! Debug registers (APM vol. 2 §13.1): they are the guest's, whatever it puts there. On a QEMU whose breakpoints outlive #VMEXIT they have
//! reached the hypervisor and its servers; the sweeps put them at every place there.
#![no_std]
#![no_main]

use core::arch::x86_64::__cpuid;

use atoll_guests::alone::Alone;
use atoll_guests::apic::{self, ICR_HIGH};
use atoll_guests::check::{deviation, equal, left, section};
use atoll_guests::memory::{load, load64, store64};
use atoll_guests::paging::Page;
use atoll_guests::run::register::{R9, RAX, RBX, RCX, RDI, RDX};
use atoll_guests::run::{Code, RF, Run, Stop};
use atoll_guests::system::{DONE, PROTECTION, Register, UNDEFINED};
use atoll_guests::traps::{self, Frame};
use atoll_guests::{code, parameters, println};

atoll_guests::guest!(main);

const DEBUG: u8 = 1;
/// DR6 with nothing in it.
const NOTHING: u64 = 0xffff_0ff0;
/// DR7 with nothing enabled.
const OFF: u64 = 0x400;
/// DR7: all four local enables.
const ALL: u64 = 0x55;
/// DR7: all four are data breakpoints for stores of 8 bytes, and for loads and stores.
const STORES: u64 = 0x9999_0000;
const ACCESSES: u64 = 0xbbbb_0000;

/// What the handler saw of the last #DB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    count: u64,
    rip: u64,
    status: u64,
    resumes: bool,
}

static SEEN: Alone<Seen> = Alone::new(Seen {
    count: 0,
    rip: 0,
    status: 0,
    resumes: false,
});
/// In a page of its own: QEMU looks at every access to a page with a data breakpoint.
static CELL: Alone<Page> = Alone::new(Page::ZERO);

fn main() {
    apic::start();
    registers();
    instructions();
    data();
    conditions();
    sweeps();
    atoll_guests::check::end();
}

fn handler(frame: &mut Frame) {
    let status: u64;
    // SAFETY: DR6 is only read.
    unsafe { core::arch::asm!("mov {}, dr6", out(reg) status) };
    // SAFETY: as below.
    let count = unsafe { SEEN.get().read_volatile() }.count + 1;
    let seen = Seen {
        count,
        rip: frame.rip,
        status,
        resumes: frame.rflags & RF != 0,
    };
    // SAFETY: handlers do not interrupt each other here.
    unsafe { SEEN.get().write_volatile(seen) };
    frame.rflags |= RF;
}

/// Runs `code` with the breakpoints; how often #DB came, where, and DR6.
fn broken(
    code: Code,
    addresses: [u64; 4],
    control: u64,
    prepare: impl FnOnce(Run) -> Run,
) -> (Stop, Seen) {
    // SAFETY: no handler runs.
    unsafe {
        SEEN.get().write_volatile(Seen {
            count: 0,
            rip: code.0,
            status: 0,
            resumes: false,
        })
    };
    traps::on(DEBUG, handler);
    arm(addresses, control);
    let stop = prepare(Run::new(code)).go();
    let _ = Register::Dr7.set(OFF);
    traps::forget(DEBUG);
    // SAFETY: as above.
    let mut seen = unsafe { SEEN.get().read_volatile() };
    seen.rip = seen.rip.wrapping_sub(code.0);
    (stop, seen)
}

/// Sets the registers, DR7 last.
fn arm(addresses: [u64; 4], control: u64) {
    let _ = Register::Dr7.set(OFF);
    let _ = Register::Dr6.set(NOTHING);
    for (register, address) in Register::ADDRESSES.into_iter().zip(addresses) {
        let _ = register.set(address);
    }
    let _ = Register::Dr7.set(control);
}

fn registers() {
    section("registers");
    equal("DR6 after reset", Register::Dr6.get(), NOTHING);
    equal("DR7 after reset", Register::Dr7.get(), OFF);
    for register in Register::ADDRESSES {
        for value in [
            0,
            1,
            0x1234_5678,
            0xffff_ffff_8010_0000,
            0x7fff_ffff_ffff,
            u64::MAX,
            1 << 63,
        ] {
            let written = register.set(value);
            equal(
                format_args!("{register:?} keeps what is written"),
                (written, register.get()),
                (DONE, value),
            );
        }
        let _ = register.set(0);
    }
    for (value, want) in [
        (0, NOTHING),
        (0xf, NOTHING | 0xf),
        (0xe00f, NOTHING | 0xe00f),
    ] {
        let written = Register::Dr6.set(value);
        equal(
            format_args!("DR6 written with {value:x}"),
            (written, Register::Dr6.get()),
            (DONE, want),
        );
    }
    let written = Register::Dr6.set(0xffff_ffff);
    left(
        "DR6's bit 12 reads as 0",
        "bit 12 is kept",
        (written, Register::Dr6.get() & 1 << 12),
        (DONE, 0),
    );
    for (value, want) in [
        (0, OFF),
        (0x700, 0x700),
        (0xffff_0300, 0xffff_0700),
        (0xf00, OFF | 0x300),
    ] {
        let written = Register::Dr7.set(value);
        equal(format_args!("DR7 written with {value:x}"), written, DONE);
        let got = Register::Dr7.get();
        if value & 0x800 == 0 {
            equal(format_args!("DR7 read behind {value:x}"), got, want);
        } else {
            deviation(
                format_args!("DR7 read behind {value:x}"),
                "bit 11 is kept",
                got,
                want,
            );
        }
        let _ = Register::Dr7.set(OFF);
    }
    for (register, value) in [
        (Register::Dr6, 1 << 32),
        (Register::Dr7, 1 << 32 | OFF),
        (Register::Dr7, 1 << 63),
    ] {
        equal(
            format_args!("{register:?} written with {value:x}"),
            register.set(value),
            PROTECTION,
        );
    }
    let _ = Register::Dr6.set(NOTHING);
    let _ = Register::Dr7.set(OFF);
    let cr4 = Register::Cr4.get();
    let _ = Register::Dr6.set(NOTHING | 2);
    equal(
        "DR4 is DR6 without CR4.DE",
        Register::Dr4.get(),
        NOTHING | 2,
    );
    equal("DR5 is DR7 without CR4.DE", Register::Dr5.get(), OFF);
    equal(
        "DR4 written without CR4.DE",
        (Register::Dr4.set(NOTHING | 4), Register::Dr6.get()),
        (DONE, NOTHING | 4),
    );
    equal(
        "DR5 written without CR4.DE",
        (Register::Dr5.set(OFF | 0x100), Register::Dr7.get()),
        (DONE, OFF | 0x100),
    );
    let _ = Register::Cr4.set(cr4 | 1 << 3);
    for register in [Register::Dr4, Register::Dr5] {
        equal(
            format_args!("{register:?} read with CR4.DE"),
            Run::new(register.loads()).go().fault(),
            UNDEFINED,
        );
        equal(
            format_args!("{register:?} written with CR4.DE"),
            register.set(0),
            UNDEFINED,
        );
    }
    let _ = Register::Cr4.set(cr4);
    let _ = Register::Dr6.set(NOTHING);
    let _ = Register::Dr7.set(OFF);
}

fn instructions() {
    section("instruction breakpoints");
    let sled = code!("nop", "nop", "nop", "nop", "nop");
    for (number, bit) in [(0, 1), (1, 4), (2, 0x10), (3, 0x40)] {
        let mut addresses = [0; 4];
        addresses[number] = sled.0 + 2;
        let (stop, seen) = broken(sled, addresses, OFF | bit, |run| run);
        equal(
            format_args!("DR{number}"),
            (stop.place(), seen.count, seen.rip, seen.status),
            (Stop::at(5), 1, 2, NOTHING | 1 << number),
        );
        let (stop, seen) = broken(sled, addresses, OFF | bit << 1, |run| run);
        equal(
            format_args!("DR{number} by the global enable"),
            (stop.place(), seen.count, seen.rip),
            (Stop::at(5), 1, 2),
        );
        let (stop, seen) = broken(sled, addresses, OFF, |run| run);
        equal(
            format_args!("DR{number} not enabled"),
            (stop.place(), seen.count),
            (Stop::at(5), 0),
        );
    }
    let (stop, seen) = broken(
        sled,
        [sled.0, sled.0 + 1, sled.0 + 2, sled.0 + 3],
        OFF | ALL,
        |run| run,
    );
    // Whether the bits of those before stay set is the CPU's.
    equal(
        "all four",
        (stop.place(), seen.count, seen.rip, seen.status & 8),
        (Stop::at(5), 4, 3, 8),
    );
    let (stop, seen) = broken(sled, [sled.0 + 1; 4], OFF | ALL, |run| run);
    equal(
        "all four at one place",
        (stop.place(), seen.count, seen.rip, seen.status & 0xf),
        (Stop::at(5), 1, 1, 0xf),
    );
    let (stop, seen) = broken(sled, [sled.0 + 2, 0, 0, 0], OFF | 1, |run| run.flags(RF));
    equal(
        "RF is spent by the first instruction",
        (stop.place(), seen.count, seen.rip),
        (Stop::at(5), 1, 2),
    );
    let (stop, seen) = broken(sled, [sled.0, 0, 0, 0], OFF | 1, |run| run.flags(RF));
    equal(
        "RF passes the breakpoint by",
        (stop.place(), seen.count),
        (Stop::at(5), 0),
    );
    let (_, seen) = broken(sled, [sled.0 + 2, 0, 0, 0], OFF | 1, |run| run);
    left(
        "RF in the frame of an instruction breakpoint",
        "RF is not set",
        seen.resumes,
        true,
    );

    // Where the instruction exits, the breakpoint comes first, and once.
    let (stop, seen) = broken(code!("nop", "cpuid", "nop"), [0; 4], OFF, |run| run);
    equal(
        "cpuid without",
        (stop.place(), seen.count),
        (Stop::at(4), 0),
    );
    for (name, code, length) in [
        ("cpuid", code!("nop", "cpuid", "nop"), 4),
        ("rdmsr", code!("nop", "rdmsr", "nop"), 4),
        ("in", code!("nop", "in al, dx", "nop"), 3),
        ("out", code!("nop", "out dx, al", "nop"), 3),
        (
            "a load from a device",
            code!("nop", "mov eax, [rdi]", "nop"),
            4,
        ),
        (
            "a change of a device",
            code!("nop", "add [rdi], ebx", "nop"),
            4,
        ),
        ("mov cr8", code!("nop", "mov cr8, rbx", "nop"), 6),
        ("mov cr4", code!("nop", "mov cr4, r9", "nop"), 6),
        ("mov from dr7", code!("nop", "mov rax, dr7", "nop"), 5),
    ] {
        let cr4 = Register::Cr4.get();
        let prepare = |run: Run| {
            run.with(RCX, 0xc000_0080)
                .with(RDX, 0x3ff)
                .with(RDI, ICR_HIGH)
                .with(RBX, 0)
                .with(R9, cr4)
        };
        let (stop, seen) = broken(code, [code.0 + 1, 0, 0, 0], OFF | 1, prepare);
        equal(
            format_args!("{name}: before it"),
            (stop.place(), seen.count, seen.rip),
            (Stop::at(length), 1, 1),
        );
        let (stop, seen) = broken(code, [code.0 + length - 1, 0, 0, 0], OFF | 1, prepare);
        equal(
            format_args!("{name}: behind it"),
            (stop.place(), seen.count, seen.rip),
            (Stop::at(length), 1, length - 1),
        );
    }
    // A fault of the instruction itself comes behind its breakpoint, and is not preceded by it again.
    let unknown = code!("nop", "rdmsr", "nop");
    let (stop, seen) = broken(unknown, [unknown.0 + 1, 0, 0, 0], OFF | 1, |run| {
        run.with(RCX, 0x1234)
    });
    deviation(
        "an instruction breakpoint on an rdmsr that is refused",
        "unknown registers read as 0",
        (stop.vector, stop.offset, seen.count, seen.rip),
        (13, 1, 1, 1),
    );
}

fn data() {
    section("data breakpoints");
    let cell = CELL.get().addr() as u64;
    let store = code!("mov [rdi], rax", "nop");
    let read = code!("mov rax, [rdi]", "nop");
    for (name, code, at, control, count) in [
        ("a store", store, cell, STORES, 1),
        ("a load where only stores count", read, cell, STORES, 0),
        ("a load", read, cell, ACCESSES, 1),
        ("a store beside it", store, cell + 8, ACCESSES, 0),
    ] {
        let (stop, seen) = broken(code, [cell, 0, 0, 0], OFF | 1 | control & 0xf_0000, |run| {
            run.with(RDI, at).with(RAX, 7)
        });
        let got = (stop.place(), seen.count, seen.rip, seen.status & 1);
        left(
            name,
            "Atoll keeps breakpoints on data and arms none: TCG's outlive #VMEXIT",
            got,
            (Stop::at(4), count, 3 * count, count),
        );
    }
    store64(cell, 0);
    equal("memory is as it was left", load64(cell), 0);
}

fn conditions() {
    section("debug conditions");
    let code = code!("nop", ".byte 0xf1", "nop");
    let (stop, seen) = broken(code, [0; 4], OFF, |run| run);
    left(
        "ICEBP is #DB behind it",
        "it is undefined",
        (stop.place(), seen.count, seen.rip),
        (Stop::at(3), 1, 2),
    );
    let (stop, seen) = broken(code!("mov rax, dr0", "nop"), [0; 4], OFF | 1 << 13, |run| {
        run
    });
    deviation(
        "DR7.GD: any access to a debug register is #DB before it, with DR6.BD",
        "GD is ignored",
        (stop.vector, seen.count, seen.rip, seen.status & 1 << 13),
        (3, 1, 0, 1 << 13),
    );
    let _ = Register::Dr7.set(OFF);
}

/// All places of the hypervisor where a breakpoint could hit, with exits of several kinds between.
fn sweeps() {
    section("sweeps");
    let stride = parameters::number("stride", 61);
    let first = parameters::number("from", 0xffff_ffff_8010_0000);
    let last = parameters::number("to", 0xffff_ffff_8014_0000);
    let exact = parameters::number("behind", first);
    sweep("behind VMRUN", exact, exact + 16, 1, 0);
    sweep("the kernel's instructions", first, last, stride, 0);
    sweep("the servers' entries", 0x40_0000, 0x40_0010, 1, 0);
    sweep("the servers' instructions", 0x40_0000, 0x41_0000, stride, 0);
    sweep(
        "the kernel's image, as data",
        first,
        first + 0x20_0000,
        (stride * 64) & !7,
        ACCESSES,
    );
    sweep(
        "the messages, as data",
        0x7000_0000,
        0x7000_2000,
        64,
        ACCESSES,
    );
    sweep(
        "the host's local APIC, as data",
        0xffff_8000_fee0_0000,
        0xffff_8000_fee0_0400,
        16,
        ACCESSES,
    );
}

fn sweep(name: &str, from: u64, to: u64, stride: u64, kind: u64) {
    let mut at = from;
    while at < to {
        arm(
            [at, at + stride, at + 2 * stride, at + 3 * stride],
            OFF | ALL | kind,
        );
        let _ = __cpuid(0);
        let _ = apic::inb(0x3ff);
        let _ = load(ICR_HIGH);
        at += 4 * stride;
    }
    let _ = Register::Dr7.set(OFF);
    println!("ok survived a sweep over {name}");
}
