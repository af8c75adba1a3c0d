//! Arithmetic and logic with memory as destination and as source.

use atoll_guests::check::section;
use atoll_guests::forms;
use atoll_guests::forms::{NARROW, WIDE, flags};

use crate::{CARRY, PLAIN};

macro_rules! operations {
    ($name:literal, $defined:expr, $with:expr) => {
        forms::all(
            &forms! {
                concat!($name, " [rdi], al"), concat!($name, " [rdi], ah"), concat!($name, " [rdi], ax"),
                concat!($name, " [rdi], eax"), concat!($name, " [rdi], rax"), concat!($name, " [rdi], r9b"),
                concat!($name, " [rdi], r9d"), concat!($name, " byte ptr [rdi], 0x5a"),
                concat!($name, " byte ptr [rdi], 0x80"), concat!($name, " word ptr [rdi], 0x5aa5"),
                concat!($name, " dword ptr [rdi], 0x5aa5"), concat!($name, " qword ptr [rdi], 0x5aa5"),
                concat!($name, " qword ptr [rdi], -0x5aa5"),
            },
            NARROW,
            $defined,
            $with,
        );
        forms::all(
            &forms! { concat!($name, " [rdi], eax"), concat!($name, " dword ptr [rdi], 0x89abcdef") },
            WIDE,
            $defined,
            $with,
        );
    };
    ($name:literal, $defined:expr, $with:expr, both) => {
        operations!($name, $defined, $with);
        forms::all(
            &forms! {
                concat!($name, " word ptr [rdi], -2"), concat!($name, " dword ptr [rdi], -2"),
                concat!($name, " qword ptr [rdi], -2"), concat!($name, " al, [rdi]"), concat!($name, " ah, [rdi]"),
                concat!($name, " ax, [rdi]"), concat!($name, " eax, [rdi]"), concat!($name, " rax, [rdi]"),
                concat!($name, " r9w, [rdi]"), concat!($name, " r9, [rdi]"),
            },
            NARROW,
            $defined,
            $with,
        );
        forms::all(&forms! { concat!($name, " eax, [rdi]"), concat!($name, " dword ptr [rdi], -2") }, WIDE, $defined, $with);
    };
}

pub(crate) fn arithmetic() {
    section("add and sub");
    operations!("add", flags::ALL, PLAIN, both);
    operations!("sub", flags::ALL, PLAIN, both);
    section("adc and sbb");
    operations!("adc", flags::ALL, PLAIN, both);
    operations!("adc", flags::ALL, CARRY, both);
    operations!("sbb", flags::ALL, PLAIN, both);
    operations!("sbb", flags::ALL, CARRY, both);
    section("or, and, xor");
    operations!("or", flags::LOGIC, PLAIN, both);
    operations!("and", flags::LOGIC, PLAIN, both);
    operations!("xor", flags::LOGIC, PLAIN, both);
    section("test");
    operations!("test", flags::LOGIC, PLAIN);
    section("cmp");
    operations!("cmp", flags::ALL, PLAIN, both);
    section("inc, dec, neg, not");
    macro_rules! unary {
        ($name:literal) => {
            let forms = forms! {
                concat!($name, " byte ptr [rdi]"), concat!($name, " word ptr [rdi]"), concat!($name, " dword ptr [rdi]"),
                concat!($name, " qword ptr [rdi]"),
            };
            forms::all(&forms, NARROW, flags::ALL, PLAIN);
            forms::all(&forms, NARROW, flags::ALL, CARRY);
            forms::all(&forms! { concat!($name, " dword ptr [rdi]") }, WIDE, flags::ALL, PLAIN);
        };
    }
    unary!("inc");
    unary!("dec");
    unary!("neg");
    unary!("not");
    section("lock");
    let locked = forms! {
        "lock add [rdi], eax", "lock or [rdi], al", "lock and qword ptr [rdi], 0x5a", "lock xor word ptr [rdi], 0x5a",
        "lock sub [rdi], r9b", "lock inc byte ptr [rdi]", "lock dec dword ptr [rdi]", "lock neg word ptr [rdi]",
        "lock not byte ptr [rdi]",
    };
    forms::all(&locked, NARROW, flags::LOGIC, PLAIN);
}
