//! Interrupt windows: between which two instructions a pending interrupt comes, and how often. The oracle is the RIP that its handler
//! finds.
#![no_std]
#![no_main]

use atoll_guests::apic::{self, ICR, ICR_HIGH, SELECT, TO_SELF, TPR};
use atoll_guests::check::{equal, own, section, shown};
use atoll_guests::memory::{load, load64, store};
use atoll_guests::run::register::{RAX, RBX, RCX, RDI, RDX, RSI};
use atoll_guests::run::{Code, IF, Run, Stop};
use atoll_guests::{code, traps};

atoll_guests::guest!(main);

const VECTOR: u8 = 0x71;
const HIGHER: u8 = 0x92;
/// RAM that nobody has touched yet: the next place in it is used with every check.
const FRESH: u64 = 64 << 20;
/// Far enough apart that each place is first touched in a page of its own, whatever the size of pages.
const APART: u64 = 4 << 20;

fn main() {
    apic::start();
    traps::on(VECTOR, |_| apic::end());
    traps::on(HIGHER, |_| apic::end());
    sti();
    without_shadow();
    stack_segment();
    hlt();
    exits_in_the_shadow();
    hidden_exits_in_the_shadow();
    lost();
    long_handlers();
    priorities();
    legacy();
    atoll_guests::check::end();
}

/// Runs `code` with [`VECTOR`] pending.
fn pending(code: Code) -> Stop {
    pending_run(Run::new(code))
}

fn pending_run(run: Run) -> Stop {
    traps::clear();
    apic::raise(VECTOR);
    run.go()
}

/// Takes what is still pending.
fn drain() {
    let _ = Run::new(code!("nop", "nop")).flags(IF).go();
}

/// The interrupt comes once, `at` that offset.
fn once(name: &str, code: Code, stop: &Stop, at: u64) {
    equal(
        name,
        (
            stop.vector,
            traps::count(),
            traps::taken(0).1.wrapping_sub(code.0),
        ),
        (3, 1, at),
    );
}

fn sti() {
    section("sti");
    let code = code!("sti", "nop", "cli");
    once("sti; nop; cli: before cli", code, &pending(code), 2);
    let code = code!("sti", "cli", "nop");
    let stop = pending(code);
    equal(
        "sti; cli: not at all",
        (stop.vector, traps::count(), apic::requested(VECTOR)),
        (3, 0, true),
    );
    drain();
    equal(
        "but later",
        (traps::count(), apic::requested(VECTOR)),
        (1, false),
    );
    let code = code!("sti", "nop", "nop", "nop", "cli");
    once("sti; nop; nop: behind the first", code, &pending(code), 2);
    let code = code!("sti", "sti", "nop", "cli");
    once("sti; sti: behind the second", code, &pending(code), 2);
    let code = code!("nop", "nop");
    let stop = pending_run(Run::new(code).flags(IF));
    once("with IF set before: at once", code, &stop, 0);
    let code = code!("cli", "nop", "nop");
    let stop = pending(code);
    equal(
        "with IF clear: never",
        (stop.vector, traps::count()),
        (3, 0),
    );
    drain();
}

fn without_shadow() {
    section("no shadow");
    // RBX: flags with IF.
    let code = code!("push rbx", "popfq", "nop", "nop", "cli");
    once(
        "popf: behind it",
        code,
        &pending_run(Run::new(code).with(RBX, IF | 2)),
        2,
    );
    let code = code!(
        "mov rax, rsp",
        "push 0x10",
        "push rax",
        "push rbx",
        "push 8",
        "lea rcx, [rip + 3]",
        "push rcx",
        "iretq",
        "nop",
        "cli"
    );
    let stop = pending_run(Run::new(code).with(RBX, IF | 2));
    equal(
        "iret: at its target",
        (stop.vector, traps::count(), traps::taken(0).1),
        (3, 1, stop.general[RCX]),
    );
    let code = code!("sti", "nop", "mov [rdi], eax", "sti", "nop", "cli");
    traps::clear();
    let stop = Run::new(code)
        .with(RDI, ICR)
        .with(RAX, u64::from(TO_SELF) | u64::from(VECTOR))
        .go();
    once("sti with IF set already casts none", code, &stop, 4);
}

