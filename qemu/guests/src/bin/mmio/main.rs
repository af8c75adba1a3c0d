//! Loads, stores and all else that an instruction does with an operand in a device's memory.
#![no_std]
#![no_main]

use atoll_guests::alone::Alone;
use atoll_guests::apic;
use atoll_guests::forms::With;
use atoll_guests::paging::Page;

mod arithmetic;
mod bits;
mod cpu;
mod exchanges;
mod moves;
mod pages;
mod registers;
mod strings;

atoll_guests::guest!(main);

/// No flags, no count.
const PLAIN: With = With { flags: 0, count: 0 };
/// CF is set.
const CARRY: With = With { flags: 1, count: 0 };

static PAGES: Alone<[Page; 4]> = Alone::new([Page::ZERO; 4]);

fn main() {
    apic::start();
    moves::moves();
    moves::extensions();
    moves::addressing();
    arithmetic::arithmetic();
    exchanges::exchanges();
    bits::bits();
    strings::strings();
    strings::string_operands();
    pages::pages();
    registers::registers();
    registers::nobodys();
    cpu::cpu();
    atoll_guests::check::end();
}
