//! An unprivileged process attacks from within Linux (`qemu/attacker`): no server and no hypervisor notices, and of itself it says the same as
//! directly in QEMU.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use atoll::bare::target::Permission;
use atoll::bare::{self, Toolchain};
use atoll::control::{Line, orders, tables};
use atoll::place;
use atoll::run::End;
use atoll::testing::{Boot, Booted, Visit};

/// How many rounds, and the variables with another number, another seed, and more options (such as `case=frames facts`).
const ROUNDS: u64 = 2;
const VARIABLES: [&str; 3] = [
    "ATOLL_ATTACK_ROUNDS",
    "ATOLL_ATTACK_SEED",
    "ATOLL_ATTACK_OPTIONS",
];
/// What is done to Linux, so that both show it the same: Atoll shows guests neither five-level paging nor UMIP, and QEMU does. With UMIP Linux
/// emulates a user's SLDT and STR, and a single step over one takes the next instruction along.
const LINUX: &str = "no5lvl clearcpuid=umip";
/// What is printed first: of a line the last bytes are held back as long as the end might begin in them.
const BEGUN: &str = "the attack has begun";
/// Asked of the machine while its guest has lost its way.
const QUESTIONS: usize = 60;
const PAUSE: Duration = Duration::from_millis(200);

fn asked(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}"))
    })
}

/// Far longer than so many rounds take.
fn patience(rounds: u64) -> Duration {
    Duration::from_secs(120 + 60 * rounds)
}

/// Where servers are entered: `at=` those addresses.
fn entries() -> String {
    let workspace = place::workspace().unwrap();
    let built = bare::system(&workspace, &Toolchain::find(Permission::default()).unwrap()).unwrap();
    let entry = |name: &String| {
        let file = fs::read(built.program(name)).unwrap();
        // `e_entry` of an ELF file.
        u64::from_le_bytes(file[24..32].try_into().unwrap())
    };
    let entries: BTreeSet<u64> = bare::build::images(&workspace)
        .unwrap()
        .iter()
        .map(entry)
        .collect();
    format!(
        "at={}",
        entries
            .iter()
            .map(|entry| format!("{entry:x}"))
            .collect::<Vec<_>>()
            .join(",")
    )
}

/// Linux, under attack; what its kernel complains of comes behind what the attacker says.
fn attack(options: &str) -> Boot {
    let (rounds, seed) = (asked(VARIABLES[0], ROUNDS), asked(VARIABLES[1], 1));
    let more = std::env::var(VARIABLES[2]).unwrap_or_default();
    let attacker = format!(
        "echo {BEGUN}, and so it goes on; /attacker {seed} {rounds} {options} {more}; status=$?"
    );
    let command =
        format!("{attacker}; dmesg | grep -E 'BUG|WARNING|Oops|Call Trace'; exit $status");
    Boot::guest("linux")
        .program("attacker", "attacker")
        .append(LINUX)
        .exec(&command)
        .patience(patience(rounds))
}

/// Differences that are shown.
const SHOWN: usize = 20;

/// What the attacker said, without how long its cases took, which it tells with the option `facts`.
fn said(booted: &Booted) -> Vec<&str> {
    let lines = booted.console.lines();
    lines.filter(|line| !line.ends_with(" ms")).collect()
}

fn assert_same(mine: &Booted, its: &Booted) {
    let (mine, its) = (said(mine), said(its));
    let different: Vec<_> = mine
        .iter()
        .zip(&its)
        .filter(|(mine, its)| mine != its)
        .take(SHOWN)
        .collect();
    assert!(different.is_empty(), "{different:#?}");
    assert_eq!(mine.len(), its.len(), "lines on Atoll and without it");
}

/// That nobody notices, and that the attacker says the same as directly in QEMU.
fn assert_contained(boot: &Boot) {
    let direct = boot.clone().direct().run().unwrap();
    let booted = boot.run().unwrap();
    for one in [&direct, &booted] {
        assert_eq!(
            (one.status, &one.ended.end),
            (0, &End::PowerOff),
            "{}\n{}",
            one.console,
            one.log
        );
    }
    assert!(
        !booted.log.contains("fault"),
        "{}\n{}",
        booted.console,
        booted.log
    );
    assert_same(&booted, &direct);
}

#[test]
fn an_unprivileged_attacker_in_linux_harms_nobody_and_sees_what_it_sees_without_atoll() {
    assert_contained(&attack(&entries()));
}

/// QEMU pops with the kernel's rights in a user's IRET, so that Linux takes a fault of its own, and mixes addresses up in segments with a base, so
/// that Linux may hang. A processor has no such gaps; but nothing that is not the guest's may follow from them.
#[test]
fn where_qemu_leads_linux_astray_the_host_goes_on() {
    let astray = attack("far astray case=segments,bytes,jumps");
    let (booted, answers) = astray
        .visit(|machine| {
            assert!(machine.wait_for(BEGUN), "it has ended before it began");
            let mut line = Line::at("attacker", machine)?;
            (0..QUESTIONS).try_for_each(|_| {
                sleep(PAUSE);
                tables::machine(&mut line).map(|_| ())
            })
        })
        .unwrap();
    assert!(answers.is_ok(), "{answers:?}\n{}", booted.log);
    assert!(!booted.log.contains("fault"), "{}", booted.log);
}

/// Kills servers in turn, from when Linux is under attack until the machine is gone; how often.
fn kill_in_turn(machine: &Visit<'_>) -> usize {
    if !machine.wait_for(BEGUN) {
        return 0;
    }
    let mut line = Line::at("attacker", machine).unwrap();
    SERVERS
        .iter()
        .cycle()
        .take_while(|server| orders::kill(&mut line, server).is_ok())
        .count()
}

/// Servers whose entry nobody but a restart would come by often, and those that a guest keeps busy.
const SERVERS: [&str; 6] = ["supervisor", "irqchip", "cpuid", "mmu", "uart", "control"];

#[test]
fn its_breakpoints_hit_no_server_while_servers_are_restarted_all_the_time() {
    let boot = attack(&format!(
        "case=sweep,watchpoints,steps,storms {}",
        entries()
    ));
    let (booted, killed) = boot.meanwhile(kill_in_turn).unwrap();
    assert_eq!(
        (booted.status, &booted.ended.end),
        (0, &End::PowerOff),
        "{}\n{}",
        booted.console,
        booted.log
    );
    let other = booted
        .log
        .lines()
        .find(|line| line.contains("fault") && !line.contains("broke a rule: Killed"));
    assert_eq!(other, None, "{}", booted.log);
    assert!(killed >= 2 * SERVERS.len(), "only {killed} were killed");
}