fn stack_segment() {
    section("mov ss");
    let run = |code: Code| {
        traps::clear();
        Run::new(code)
            .with(RDI, ICR)
            .with(RAX, u64::from(TO_SELF) | u64::from(VECTOR))
            .with(RDX, 0x10)
            .with(RBX, IF | 2)
            .go()
    };
    let code = code!("sti", "nop", "mov ss, edx", "mov [rdi], eax", "nop", "cli");
    once(
        "mov ss; a store that raises: behind it",
        code,
        &run(code),
        6,
    );
    let code = code!(
        "push rdx",
        "sti",
        "nop",
        ".byte 0x36",
        "mov ss, [rsp]",
        "nop",
        "mov [rdi], eax",
        "nop",
        "pop rdx",
        "cli"
    );
    let stop = run(code);
    equal("mov ss from memory", (stop.vector, traps::count()), (3, 1));
    apic::raise(VECTOR);
    let code = code!("sti", "mov ss, edx", "nop", "nop", "cli");
    let stop = pending_run(Run::new(code).with(RDX, 0x10));
    // The second shadow may extend the first by one (APM vol. 2 §15.21.5).
    let at = traps::taken(0).1.wrapping_sub(code.0);
    equal(
        "sti; mov ss: behind it or one later",
        (stop.vector, traps::count(), at == 3 || at == 4),
        (3, 1, true),
    );
    shown("sti; mov ss", at);
}

fn hlt() {
    section("hlt");
    let code = code!("sti", "hlt", "cli");
    once(
        "a pending interrupt ends it at once",
        code,
        &pending(code),
        2,
    );
    traps::clear();
    apic::one_shot(VECTOR, 50_000);
    let stop = Run::new(code).go();
    once("one that comes later ends it", code, &stop, 2);
    // With interrupts on before it.
    let code = code!("sti", "nop", "hlt", "cli");
    traps::clear();
    apic::one_shot(VECTOR, 50_000);
    once("without a shadow, too", code, &Run::new(code).go(), 3);
}

/// Instructions that exit, in the shadow of STI: the interrupt comes behind them.
fn exits_in_the_shadow() {
    section("exits in the shadow");
    let code = code!("sti", "cpuid", "nop", "cli");
    once("cpuid", code, &pending(code), 3);
    let code = code!("sti", "rdmsr", "nop", "cli");
    once(
        "rdmsr",
        code,
        &pending_run(Run::new(code).with(RCX, 0xc000_0080)),
        3,
    );
    let code = code!("sti", "wrmsr", "nop", "cli");
    once(
        "wrmsr",
        code,
        &pending_run(
            Run::new(code)
                .with(RCX, 0x277)
                .with(RAX, 0x0007_0406)
                .with(RDX, 0x0007_0406),
        ),
        3,
    );
    let code = code!("sti", "in al, dx", "nop", "cli");
    once("in", code, &pending_run(Run::new(code).with(RDX, 0x3ff)), 2);
    let code = code!("sti", "in al, dx", "nop", "cli");
    once(
        "in from nobody's port",
        code,
        &pending_run(Run::new(code).with(RDX, 0x5100)),
        2,
    );
    let code = code!("sti", "out dx, al", "nop", "cli");
    once(
        "out",
        code,
        &pending_run(Run::new(code).with(RDX, 0x3ff)),
        2,
    );
    let code = code!("sti", "outsb", "nop", "cli");
    once(
        "outsb",
        code,
        &pending_run(Run::new(code).with(RDX, 0x3ff).with(RSI, code.0)),
        2,
    );
    let code = code!("sti", "mov cr4, rax", "nop", "cli");
    let cr4 = Run::new(code!("mov rax, cr4")).go().general[RAX];
    once(
        "mov cr4",
        code,
        &pending_run(Run::new(code).with(RAX, cr4)),
        4,
    );
    let code = code!("sti", "invd", "nop", "cli");
    once("invd", code, &pending(code), 3);
    let code = code!("sti", "vmmcall", "nop", "cli");
    own(
        "vmmcall",
        || {
            (
                pending(code).vector,
                traps::count(),
                traps::taken(0).1.wrapping_sub(code.0),
            )
        },
        (3, 1, 4),
    );
}

