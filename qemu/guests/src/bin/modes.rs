//! The walk through the modes: in each of them a battery of instructions of every kind that exits, with every bit of CR0, CR4 and EFER that
//! the mode leaves free toggled alone, and every pair; and what each mode refuses. A line is a digest; `mode=` and `detail=1` show all of it.
#![no_std]
#![no_main]

use atoll_guests::check::{equal, own, section, unasked};
use atoll_guests::modes::{HYPERCALL, LME, Mode, PAE, RESULTS, Result, Toggles, Walk, Way};
use atoll_guests::{apic, parameters, println};

atoll_guests::guest!(main);

/// No exception.
const NONE: u32 = 0xff;
const PROTECTION: u32 = 13;
const PE: u32 = 1;
const PG: u32 = 1 << 31;
const NW: u32 = 1 << 29;
const SVME: u32 = 1 << 12;

/// One bit (or, for NW, the two that go together) to toggle.
#[derive(Clone, Copy)]
struct Toggle {
    name: &'static str,
    toggles: Toggles,
    /// Only without paging, or only in long mode.
    only: fn(Mode) -> bool,
}

const fn cr0(name: &'static str, bits: u32) -> Toggle {
    Toggle {
        name,
        toggles: Toggles {
            efer: 0,
            cr4: 0,
            cr0: bits,
        },
        only: |_| true,
    }
}

const fn cr4(name: &'static str, bit: u32) -> Toggle {
    Toggle {
        name,
        toggles: Toggles {
            efer: 0,
            cr4: 1 << bit,
            cr0: 0,
        },
        only: |_| true,
    }
}

const fn efer(name: &'static str, bit: u32) -> Toggle {
    Toggle {
        name,
        toggles: Toggles {
            efer: 1 << bit,
            cr4: 0,
            cr0: 0,
        },
        only: |_| true,
    }
}

const fn unpaged(toggle: Toggle) -> Toggle {
    Toggle {
        only: |mode| !mode.is_paged(),
        ..toggle
    }
}

/// What is free.
const FREE: [Toggle; 25] = [
    cr0("CR0.MP", 1 << 1),
    cr0("CR0.EM", 1 << 2),
    cr0("CR0.TS", 1 << 3),
    cr0("CR0.NE", 1 << 5),
    cr0("CR0.WP", 1 << 16),
    cr0("CR0.AM", 1 << 18),
    cr0("CR0.CD", 1 << 30),
    cr0("CR0.CD and NW", 3 << 29),
    cr4("CR4.VME", 0),
    cr4("CR4.PVI", 1),
    cr4("CR4.TSD", 2),
    cr4("CR4.DE", 3),
    cr4("CR4.PSE", 4),
    unpaged(cr4("CR4.PAE", 5)),
    cr4("CR4.MCE", 6),
    cr4("CR4.PGE", 7),
    cr4("CR4.PCE", 8),
    cr4("CR4.OSFXSR", 9),
    cr4("CR4.FSGSBASE", 16),
    cr4("CR4.OSXSAVE", 18),
    cr4("CR4.SMEP", 20),
    cr4("CR4.SMAP", 21),
    efer("EFER.SCE", 0),
    efer("EFER.NXE", 11),
    unpaged(efer("EFER.LME", 8)),
];

fn main() {
    apic::start();
    let only = parameters::number("mode", u64::MAX);
    let detail = parameters::number("detail", 0) != 0;
    let mut walk = Walk::new();
    for mode in Mode::ALL
        .into_iter()
        .filter(|mode| only == u64::MAX || only == *mode as u64)
    {
        section_of(mode);
        alone(&mut walk, mode, detail);
        ways(&mut walk, mode);
        refused(&mut walk, mode);
        pairs(&mut walk, mode, detail);
    }
    atoll_guests::check::end();
}

fn section_of(mode: Mode) {
    section(match mode {
        Mode::Real => "real mode",
        Mode::Flat16 => "protected mode, 16 bits",
        Mode::Flat32 => "protected mode, 32 bits",
        Mode::Paged32 => "two levels of tables, 32 bits",
        Mode::Paged16 => "two levels of tables, 16 bits",
        Mode::Pae32 => "pae, 32 bits",
        Mode::Pae16 => "pae, 16 bits",
        Mode::Compatible32 => "compatibility mode, 32 bits",
        Mode::Compatible16 => "compatibility mode, 16 bits",
        Mode::Long => "64-bit mode",
    });
}

/// A digest of all but what is the hypervisor's own.
fn digest(results: &[Result; RESULTS], digest: u64) -> u64 {
    results
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != HYPERCALL)
        .flat_map(|(_, result)| result)
        .fold(digest, |digest, value| {
            (digest ^ u64::from(*value))
                .wrapping_mul(0x100_0000_01b3)
                .rotate_left(17)
        })
}

