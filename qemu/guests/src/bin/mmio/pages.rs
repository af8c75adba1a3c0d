//! The other operand, and the instruction, at the ends of pages.

use atoll_guests::apic::{ICR_HIGH, SELECT};
use atoll_guests::check::{equal, section};
use atoll_guests::code;
use atoll_guests::memory::{fill, holds, load, store};
use atoll_guests::paging::{self, PAGE, PRESENT, WRITABLE};
use atoll_guests::run::register::{RAX, RCX, RDI, RSI};
use atoll_guests::run::{Code, Run, Stop};

use crate::PAGES;

pub(crate) fn pages() {
    section("pages");
    let frames = PAGES.get().addr() as u64;
    let edge = paging::at(1);
    paging::map(0, frames + 2 * PAGE, PRESENT | WRITABLE);
    paging::map(1, frames, PRESENT | WRITABLE);
    let movs = |code: Code, source, destination, count| {
        Run::new(code)
            .with(RSI, source)
            .with(RDI, destination)
            .with(RCX, count)
            .go()
    };
    store(ICR_HIGH, 0x4433_2211);
    let stop = movs(code!("movsd"), ICR_HIGH, edge - 3, 0);
    let halves = (
        holds(frames + 3 * PAGE - 3, &[0x11, 0x22, 0x33]),
        holds(frames, &[0x44]),
    );
    equal(
        "movsd to two pages",
        (stop.vector, halves),
        (3, (true, true)),
    );
    fill(edge - 2, &[0xaa, 0xbb, 0xcc, 0xdd]);
    let stop = movs(code!("movsd"), edge - 2, ICR_HIGH, 0);
    equal(
        "movsd from two pages",
        (stop.vector, load(ICR_HIGH)),
        (3, 0xddcc_bbaa),
    );

    paging::unmap(1);
    let fault = |stop: Stop| {
        (
            stop.fault(),
            stop.cr2,
            stop.offset,
            stop.general[RCX],
            stop.general[RSI],
            stop.general[RDI],
        )
    };
    store(ICR_HIGH, 0x5555_5555);
    let stop = movs(code!("movsd"), edge - 2, ICR_HIGH, 7);
    equal(
        "movsd from a page that is not there",
        fault(stop),
        ((14, 0), edge, 0, 7, edge - 2, ICR_HIGH),
    );
    equal("nothing was stored", load(ICR_HIGH), 0x5555_5555);
    let stop = movs(code!("movsd"), ICR_HIGH, edge - 2, 7);
    equal(
        "movsd to a page that is not there",
        fault(stop),
        ((14, 2), edge, 0, 7, ICR_HIGH, edge - 2),
    );
    fill(edge - 3, &[1, 0, 0]);
    let stop = movs(code!("rep movsb"), edge - 3, SELECT, 8);
    equal(
        "rep movsb up to a page that is not there",
        fault(stop),
        ((14, 0), edge, 0, 5, edge, SELECT + 3),
    );
    let stop = movs(code!("rep movsb"), SELECT, edge - 3, 4);
    equal(
        "rep movsb into a page that is not there",
        fault(stop),
        ((14, 2), edge, 0, 1, SELECT + 3, edge),
    );
    paging::map(1, frames, PRESENT);
    let stop = movs(
        code!("mov rax, cr0", "bts eax, 16", "mov cr0, rax", "movsd"),
        ICR_HIGH,
        edge,
        7,
    );
    equal(
        "movsd to a page that is read-only",
        (stop.fault(), stop.cr2, stop.general[RDI]),
        ((14, 3), edge, edge),
    );

    // The device's page, mapped elsewhere.
    paging::map(2, ICR_HIGH & !0xfff, PRESENT | WRITABLE);
    let alias = paging::at(2) + 0x310;
    store(ICR_HIGH, 0x0bad_cafe);
    let alias_run = |code: Code| Run::new(code).with(RDI, alias).with(RAX, 0x1234_5678).go();
    equal(
        "a device through another address",
        alias_run(code!("mov eax, [rdi]")).general[RAX],
        0x0bad_cafe,
    );
    equal(
        "and xadd there",
        (
            alias_run(code!("xadd [rdi], eax")).general[RAX],
            load(ICR_HIGH),
        ),
        (0x0bad_cafe, 0x1de2_2176),
    );
    paging::map(2, ICR_HIGH & !0xfff, PRESENT);
    let stop = alias_run(code!("mov [rdi], eax"));
    equal(
        "a store to a device's page that is read-only",
        (stop.fault(), stop.cr2, stop.offset),
        ((14, 3), alias, 0),
    );
    equal("which did not happen", load(ICR_HIGH), 0x1de2_2176);

    // The instruction across two pages, and at the end of the last.
    paging::map(1, frames, PRESENT | WRITABLE);
    for first in 1..6 {
        // add dword ptr [rdi], 0x01020304
        fill(edge - first, &[0x81, 0x07, 4, 3, 2, 1, 0xcc]);
        store(ICR_HIGH, 0x1000_0000);
        let stop = Run::new(Code(edge - first)).with(RDI, ICR_HIGH).go();
        equal(
            format_args!("an instruction with {first} bytes in the first page"),
            (stop.place(), load(ICR_HIGH)),
            (Stop::at(6), 0x1102_0304),
        );
    }
    paging::unmap(1);
    fill(edge - 6, &[0x81, 0x07, 4, 3, 2, 1]);
    let stop = Run::new(Code(edge - 6)).with(RDI, ICR_HIGH).go();
    equal(
        "an instruction at the end of a page",
        (stop.place(), stop.cr2, load(ICR_HIGH)),
        ((14, 6), edge, 0x1204_0608),
    );
}