/// Accesses of which only the hypervisor knows that they exit.
fn hidden_exits_in_the_shadow() {
    section("hidden exits in the shadow");
    let mut fresh = FRESH;
    let mut place = || {
        fresh += APART;
        fresh
    };
    let code = code!("sti", "mov [rdi], eax", "nop", "cli");
    let at = place();
    once(
        "a store to RAM not touched before",
        code,
        &pending_run(Run::new(code).with(RDI, at).with(RAX, 0x77)),
        3,
    );
    equal("which happened", load64(at), 0x77);
    let code = code!("sti", "mov eax, [rdi]", "nop", "cli");
    once(
        "a load from RAM not touched before",
        code,
        &pending_run(Run::new(code).with(RDI, place())),
        3,
    );
    let code = code!("sti", "inc dword ptr [rdi]", "nop", "cli");
    let at = place();
    once(
        "a change of RAM not touched before",
        code,
        &pending_run(Run::new(code).with(RDI, at)),
        3,
    );
    equal("which happened once", load64(at), 1);
    let code = code!("sti", "call rdi", "nop", "cli");
    let at = place();
    let target = at;
    // The call's target has been written, its stack has not been touched.
    atoll_guests::memory::fill(target, &[0x90, 0xc3]);
    let stop = pending_run(Run::new(code).with(RDI, target).with(4, place() + 0x1000));
    equal(
        "a call with a stack not touched before: at its target",
        (stop.vector, traps::count(), traps::taken(0).1),
        (3, 1, target),
    );
    let code = code!("sti", "push rax", "pop rax", "nop", "cli");
    once(
        "a push to a stack not touched before",
        code,
        &pending_run(Run::new(code).with(4, place() + 0x1000)),
        2,
    );
    store(SELECT, 0x31);
    let code = code!("sti", "mov eax, [rdi]", "nop", "cli");
    let stop = pending_run(Run::new(code).with(RDI, SELECT));
    once("a load from a device", code, &stop, 3);
    equal("which happened too", stop.general[RAX], 0x31);
    let code = code!("sti", "mov [rdi], eax", "nop", "cli");
    once(
        "a store to a device",
        code,
        &pending_run(Run::new(code).with(RDI, ICR_HIGH).with(RAX, 0x1234)),
        3,
    );
    equal("which happened as well", load(ICR_HIGH), 0x1234);
    store(ICR_HIGH, 0);
    let code = code!("sti", "add [rdi], eax", "nop", "cli");
    once(
        "a change of a device's register",
        code,
        &pending_run(Run::new(code).with(RDI, ICR_HIGH).with(RAX, 0)),
        3,
    );
}

/// The timer fires at every phase between CLI and HLT: no interrupt is lost and none comes twice.
fn lost() {
    section("lost");
    const ROUNDS: u64 = 3000;
    traps::clear();
    let mut phase: u32 = 12345;
    let code = code!("sti", "hlt", "cli");
    let mut single = 0;
    for _ in 0..ROUNDS {
        phase = phase.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let before = traps::count();
        apic::one_shot(VECTOR, 1 + (phase >> 20) * 4);
        let _ = Run::new(code).go();
        single += u64::from(traps::count() == before + 1);
    }
    equal("each round ends with one interrupt", single, ROUNDS);
    drain();
    equal("none is left", traps::count(), ROUNDS);
}

/// A timer ends while a handler runs, before it has done anything that exits: that must not make the handler's own interrupt come again.
fn long_handlers() {
    section("long handlers");
    fn spin(_: &mut traps::Frame) {
        // Without PAUSE, which is where QEMU takes notice of much.
        (0..100_000).for_each(|round| {
            core::hint::black_box(round);
        });
        apic::end();
    }
    traps::on(VECTOR, spin);
    let code = code!("sti", "mov [rdi], eax", "nop", "cli");
    for delay in [10_000, 20_000, 40_000] {
        traps::clear();
        apic::one_shot(HIGHER, delay);
        let stop = Run::new(code)
            .with(RDI, ICR)
            .with(RAX, u64::from(TO_SELF) | u64::from(VECTOR))
            .go();
        let came = (
            stop.vector,
            traps::count(),
            traps::taken(0).0,
            traps::taken(1).0,
        );
        equal(
            "each interrupt comes once, and the timer's behind the handler",
            came,
            (3, 2, VECTOR, HIGHER),
        );
    }
    traps::on(VECTOR, |_| apic::end());
}

