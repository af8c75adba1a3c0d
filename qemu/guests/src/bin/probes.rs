//! Measures what exits cost, in instructions, and prints a line `probe NAME MIN MEDIAN MAX` for each. `atoll bench` reads them.
#![no_std]
#![no_main]

use atoll_guests::println;
use atoll_guests::probes::{exits, local_apic, mail, touch, window};

atoll_guests::guest!(main);

fn main() {
    local_apic::enable();
    let figures = [
        exits::cpuid(),
        exits::rdmsr(),
        exits::wrmsr(),
        exits::out(),
        exits::inp(),
        exits::pic_in(),
        local_apic::load(),
        local_apic::store(),
        local_apic::load_cold(),
        local_apic::store_cold(),
        exits::vmmcall(),
        window::window(),
        touch::demand_map(),
        mail::line(),
        mail::mail(),
    ];
    println!();
    for figure in figures {
        println!("{figure}");
    }
}
