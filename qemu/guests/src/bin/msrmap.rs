//! RDMSR and WRMSR with bits in the upper half of RCX, which a processor ignores. QEMU's TCG takes two of them for a part of the address in
//! the permission map: where that leads past the map, the guest is at the host's own MSRs.
#![no_std]
#![no_main]

use atoll_guests::check::{equal, own, section};
use atoll_guests::run::register::{RAX, RCX, RDX};
use atoll_guests::run::{Run, Stop};
use atoll_guests::{apic, code, traps};

atoll_guests::guest!(main);

const VECTOR: u8 = 0x61;
const APIC_BASE: u64 = 0x1b;
const MTRR_DEF_TYPE: u64 = 0x2ff;
/// Upper halves of RCX.
const UPPER: [u64; 6] = [
    1 << 32,
    2 << 32,
    3 << 32,
    4 << 32,
    0x8000_0001 << 32,
    0xffff_ffff << 32,
];
/// MSRs of the permission map's first range, with two values: those that exit, and the three that do not.
const KEPT: [(u64, [u64; 2]); 5] = [
    (0x174, [0x10, 0x18]),
    (0x175, [0xffff_8000_1234_5678, 0x1000]),
    (0x176, [0xffff_8000_8765_4321, 0x2000]),
    (0x277, [0x0007_0106_0007_0406, 0x0007_0406_0007_0406]),
    (MTRR_DEF_TYPE, [0xc06, 0xc00]),
];

fn read(rcx: u64) -> (Stop, u64) {
    let stop = Run::new(code!("rdmsr")).with(RCX, rcx).go();
    (
        stop,
        stop.general[RDX] << 32 | stop.general[RAX] & 0xffff_ffff,
    )
}

fn write(rcx: u64, value: u64) -> Stop {
    Run::new(code!("wrmsr"))
        .with(RCX, rcx)
        .with(RAX, value)
        .with(RDX, value >> 32)
        .go()
}

fn main() {
    apic::start();
    same();
    unknown();
    base();
    atoll_guests::check::end();
}

fn same() {
    section("same");
    for upper in UPPER {
        for (msr, values) in KEPT {
            for value in values {
                equal(
                    format_args!("{msr:x} is written by {upper:x}"),
                    write(upper | msr, value).place(),
                    Stop::at(2),
                );
                equal(
                    format_args!("{msr:x} is what was written by {upper:x}"),
                    read(msr).1,
                    value,
                );
            }
            let first = values[0];
            equal(
                format_args!("{msr:x} is written"),
                write(msr, first).place(),
                Stop::at(2),
            );
            equal(
                format_args!("{msr:x} is read by {upper:x}"),
                read(upper | msr).1,
                first,
            );
        }
        equal(
            format_args!("1b is read by {upper:x}"),
            read(upper | APIC_BASE).1,
            read(APIC_BASE).1,
        );
    }
}

fn unknown() {
    section("unknown");
    for upper in UPPER {
        // QEMU reads it as 0.
        own(
            format_args!("there is no 1234 by {upper:x}"),
            || read(upper | 0x1234).0.fault(),
            (13, 0),
        );
        own(
            format_args!("none is written by {upper:x}"),
            || write(upper | 0x1234, 0).fault(),
            (13, 0),
        );
    }
}

/// The interrupt controller that is switched off is the guest's.
fn base() {
    section("apic base");
    traps::on(VECTOR, |_| apic::end());
    let base = read(APIC_BASE).1;
    for upper in UPPER {
        // QEMU never switches it on again.
        own(
            format_args!("it is off by {upper:x}"),
            || {
                (
                    write(upper | APIC_BASE, base & !0x800).place(),
                    read(APIC_BASE).1,
                )
            },
            (Stop::at(2), base & !0x800),
        );
        own(
            format_args!("it is on by {upper:x}"),
            || (write(upper | APIC_BASE, base).place(), read(APIC_BASE).1),
            (Stop::at(2), base),
        );
        apic::start();
        traps::clear();
        apic::one_shot(VECTOR, 20_000);
        let _ = Run::new(code!("sti", "hlt", "cli")).go();
        equal(
            format_args!("the timer fires after {upper:x}"),
            traps::count(),
            1,
        );
    }
}
