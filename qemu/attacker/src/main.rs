//! An unprivileged process in the guest's Linux that does what hypervisors and kernels have fallen for: `attacker SEED ROUNDS [OPTION..]`.
//!
//! Each round is drawn from the seed and bounded. What can be known beforehand is checked at once; what depends on the CPU is noted, and the
//! notes' hash is printed: directly in QEMU and on Atoll they must be the same. So for each case of each round there is one line,
//! `ROUND CASE ok HASH` or `ROUND CASE wrong: WHY`, and the status is 0 if nothing was wrong.
//!
//! - `case=NAME,NAME,..`: these only. `facts`: prints them, and how long each case took.
//! - `far`: with IRET and far returns, which need a Linux without SMAP where QEMU's TCG is the CPU.
//! - `astray`: with code segments that begin within a page, and bases in DS: QEMU's TCG loses its way there, Linux with it, and it may never end.
//! - `at=HEX,HEX,..`: addresses to aim breakpoints at in each round, before what is drawn.
//!
//! Most cases run machine code in a child that is traced ([`puppet`]): what is unsafe to do is done there, and all that is done to it is safe.
#![deny(unsafe_code)]

mod cases;
mod dice;
mod facts;
mod puppet;

use std::process::ExitCode;
use std::time::Instant;

use nix::sys::prctl;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

use dice::Dice;
use facts::Facts;

/// Whose rights it has.
const NOBODY: u32 = 1000;

/// What was asked for.
struct Options {
    seed: u64,
    rounds: u64,
    cases: Option<String>,
    facts: bool,
    targets: Vec<u64>,
    far: bool,
    astray: bool,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut number = || arguments.next()?.parse().ok();
        let mut options = Self {
            seed: number()?,
            rounds: number()?,
            cases: None,
            facts: false,
            targets: Vec::new(),
            far: false,
            astray: false,
        };
        for argument in arguments {
            match argument.split_once('=') {
                Some(("case", name)) => options.cases = Some(name.to_owned()),
                Some(("at", list)) => {
                    let parsed: Option<Vec<u64>> = list
                        .split(',')
                        .map(|text| u64::from_str_radix(text, 16).ok())
                        .collect();
                    options.targets = parsed?;
                }
                None if argument == "facts" => options.facts = true,
                None if argument == "far" => options.far = true,
                None if argument == "astray" => options.astray = true,
                _ => return None,
            }
        }
        Some(options)
    }
}

fn main() -> ExitCode {
    if let [_, what, status] = &std::env::args().collect::<Vec<_>>()[..]
        && what == cases::ENDS
    {
        return ExitCode::from(status.parse().unwrap_or(u8::MAX));
    }
    let Some(options) = Options::read(std::env::args().skip(1)) else {
        eprintln!(
            "attacker: expected SEED ROUNDS [case=NAME,..] [facts] [far] [astray] [at=HEX,..], like: attacker 1 10 at=400000"
        );
        return ExitCode::from(2);
    };
    if let Err(error) = drop_rights() {
        eprintln!("attacker: cannot become user {NOBODY}: {error}");
        return ExitCode::from(2);
    }
    if let Err(error) = puppet::prepare() {
        eprintln!("attacker: {error}");
        return ExitCode::from(2);
    }
    let mut wrong = 0_u64;
    for round in 1..=options.rounds {
        for (number, (name, case)) in (1..).zip(cases::ALL) {
            if options
                .cases
                .as_ref()
                .is_some_and(|only| !only.split(',').any(|one| one == name))
            {
                continue;
            }
            let mut dice = Dice::new(Dice::new(options.seed ^ round << 20 ^ number << 50).any());
            let mut facts = Facts::new(options.facts);
            let mut ground = cases::Ground {
                dice: &mut dice,
                facts: &mut facts,
                targets: &options.targets,
                far: options.far,
                astray: options.astray,
            };
            let begun = Instant::now();
            let ended = case(&mut ground);
            if options.facts {
                println!("  {} ms", begun.elapsed().as_millis());
            }
            match ended {
                Ok(()) => println!("{round} {name} ok {:016x}", facts.hash()),
                Err(why) => {
                    wrong += 1;
                    println!("{round} {name} wrong: {why}");
                }
            }
        }
    }
    ExitCode::from(u8::from(wrong > 0))
}

/// Becomes a user without any rights, who may still trace its children.
fn drop_rights() -> nix::Result<()> {
    if Uid::current().is_root() {
        setgroups(&[])?;
        setgid(Gid::from_raw(NOBODY))?;
        setuid(Uid::from_raw(NOBODY))?;
        prctl::set_dumpable(true)?;
    }
    if setuid(Uid::from_raw(0)).is_ok() {
        Err(nix::Error::EPERM)
    } else {
        Ok(())
    }
}
