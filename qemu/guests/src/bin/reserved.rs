//! Every bit of CR0, CR3, CR4, CR8, EFER and XCR0 alone, in 64-bit mode: what the manual reserves is #GP, and changes nothing
//! (APM vol. 2 §3.1, §11.5.2; vol. 3 MOV CRn); and the steps between modes that are none.
#![no_std]
#![no_main]

use core::arch::x86_64::__cpuid;

use atoll_guests::check::{deviation, equal, left, section, unasked};
use atoll_guests::code;
use atoll_guests::run::Run;
use atoll_guests::run::register::{RAX, RBX, RCX, RDX};
use atoll_guests::system::{DONE, EFER, PROTECTION, Register, read_msr, write_msr};

atoll_guests::guest!(main);

const PE: u64 = 1;
const ET: u64 = 1 << 4;
const NW: u64 = 1 << 29;
const CD: u64 = 1 << 30;
const PG: u64 = 1 << 31;
const PCIDE: u64 = 1 << 17;
/// MP, EM, TS, NE, WP, AM, CD: CR0's bits that can be changed alone.
const FREE: u64 = 0x4005_002e;

fn main() {
    cr0();
    cr3();
    cr4();
    cr8();
    efer();
    addresses();
    xcr0();
    atoll_guests::check::end();
}

/// Those of `bits` for which `refused` says so.
fn those(bits: impl Iterator<Item = u64>, mut refused: impl FnMut(u64) -> bool) -> u64 {
    bits.filter(|bit| refused(*bit))
        .fold(0, |all, bit| all | 1 << bit)
}

/// Writes CR0 and puts it back: the exception, and what was read between.
fn try_cr0(value: u64) -> (u64, u64) {
    let held = Register::Cr0.get();
    let stop = Run::new(code!("mov cr0, rax", "mov rbx, cr0", "mov cr0, rcx"))
        .with(RAX, value)
        .with(RCX, held)
        .go();
    let _ = Register::Cr0.set(held);
    (u64::from(stop.vector), stop.general[RBX])
}

fn cr0() {
    section("cr0");
    let held = Register::Cr0.get();
    for bit in (0..32).filter(|bit| FREE >> bit & 1 != 0) {
        equal(
            format_args!("bit {bit}"),
            try_cr0(held ^ 1 << bit),
            (3, held ^ 1 << bit),
        );
    }
    equal("ET stays set", try_cr0(held & !ET), (3, held));
    equal("NW with CD", try_cr0(held | NW | CD), (3, held | NW | CD));
    deviation(
        "CR0.NW without CD",
        "it is kept",
        try_cr0(held | NW),
        (13, 0),
    );
    let reserved = || (6..29).filter(|bit| ![16, 18].contains(bit));
    let ignored = those(reserved(), |bit| try_cr0(held | 1 << bit).0 == 3);
    equal(
        "reserved bits are ignored",
        ignored,
        those(reserved(), |_| true),
    );
    let kept = those(reserved(), |bit| try_cr0(held | 1 << bit).1 & 1 << bit != 0);
    deviation(
        "CR0's reserved bits that do not read as 0",
        "they are kept",
        kept,
        0,
    );
    let refused = those(32..64, |bit| {
        (Register::Cr0.set(held | 1 << bit), Register::Cr0.get()) == (PROTECTION, held)
    });
    deviation(
        "CR0's bits that are #GP",
        "bits 32 to 63 are ignored",
        refused,
        0xffff_ffff << 32,
    );
    let refused = |value: u64| Register::Cr0.set(value);
    unasked(
        "CR0.PE cleared while paging",
        "the guest goes astray",
        || refused(held & !PE),
        PROTECTION,
    );
    unasked(
        "CR0.PG cleared in 64-bit mode",
        "the guest goes astray",
        || refused(held & !PG),
        PROTECTION,
    );
    unasked(
        "CR0.PG and PE cleared",
        "the guest goes astray",
        || refused(held & !(PG | PE)),
        PROTECTION,
    );
    equal("CR0 is as it was", Register::Cr0.get(), held);
}

