//! Servers that take turns a great many times, under a guest that would notice a lost or doubled tick or byte.
//!
//! How many times is a figure that the host's time decides: [`rounds`].

use std::fmt::Write;
use std::time::{Duration, Instant};

use atoll::control::{Line, orders, tables};
use atoll::run::End;
use atoll::testing::{Boot, Booted, Visit};

use crate::ordering::{Swap, assert_only_late, line, swap_rounds};

/// How often each second implementation is put in and taken out.
const ROUNDS: usize = 60;
/// The variable with another number.
const VARIABLE: &str = "ATOLL_SWAP_ROUNDS";

fn rounds() -> usize {
    std::env::var(VARIABLE).map_or(ROUNDS, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{VARIABLE} is no number: {text}"))
    })
}

/// Far longer than they take.
fn patience() -> Duration {
    Duration::from_secs(120 + 3 * rounds() as u64)
}

/// Interrupts, and what raises them.
const INTERRUPTS: [Swap; 4] = [
    ("irqchip", "irqchip-flat", false),
    ("pit", "pit", false),
    ("irqchip", "irqchip", false),
    ("pm", "pm", false),
];
/// The console, from the guest to the host.
const CONSOLE: [Swap; 3] = [
    ("uart", "uart-ring", false),
    ("console", "console", false),
    ("uart", "uart", false),
];
/// What only answers exits.
const EXITS: [Swap; 6] = [
    ("msr", "msr-trace", false),
    ("cpuid", "cpuid-strict", true),
    ("hypercall", "hypercall", false),
    ("msr", "msr", false),
    ("cpuid", "cpuid", false),
    ("rtc", "rtc", false),
];

