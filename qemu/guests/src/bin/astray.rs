//! A guest that loses itself, in one of many ways: tables, stacks and code in devices and in nothing, and exceptions whose delivery raises
//! them again. It comes to no end, or to a bad one: where the way leads back it waits to be
//! ended. `way=` says which.
#![no_std]
#![no_main]

use core::arch::asm;
use core::arch::x86_64::__cpuid;

use atoll_guests::alone::Alone;
use atoll_guests::apic::{self, LOCAL};
use atoll_guests::paging::Page;
use atoll_guests::run::register::RDI;
use atoll_guests::run::{Code, Run};
use atoll_guests::system::Register;
use atoll_guests::traps::{self, Gates};
use atoll_guests::{code, parameters, println};

atoll_guests::guest!(main);

/// Where there is nothing, and what is beyond all memory.
const NOTHING: u64 = 0xd000_0000;
const BEYOND: u64 = 0xf0_0000_0000;
const DEBUG: u8 = 1;

static STACK: Alone<Page> = Alone::new(Page::ZERO);
static TABLE: Alone<[u64; 8]> = Alone::new([0; 8]);

/// What LGDT and LIDT load.
#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

fn main() {
    apic::start();
    let way = parameters::number("way", 0);
    println!("way {way}");
    match way {
        1 => debug_exceptions(),
        2 => stack(LOCAL + 0x400),
        3 => stack(NOTHING + 0x800),
        4 => task_state(LOCAL),
        5 => task_state(NOTHING),
        6 => drop(
            Run::new(code!("mov rsp, rdi", "push rax", "call rdi"))
                .with(RDI, LOCAL + 0x800)
                .go(),
        ),
        7 => drop(Run::new(Code(LOCAL)).go()),
        8 => drop(Run::new(Code(NOTHING)).go()),
        9 => interrupts(LOCAL),
        10 => interrupts(NOTHING),
        11 => segments(LOCAL),
        12 => segments(NOTHING),
        13 => drop(Register::Cr3.set(LOCAL)),
        14 => drop(Register::Cr3.set(NOTHING)),
        15 => drop(Register::Cr3.set(BEYOND)),
        _ => {}
    }
    println!("way {way} led back");
    loop {
        let _ = __cpuid(0);
    }
}

/// #DB of a data breakpoint on the very stack that #DB is delivered on.
fn debug_exceptions() {
    let top = STACK.get().addr() as u64 + 4096;
    traps::on(DEBUG, traps::counted);
    traps::on_stack(DEBUG, top);
    let _ = Register::Dr0.set(top - 8);
    let _ = Register::Dr7.set(0x400 | 1 | 0xb_0000);
    let _ = Run::new(code!("mov [rdi], eax", "nop"))
        .with(RDI, top - 8)
        .go();
}

/// An interrupt's stack is there.
fn stack(top: u64) {
    traps::on(0x55, traps::counted);
    traps::on_stack(0x55, top);
    let _ = Run::new(code!("int 0x55")).go();
}

/// The task state, and so the stacks' addresses, are there.
fn task_state(base: u64) {
    let table = TABLE.get().cast::<u64>();
    let low = 0x67 | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
    for (index, entry) in [
        0,
        0x00af_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        low,
        base >> 32,
    ]
    .into_iter()
    .enumerate()
    {
        // SAFETY: the table is that long.
        unsafe { table.wrapping_add(index).write_volatile(entry) };
    }
    let pointer = Pointer {
        limit: 39,
        base: table.addr() as u64,
    };
    // SAFETY: the segments are those of before, but for the task state, which is where this guest loses itself.
    unsafe { asm!("lgdt [{}]", "ltr {:x}", in(reg) &raw const pointer, in(reg) 0x18_u64) };
    traps::on(0x55, traps::counted);
    traps::on_stack(0x55, 0);
    let _ = Run::new(code!("int 0x55")).go();
}

fn interrupts(table: u64) {
    let pointer = Pointer {
        limit: (size_of::<Gates>() - 1) as u16,
        base: table,
    };
    // SAFETY: this is where this guest loses itself.
    unsafe { asm!("lidt [{}]", "int3", in(reg) &raw const pointer) };
}

fn segments(table: u64) {
    let pointer = Pointer {
        limit: 0xfff,
        base: table,
    };
    // SAFETY: as above.
    unsafe { asm!("lgdt [{}]", "mov ds, {:x}", in(reg) &raw const pointer, in(reg) 0x10_u64) };
}