const START: u64 = 0xcbf2_9ce4_8422_2325;

/// The vectors of the toggles.
fn vectors(results: &[Result; RESULTS]) -> [u32; 3] {
    [results[0][0], results[1][0], results[2][0]]
}

fn show(name: &str, results: &[Result; RESULTS]) {
    for (index, [vector, value]) in results
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != HYPERCALL)
    {
        println!("value {name} {index} = {vector:x} {value:x}");
    }
}

fn alone(walk: &mut Walk, mode: Mode, detail: bool) {
    let results = walk.visit(mode, Way::LmeFirst, Toggles::default());
    show("as it is", &results);
    own(
        "VMMCALL is answered",
        || results[HYPERCALL],
        [NONE, (-1000_i32) as u32],
    );
    for toggle in FREE.iter().filter(|toggle| (toggle.only)(mode)) {
        let results = walk.visit(mode, Way::LmeFirst, toggle.toggles);
        equal(
            format_args!("{} is toggled", toggle.name),
            vectors(&results),
            [NONE; 3],
        );
        println!("value {} = {:x}", toggle.name, digest(&results, START));
        if detail {
            show(toggle.name, &results);
        }
    }
}

/// The ways down from long mode, each with what comes of it.
fn ways(walk: &mut Walk, mode: Mode) {
    if mode.is_long() {
        return;
    }
    for way in [Way::PaeFirst, Way::KeepLme] {
        // With LME still set, paging would lead back.
        if way == Way::KeepLme && mode.is_paged() {
            continue;
        }
        let results = walk.visit(mode, way, Toggles::default());
        println!("value by way of {way:?} = {:x}", digest(&results, START));
    }
}

/// What the manual refuses in the mode.
fn refused(walk: &mut Walk, mode: Mode) {
    let mut refuse = |name: &str, why: &str, way: Way, toggles: Toggles| {
        let want = [toggles.efer, toggles.cr4, toggles.cr0]
            .map(|bits| if bits == 0 { NONE } else { PROTECTION });
        unasked(name, why, || vectors(&walk.visit(mode, way, toggles)), want);
    };
    let none = Toggles::default();
    let astray = "the guest goes astray";
    refuse(
        "NW set without CD",
        "it is kept",
        Way::LmeFirst,
        Toggles { cr0: NW, ..none },
    );
    refuse(
        "EFER.SVME set",
        "QEMU offers it",
        Way::LmeFirst,
        Toggles { efer: SVME, ..none },
    );
    refuse(
        "CR4's bit 15 set",
        "QEMU makes a #VMEXIT of nobody's of it",
        Way::LmeFirst,
        Toggles {
            cr4: 1 << 15,
            ..none
        },
    );
    if mode.is_paged() {
        refuse(
            "PE cleared while paging",
            astray,
            Way::LmeFirst,
            Toggles { cr0: PE, ..none },
        );
        refuse(
            "LME changed while paging",
            "it is changed",
            Way::LmeFirst,
            Toggles { efer: LME, ..none },
        );
    }
    if mode.is_long() {
        refuse(
            "PAE cleared in long mode",
            astray,
            Way::LmeFirst,
            Toggles { cr4: PAE, ..none },
        );
    }
    match mode {
        Mode::Real => refuse(
            "PG set without PE",
            astray,
            Way::LmeFirst,
            Toggles { cr0: PG, ..none },
        ),
        Mode::Flat16 | Mode::Flat32 => {
            refuse(
                "PG set with LME but without PAE",
                astray,
                Way::KeepLme,
                Toggles { cr0: PG, ..none },
            );
        }
        Mode::Long => refuse(
            "PG cleared in 64-bit mode",
            astray,
            Way::LmeFirst,
            Toggles { cr0: PG, ..none },
        ),
        _ => {}
    }
}

fn pairs(walk: &mut Walk, mode: Mode, detail: bool) {
    let free = || FREE.iter().filter(|toggle| (toggle.only)(mode));
    for (index, first) in free().enumerate() {
        let mut all = START;
        for second in free().skip(index + 1) {
            let (one, other) = (first.toggles, second.toggles);
            // NW goes with CD.
            if one.cr0 & other.cr0 != 0 {
                continue;
            }
            let toggles = Toggles {
                efer: one.efer | other.efer,
                cr4: one.cr4 | other.cr4,
                cr0: one.cr0 | other.cr0,
            };
            let results = walk.visit(mode, Way::LmeFirst, toggles);
            let found = digest(&results, START);
            all = digest(&results, all);
            if detail {
                println!("value {} and {} = {found:x}", first.name, second.name);
            }
        }
        println!("value {} and each of the others = {all:x}", first.name);
    }
}