/// Does something to a machine as soon as it prints `first`, then types `keys`.
fn disturbed<T: Send>(
    boot: &Boot,
    first: &str,
    keys: &str,
    disturb: impl FnOnce(&Visit<'_>) -> T + Send,
) -> (Booted, T) {
    let visit = boot.meanwhile(|machine| {
        machine.wait_for(first).then(|| {
            let result = disturb(machine);
            machine.press(keys);
            result
        })
    });
    let (booted, result) = visit.unwrap();
    match result {
        Some(result) => (booted, result),
        None => panic!(
            "it ended before it began: {:?}\n{}\n{}",
            booted.ended.end, booted.ended.last_lines, booted.log
        ),
    }
}

/// Something to do before each swap or restart: to wait until the guest has printed another line, so that it has done something in between.
fn progress<'m>(machine: &'m Visit<'_>) -> impl FnMut() + use<'m> {
    let mut printed = 0;
    move || {
        printed = machine
            .wait_for_lines(printed)
            .unwrap_or_else(|| panic!("it has ended"))
    }
}

/// Takes turns with each of these, of which each ends where it began; reports how it went.
fn take_turns(machine: &Visit<'_>, swaps: &[Swap]) {
    let (rounds, begun) = (rounds(), Instant::now());
    let mut line = line(machine);
    let free = |line: &mut Line| tables::machine(line).unwrap().free_frames;
    let before = free(&mut line);
    let late = swap_rounds(&mut line, swaps, rounds, progress(machine));
    assert_eq!(
        free(&mut line),
        before,
        "what is back in its place takes as many frames as before"
    );
    let count = rounds * swaps.len();
    println!(
        "{count} swaps ({rounds} of each) in {:?}, {late} called off for want of time",
        begun.elapsed()
    );
}

/// A guest that counts ticks, until a key is pressed.
fn ticks() -> Boot {
    Boot::guest("ticks").patience(patience())
}

/// That every tick came once, every line is there once and byte for byte, and the key arrived once.
fn assert_exact(booted: &Booted) {
    let lines: Vec<&str> = booted.console.lines().collect();
    let ticks = lines.len().saturating_sub(1);
    let mut expected = String::new();
    for number in 1..=ticks {
        let _ = writeln!(expected, "tick {number} is the only one, as it should be");
    }
    let _ = writeln!(expected, "'q' is enough after {ticks} ticks");
    let different = lines
        .iter()
        .zip(expected.lines())
        .find(|(mine, its)| *mine != its);
    assert_eq!(different, None, "{:?}\n{}", booted.ended.end, booted.log);
    assert_eq!(
        (&booted.console, &booted.ended.end),
        (&expected, &End::PowerOff),
        "{}",
        booted.log
    );
    println!(
        "{ticks} ticks and {} bytes, none of them lost or doubled",
        expected.len()
    );
    assert_only_late(booted);
}

#[test]
fn undisturbed_the_guest_prints_what_it_is_held_against() {
    let (booted, ()) = disturbed(&ticks(), "tick 1 is", "q", |machine| {
        assert!(machine.wait_for("tick 300 is"))
    });
    assert_exact(&booted);
}

#[test]
fn no_tick_is_lost_or_doubled_while_interrupt_controllers_and_timers_take_turns() {
    let (booted, ()) = disturbed(&ticks(), "tick 1 is", "q", |machine| {
        take_turns(machine, &INTERRUPTS)
    });
    assert_exact(&booted);
}

#[test]
fn no_byte_is_lost_or_doubled_while_serial_ports_and_console_drivers_take_turns() {
    let (booted, ()) = disturbed(&ticks(), "tick 1 is", "q", |machine| {
        take_turns(machine, &CONSOLE)
    });
    assert_exact(&booted);
}

/// Lines, timers and processes, until an empty line is typed (of a longer one a part may come in time, and be thrown away: that is how the
/// shell's `read -t` is); then what is typed next, and what only a whole machine can still do.
const WORKLOAD: &str = "exec 3</dev/console; i=0; \
    until read -t 0.01 -u 3 x; do i=$((i+1)); echo line $i of a long text; [ $((i%50)) = 0 ] && md5sum /bin/busybox; done; \
    read -u 3 x; echo $x after $i; dd if=/dev/zero bs=64k count=64 2>/dev/null | md5sum";

/// Linux under that load, disturbed; that its console is, byte for byte, what the same number of lines is without.
fn under_linux<T: Send>(disturb: impl FnOnce(&Visit<'_>) -> T + Send) -> (Booted, T) {
    let boot = Boot::guest("linux").exec(WORKLOAD).patience(patience());
    let (booted, result) = disturbed(&boot, "line 1 of", "\nenough\n", disturb);
    let last = booted
        .console
        .lines()
        .find_map(|line| line.strip_prefix("enough after "))
        .and_then(|number| number.parse().ok());
    let lines: u32 = last.unwrap_or_else(|| {
        panic!(
            "it never heard of the end: {:?}\n{}",
            booted.ended, booted.log
        )
    });
    let sums: Vec<&str> = booted
        .console
        .lines()
        .filter(|line| line.ends_with("/bin/busybox"))
        .collect();
    let mut expected = String::new();
    for number in 1..=lines {
        let _ = writeln!(expected, "line {number} of a long text");
        if number % 50 == 0 {
            let _ = writeln!(expected, "{}", sums[0]);
        }
    }
    let _ = write!(expected, "enough after {lines}\n{ZEROS}  -\n");
    let different = booted
        .console
        .lines()
        .zip(expected.lines())
        .find(|(mine, its)| mine != its);
    assert_eq!(different, None, "{:?}\n{}", booted.ended.end, booted.log);
    assert_eq!(
        (booted.console.len(), booted.status),
        (expected.len(), 0),
        "{:?}\n{}",
        booted.ended.end,
        booted.log
    );
    println!(
        "{lines} lines of Linux, {} bytes, none of them lost or doubled",
        expected.len()
    );
    (booted, result)
}

/// MD5 of 4 MiB of zeros.
const ZEROS: &str = "b5cfa9d6c8febd618f91ac2843d50a1c";

#[test]
fn linux_goes_on_byte_for_byte_while_second_implementations_take_turns() {
    let all = [&INTERRUPTS[..], &CONSOLE, &EXITS].concat();
    let (booted, ()) = under_linux(|machine| take_turns(machine, &all));
    assert_only_late(&booted);
}

#[test]
fn linux_goes_on_byte_for_byte_while_the_mmu_server_is_restarted() {
    let (booted, killed) = under_linux(|machine| {
        let (mut line, mut between) = (line(machine), progress(machine));
        let kill = |_: &usize| {
            between();
            orders::kill(&mut line, "mmu").is_ok()
        };
        (0..rounds()).filter(kill).count()
    });
    assert_eq!(killed, rounds(), "{}", booted.log);
    println!("{killed} restarts of the mmu server");
}