fn cr3() {
    section("cr3");
    let held = Register::Cr3.get();
    let width = u64::from(__cpuid(0x8000_0008).eax & 0xff);
    for bit in (0..12).filter(|bit| ![3, 4].contains(bit)) {
        equal(
            format_args!("low bit {bit} is ignored"),
            Register::Cr3.set(held | 1 << bit),
            DONE,
        );
        let _ = Register::Cr3.set(held);
    }
    for bit in [3, 4] {
        equal(
            format_args!("cache control bit {bit}"),
            (Register::Cr3.set(held | 1 << bit), Register::Cr3.get()),
            (DONE, held | 1 << bit),
        );
        let _ = Register::Cr3.set(held);
    }
    unasked(
        "CR3's bits above the physical address's that are #GP",
        "QEMU makes a #VMEXIT of nobody's of it",
        || {
            those(width..64, |bit| {
                (Register::Cr3.set(held | 1 << bit), Register::Cr3.get()) == (PROTECTION, held)
            })
        },
        u64::MAX << width,
    );
}

fn cr4() {
    section("cr4");
    let held = Register::Cr4.get();
    let offered = offered_cr4();
    let attempt = |bit: u64| {
        let done = Register::Cr4.set(held ^ 1 << bit);
        let read = Register::Cr4.get();
        let _ = Register::Cr4.set(held);
        (done, read)
    };
    for bit in (0..64).filter(|bit| !matches!(bit, 0 | 1 | 5 | 6) && offered >> bit & 1 != 0) {
        equal(
            format_args!("bit {bit}"),
            attempt(bit),
            (DONE, held ^ 1 << bit),
        );
    }
    unasked(
        "CR4.PAE cleared in long mode",
        "the guest goes astray",
        || attempt(5),
        (PROTECTION, held),
    );
    let absent = || (0..64).filter(|bit| !matches!(bit, 0 | 1 | 5 | 6));
    unasked(
        "CR4's bits that are #GP: those that CPUID does not offer",
        "QEMU makes a #VMEXIT of nobody's of it, or offers it",
        || those(absent(), |bit| attempt(bit) == (PROTECTION, held)),
        those(absent(), |bit| offered >> bit & 1 == 0),
    );
    // VME, PVI and MCE.
    let taken = those([0, 1, 6].into_iter(), |bit| attempt(bit).0 == DONE);
    left(
        "CR4's VME, PVI and MCE where CPUID does not offer them",
        "they are taken",
        taken,
        offered & 0x43,
    );
    // The lowest 12 bits of CR3 must be 0 for PCIDE to be set.
    if offered & PCIDE != 0 {
        let cr3 = Register::Cr3.get();
        let _ = Register::Cr3.set(cr3 | 8);
        deviation(
            "CR4.PCIDE set while CR3's low bits are not 0",
            "it is set",
            Register::Cr4.set(held | PCIDE),
            PROTECTION,
        );
        let _ = Register::Cr4.set(held);
        let _ = Register::Cr3.set(cr3);
    }
    equal("CR4 is as it was", Register::Cr4.get(), held);
}

/// The bits of CR4 for which CPUID says that there is what they switch, on Atoll: those of both machines.
fn offered_cr4() -> u64 {
    let (features, extended) = (__cpuid(1), __cpuid(7));
    let bit =
        |register: u32, bit: u32, places: u64| if register >> bit & 1 != 0 { places } else { 0 };
    // VME gives VME and PVI; TSD goes with TSC, and PCE with the counters' instruction, which everything has.
    bit(features.edx, 1, 3)
        | 1 << 2
        | bit(features.edx, 2, 1 << 3)
        | bit(features.edx, 3, 1 << 4)
        | bit(features.edx, 6, 1 << 5)
        | bit(features.edx, 7, 1 << 6)
        | bit(features.edx, 13, 1 << 7)
        | 1 << 8
        | bit(extended.ecx, 2, 1 << 11)
        | bit(features.edx, 24, 1 << 9)
        | bit(features.edx, 25, 1 << 10)
        | bit(extended.ebx, 0, 1 << 16)
        | bit(features.ecx, 26, 1 << 18)
        | bit(extended.ebx, 7, 1 << 20)
        | bit(extended.ebx, 20, 1 << 21)
}

