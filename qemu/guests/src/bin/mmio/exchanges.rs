//! XCHG, XADD, CMPXCHG: the operand and the register trade places.

use atoll_guests::apic::ICR_HIGH;
use atoll_guests::check::{equal, section};
use atoll_guests::forms::{NARROW, WIDE, With, flags};
use atoll_guests::memory::{load, store};
use atoll_guests::run::Run;
use atoll_guests::run::register::{RAX, RBX, RDI};
use atoll_guests::{code, forms};

use crate::PLAIN;

pub(crate) fn exchanges() {
    section("xchg");
    let exchange = forms! {
        "xchg [rdi], al", "xchg [rdi], ah", "xchg [rdi], ax", "xchg [rdi], eax", "xchg [rdi], rax", "xchg [rdi], r9b",
        "xchg [rdi], r9",
    };
    forms::all(&exchange, NARROW, flags::ALL, PLAIN);
    forms::all(
        &forms! { "xchg [rdi], eax", "xchg [rdi], r9d" },
        WIDE,
        flags::ALL,
        PLAIN,
    );
    section("xadd and cmpxchg");
    let add = forms! { "xadd [rdi], al", "xadd [rdi], ah", "xadd [rdi], ax", "lock xadd [rdi], eax", "xadd [rdi], r9" };
    forms::all(&add, NARROW, flags::ALL, PLAIN);
    forms::all(&forms! { "xadd [rdi], eax" }, WIDE, flags::ALL, PLAIN);
    let compare = forms! {
        "cmpxchg [rdi], r9b", "cmpxchg [rdi], r9w", "cmpxchg [rdi], r9d", "lock cmpxchg [rdi], r9", "cmpxchg [rdi], cl",
        "cmpxchg [rdi], ch",
    };
    forms::all(
        &compare,
        NARROW,
        flags::ALL,
        With {
            flags: 0,
            count: 0x7766,
        },
    );
    // The register is what is there: once in six.
    let equal_there = forms! { "mov eax, [rdi]", "cmpxchg [rdi], r9d" };
    forms::all(&equal_there, WIDE, flags::ALL, PLAIN);
    for (old, accumulator) in [
        (0x1234_5678_u32, 0x1234_5678_u64),
        (0x1234_5678, 0x1234_5679),
    ] {
        store(ICR_HIGH, old);
        let stop = Run::new(code!("cmpxchg [rdi], ebx"))
            .with(RDI, ICR_HIGH)
            .with(RAX, accumulator)
            .with(RBX, 0x9abc_def0)
            .go();
        let same = u64::from(old) == accumulator;
        let want = (
            if same { 0x9abc_def0 } else { old },
            u64::from(old),
            u64::from(same),
        );
        equal(
            format_args!("cmpxchg of {old:x} with {accumulator:x}"),
            (load(ICR_HIGH), stop.general[RAX], stop.rflags >> 6 & 1),
            want,
        );
    }
}
