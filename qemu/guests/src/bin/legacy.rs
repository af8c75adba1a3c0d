//! Legacy protected mode, with page tables of 32 bits and with PAE: exits whose instructions and operands the hypervisor finds through
//! those tables.
#![no_std]
#![no_main]

use atoll_guests::apic;
use atoll_guests::check::{equal, section, shown};
use atoll_guests::legacy::{ALIAS, Found, Paging, run};

atoll_guests::guest!(main);

/// EFER: long mode enabled, and active.
const LONG: u32 = 0x500;
/// Page table entry: accessed and dirty, writable, present.
const USED: u64 = 0x63;

fn main() {
    apic::start();
    section("32 bits");
    both(Paging::Bits32);
    section("pae");
    both(Paging::Pae);
    atoll_guests::check::end();
}

/// In small pages, and in a large one.
fn both(paging: Paging) {
    for distance in [0, ALIAS] {
        let (found, leaf) = run(paging, distance);
        let Found {
            vendor,
            prefixed,
            efer,
            port,
            loaded,
            added,
            edi,
            bytes,
            ..
        } = found;
        equal("it ran there", found.distance, distance);
        shown("vendor", vendor);
        equal("prefixed cpuid", prefixed, vendor[0]);
        equal("long mode", efer & LONG, 0);
        equal("in", port, 0x5c);
        equal(
            "a store, and a load through the window",
            loaded,
            0x1122_3344,
        );
        equal("an addition through the window", added, 0x1122_3345);
        equal(
            "rep insb",
            (edi, bytes & 0xff_ffff),
            (0x5000_1003, 0x5c_5c5c),
        );
        equal("its page is accessed and dirty", leaf & 0xfff, USED);
    }
}