fn priorities() {
    section("priorities");
    let two = || (traps::count(), traps::taken(0).0, traps::taken(1).0);
    let raise = || {
        traps::clear();
        apic::raise(VECTOR);
        apic::raise(HIGHER);
    };
    raise();
    drain();
    equal("the higher vector comes first", two(), (2, HIGHER, VECTOR));
    raise();
    store(TPR, 0x80);
    drain();
    equal(
        "a task priority holds the lower one",
        (traps::count(), traps::taken(0).0),
        (1, HIGHER),
    );
    store(TPR, 0x60);
    drain();
    equal("until it is lowered", two(), (2, HIGHER, VECTOR));
    traps::clear();
    store(TPR, 0x70);
    apic::raise(VECTOR);
    drain();
    equal("the same class is held", traps::count(), 0);
    let code = code!("sti", "nop", "mov dword ptr [rdi], 0", "nop", "cli");
    let stop = Run::new(code).with(RDI, TPR).go();
    once(
        "it comes behind the store that lowers the priority",
        code,
        &stop,
        8,
    );
    // Without an end of interrupt, the lower one waits.
    traps::on(HIGHER, traps::counted);
    raise();
    drain();
    equal(
        "the lower one waits for the end of the higher",
        (
            traps::count(),
            apic::in_service(HIGHER),
            apic::requested(VECTOR),
        ),
        (1, true, true),
    );
    let code = code!("sti", "nop", "mov dword ptr [rdi], 0", "nop", "cli");
    let stop = Run::new(code).with(RDI, apic::EOI).go();
    let at = traps::taken(1).1.wrapping_sub(code.0);
    equal(
        "and comes behind it",
        (stop.vector, two(), at),
        (3, (2, HIGHER, VECTOR), 8),
    );
    traps::on(HIGHER, |_| apic::end());
    // A higher one interrupts the handler of a lower one that turns interrupts on.
    traps::on(VECTOR, |_| {
        apic::raise(HIGHER);
        drain_inside();
        apic::end();
    });
    traps::clear();
    apic::raise(VECTOR);
    drain();
    equal(
        "a higher one interrupts a lower one's handler",
        two(),
        (2, VECTOR, HIGHER),
    );
    traps::on(VECTOR, |_| apic::end());
    equal(
        "all have ended",
        (
            apic::in_service(VECTOR),
            apic::in_service(HIGHER),
            load(TPR),
        ),
        (false, false, 0),
    );
}

fn drain_inside() {
    x86_64::instructions::interrupts::enable();
    x86_64::instructions::nop();
    x86_64::instructions::interrupts::disable();
}

/// The 8259s, by LINT0: the serial port's interrupt line and the timer's.
fn legacy() {
    section("8259");
    const TIMER: u8 = 0x20;
    const SERIAL: u8 = 0x24;
    fn acknowledge(_: &mut traps::Frame) {
        apic::out(0x20, 0x20);
    }
    traps::on(TIMER, acknowledge);
    traps::on(SERIAL, |_| {
        // The transmitter is empty: reading that ends the request.
        let _ = apic::inb(0x3fa);
        apic::out(0x20, 0x20);
    });
    traps::clear();
    apic::out(0x21, !(1 << 0));
    // Counter 0, mode 0: once.
    apic::out(0x43, 0x30);
    apic::out(0x40, 0xe8);
    apic::out(0x40, 0x03);
    let code = code!("sti", "hlt", "cli");
    let stop = Run::new(code).go();
    equal(
        "the timer's interrupt ends hlt",
        (stop.vector, traps::count(), traps::taken(0)),
        (3, 1, (TIMER, code.0 + 2)),
    );
    apic::out(0x21, !(1 << 4));
    traps::clear();
    apic::out(0x3fc, 0x0b);
    apic::out(0x3f9, 2);
    let code = code!("sti", "nop", "nop", "cli");
    let stop = Run::new(code).go();
    equal(
        "the serial port's comes where it can",
        (stop.vector, traps::count(), traps::taken(0)),
        (3, 1, (SERIAL, code.0 + 2)),
    );
    apic::out(0x3f9, 0);
    apic::out(0x21, 0xff);
    // A request that is masked again before the window opens.
    traps::clear();
    apic::out(0x3f9, 2);
    apic::out(0x21, !(1 << 4));
    apic::out(0x21, 0xff);
    drain();
    equal("one that is masked again does not come", traps::count(), 0);
    apic::out(0x3f9, 0);
    traps::clear();
    // Its priority is not the task priority's affair.
    store(TPR, 0xff);
    apic::out(0x21, !(1 << 4));
    apic::out(0x3f9, 2);
    drain();
    store(TPR, 0);
    equal(
        "the task priority does not hold it",
        (traps::count(), traps::taken(0).0),
        (1, SERIAL),
    );
    apic::out(0x3f9, 0);
    apic::out(0x21, 0xff);
}