fn cr8() {
    section("cr8");
    for bit in 0..4 {
        equal(
            format_args!("bit {bit}"),
            (Register::Cr8.set(1 << bit), Register::Cr8.get()),
            (DONE, 1 << bit),
        );
    }
    let _ = Register::Cr8.set(0);
    let refused = those(4..64, |bit| {
        let done = Register::Cr8.set(1 << bit);
        let read = Register::Cr8.get();
        let _ = Register::Cr8.set(0);
        (done, read) == (PROTECTION, 0)
    });
    deviation(
        "CR8's bits that are #GP",
        "reserved bits are ignored",
        refused,
        u64::MAX << 4,
    );
}

fn efer() {
    section("efer");
    let held = read_msr(EFER);
    let attempt = |bit: u64| {
        let done = write_msr(EFER, held ^ 1 << bit);
        let read = read_msr(EFER);
        let _ = write_msr(EFER, held);
        (done, read)
    };
    for bit in [0, 11] {
        equal(
            format_args!("bit {bit}"),
            attempt(bit),
            (DONE, held ^ 1 << bit),
        );
    }
    // The manual leaves open what a write of LMA does; QEMU and Atoll ignore it.
    equal(
        "LMA is not the program's to change",
        attempt(10),
        (DONE, held),
    );
    unasked(
        "EFER.LME changed while paging",
        "it is changed",
        || attempt(8),
        (PROTECTION, held),
    );
    let others = || (0..64).filter(|bit| ![0, 8, 10, 11].contains(bit));
    deviation(
        "EFER's bits that are #GP: those that CPUID does not offer",
        "QEMU offers SVME and FFXSR, and ignores what is reserved",
        those(others(), |bit| attempt(bit) == (PROTECTION, held)),
        those(others(), |_| true),
    );
    equal("EFER is as it was", read_msr(EFER), held);
}

/// Registers that take addresses (APM vol. 3, WRMSR): Atoll passes them through, since Linux writes some at every switch of threads.
fn addresses() {
    section("addresses");
    for (index, name) in [
        (0xc000_0100, "FS.base"),
        (0xc000_0101, "GS.base"),
        (0xc000_0102, "KernelGSBase"),
        (0xc000_0082, "LSTAR"),
        (0xc000_0083, "CSTAR"),
    ] {
        equal(
            format_args!("{name} takes an address"),
            (write_msr(index, 0x1000), read_msr(index)),
            (DONE, 0x1000),
        );
        left(
            format_args!("{name} written with what is no address"),
            "it is taken; and VMLOAD makes an address of it",
            (write_msr(index, 1 << 63 | 0x1000), read_msr(index)),
            (PROTECTION, 0x1000),
        );
        let _ = write_msr(index, 0);
    }
}

fn xcr0() {
    section("xcr0");
    let cr4 = Register::Cr4.get();
    let _ = Register::Cr4.set(cr4 | 1 << 18);
    let xsetbv = |index: u64, value: u64| {
        Run::new(code!("xsetbv"))
            .with(RCX, index)
            .with(RAX, value & 0xffff_ffff)
            .with(RDX, value >> 32)
            .go()
            .fault()
    };
    let read = || Run::new(code!("xgetbv")).go().general[RAX];
    for (value, want) in [
        (1, DONE),
        (2, PROTECTION),
        (3, DONE),
        (0, PROTECTION),
        (7, DONE),
    ] {
        equal(format_args!("XCR0 = {value}"), xsetbv(0, value), want);
    }
    let _ = xsetbv(0, 3);
    let refused = those(3..64, |bit| {
        let done = xsetbv(0, 3 | 1 << bit);
        let got = read();
        let _ = xsetbv(0, 3);
        (done, got) == (PROTECTION, 3)
    });
    left(
        "XCR0's bits that are #GP alone",
        "the CPU has protection keys, and they are not hidden here",
        refused,
        u64::MAX << 3,
    );
    for index in [1, 2, 0xffff_ffff] {
        equal(
            format_args!("register {index:x}"),
            xsetbv(index, 3),
            PROTECTION,
        );
    }
    let _ = Register::Cr4.set(cr4);
}
