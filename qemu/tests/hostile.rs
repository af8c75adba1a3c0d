//! A hostile user of the control line: noise, orders at random, storms of kills and swaps, and images that are up to no good, while Linux
//! works. The host never ends by itself, answers in the end, and the guest's command ends with its own status and whole output.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use atoll::bare::target::Permission;
use atoll::bare::{self, Toolchain};
use atoll::control::{Line, orders, upload};
use atoll::error::{Error, Result};
use atoll::place;
use atoll::run::End;
use atoll::testing::{Boot, Booted, Visit};
use atoll_manifest::bundle::image;
use atoll_protocol::control::{Ask, Tell};
use atoll_protocol::order::{Order, PIECE_BYTES, checksum};
use atoll_protocol::units::ServerId;
use atoll_sim::dice::Dice;

mod made;

/// How many rounds, and the variables with another number and another seed.
const ROUNDS: u64 = 2;
const VARIABLES: [&str; 2] = ["ATOLL_HOSTILE_ROUNDS", "ATOLL_HOSTILE_SEED"];
/// The guest's work: lines by number, with a program that asks CPUID before each, until an empty line is typed, then a sum; and a status of its own.
const WORK: &str = "exec 3</dev/console; i=0; until read -t 0.01 -u 3 x; do i=$((i+1)); /bin/true; echo line $i; done; read -u 3 x; \
    echo $x after $i; dd if=/dev/zero bs=64k count=64 2>/dev/null | md5sum; exit 42";
/// MD5 of 4 MiB of zeros.
const ZEROS: &str = "b5cfa9d6c8febd618f91ac2843d50a1c";
/// Slots, and one that there is none of.
const SLOTS: u64 = 34;
/// Images that the guest does not mind, by server; and some that are refused.
const SWAPS: [(&str, &str); 10] = [
    ("irqchip", "irqchip-flat"),
    ("irqchip", "irqchip"),
    ("uart", "uart-ring"),
    ("uart", "uart"),
    ("pit", "pit"),
    ("console", "console"),
    ("control", "control"),
    ("mmu", "uart"),
    ("supervisor", "supervisor"),
    ("cpuid", "no-such-image"),
];
/// How often in a row a raw connection hears nothing, each time for 50 ms, until it gives up.
const PATIENCE: u32 = 400;
/// How often control may fail to answer in time.
const TRIES: usize = 20;
/// How the evil image is marked, and the ways that it has.
const MARK: &[u8] = b"its evil way: ";
const WAYS: &[u8] = b"01234567";

fn asked(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}"))
    })
}

/// A raw connection, over which anything can be said.
struct Raw(UnixStream);

impl Raw {
    fn to(control: &Path) -> Result<Self> {
        let stream = UnixStream::connect(control).map_err(Error::file(control))?;
        for set in [UnixStream::set_read_timeout, UnixStream::set_write_timeout] {
            set(&stream, Some(Duration::from_millis(50))).unwrap();
        }
        Ok(Self(stream))
    }

    /// Says something, of which some may be lost while nobody listens, and then asks whether somebody does; false if nobody answers.
    fn say(&mut self, bytes: &[u8], number: u32) -> bool {
        let _ = self.0.write_all(bytes);
        let question = [&[0][..], &frame(Ask::Ping(number))].concat();
        let answer = postcard::to_stdvec_cobs(&Tell::Pong(number)).unwrap();
        let (mut heard, mut came) = (Vec::new(), [0; 4096]);
        let mut quiet = 0;
        while quiet < PATIENCE {
            // The question is lost, too, if a server was killed over it.
            if quiet.is_multiple_of(20) {
                let _ = self.0.write_all(&question);
            }
            // Answers to what was said before come byte by byte.
            let length = self.0.read(&mut came).unwrap_or(0);
            quiet = if length == 0 { quiet + 1 } else { 1 };
            heard.extend_from_slice(&came[..length]);
            if heard.windows(answer.len()).any(|window| window == answer) {
                return true;
            }
        }
        false
    }
}

fn bytes(dice: &mut Dice, most: u64) -> Vec<u8> {
    (0..dice.below(most)).map(|_| dice.any() as u8).collect()
}

fn frame(ask: Ask<'_>) -> Vec<u8> {
    postcard::to_stdvec_cobs(&ask).unwrap()
}

/// Something to say: noise, part of a frame, too long a frame, or a frame with anything in it.
fn anything(dice: &mut Dice) -> Vec<u8> {
    let piece = bytes(dice, PIECE_BYTES as u64 + 40);
    let number = [
        0,
        1,
        PIECE_BYTES as u64,
        1 << 20,
        dice.any() >> 32,
        u64::from(u32::MAX),
    ][dice.below(6) as usize] as u32;
    let slot = dice.below(SLOTS) as u8;
    let server = ServerId::new(slot).unwrap_or(ServerId::SUPERVISOR);
    let name: String = bytes(dice, 40)
        .into_iter()
        .map(|byte| char::from(byte & 0x7f))
        .collect();
    let sum = if dice.below(2) == 0 {
        checksum(&piece)
    } else {
        dice.any()
    };
    match dice.below(10) {
        0 => bytes(dice, 700),
        1 => vec![0; dice.below(600) as usize],
        2 => vec![b'A'; dice.below(4000) as usize],
        3 => frame(Ask::Order(Order::Upload(number, dice.any()))),
        4 => frame(Ask::Order(Order::Piece(number, sum, &piece))),
        5 => frame(Ask::Order(Order::Swap(
            server,
            dice.below(2) == 0,
            [None, Some(&name[..])][dice.below(2) as usize],
        ))),
        6 => frame(Ask::Dump(slot)),
        7 => [Ask::Servers, Ask::Exits, Ask::Machine, Ask::Ping(number)]
            .map(frame)
            .concat(),
        8 => {
            let whole = frame(Ask::Order(Order::Piece(number, sum, &piece)));
            whole[..dice.below(whole.len() as u64) as usize].to_vec()
        }
        // Also one with the number of no server, which cannot be said otherwise.
        _ => match postcard::to_stdvec(&Ask::Order(Order::Kill(server))).unwrap()[..] {
            [ask, order, _] => postcard::to_stdvec_cobs(&(ask, order, slot)).unwrap(),
            _ => unreachable!("a kill is two tags and a number"),
        },
    }
}

/// A line that answers, whatever was said before.
fn answering(machine: &Visit<'_>) -> Result<Line> {
    let mut tries = 0;
    loop {
        // What is left of earlier answers is passed over.
        let mut line = Line::at("hostile", machine)?;
        match orders::find(&mut line, "supervisor") {
            Err(_) if tries < TRIES => tries += 1,
            found => return found.map(|_| line),
        }
    }
}

/// An image that is none: of a random length, with a program's beginning or without.
fn garbage(dice: &mut Dice, program: &[u8]) -> Vec<u8> {
    let mut image = bytes(dice, 3000);
    let kept = dice.below(200) as usize;
    if image.len() > kept {
        image[..kept].copy_from_slice(&program[..kept]);
    }
    if image.is_empty() { vec![0] } else { image }
}

/// The evil image, in one of its ways.
fn evil(program: &[u8], way: u8) -> Vec<u8> {
    let place = program
        .windows(MARK.len())
        .position(|window| window == MARK)
        .expect("the mark");
    let mut image = program.to_vec();
    image[place + MARK.len()] = way;
    image
}

/// The same with so much memory behind its data that it can fit nowhere.
fn bloated(program: &[u8], bytes: u64) -> Vec<u8> {
    let mut image = program.to_vec();
    let (start, count) = (64, usize::from(u16::from_le_bytes([image[56], image[57]])));
    // Its last segment that can be written: `p_flags` is 6, `p_memsz` is 40 bytes on.
    let writable = (0..count)
        .map(|number| start + 56 * number)
        .rfind(|at| image[at + 4] == 6)
        .expect("a segment for data");
    image[writable + 40..writable + 48].copy_from_slice(&bytes.to_le_bytes());
    image
}

/// Sends an image and orders it to be swapped in; what comes of that does not matter.
fn put(machine: &Visit<'_>, image: &[u8]) -> Result<()> {
    let mut line = answering(machine)?;
    if upload::upload(&mut line, image, |_| {}).is_ok() {
        let _ = orders::swap_uploaded(&mut line, "cpuid", true);
    }
    Ok(())
}

/// A crate of the evil server, built; its image.
fn build() -> Vec<u8> {
    let made = made::made("cpuid", &[]);
    fs::write(
        made.dir.join("src/lib.rs"),
        include_str!("hostile/evil.rs.in"),
    )
    .unwrap();
    let toolchain = Toolchain::find(Permission::default()).unwrap();
    let program = bare::build::own(&place::workspace().unwrap(), &toolchain, &made.dir).unwrap();
    image::strip(&program, &fs::read(&program).unwrap()).unwrap()
}

/// Whatever a hostile user does in one round.
fn round(machine: &Visit<'_>, dice: &mut Dice, program: &[u8], printed: &mut usize) -> Result<()> {
    let mut raw = Raw::to(machine)?;
    for number in 0..12 {
        let said: Vec<u8> = (0..5).flat_map(|_| anything(dice)).collect();
        if !raw.say(&said, number) {
            return Err(Error::Silent {
                name: "hostile".into(),
                what: format!("nobody answers after {said:x?}"),
            });
        }
    }
    drop(raw);
    let mut line = answering(machine)?;
    for _ in 0..6 {
        let (server, image) = SWAPS[dice.below(SWAPS.len() as u64) as usize];
        let _ = orders::swap(&mut line, server, image, dice.below(2) == 0);
        let _ = orders::kill(&mut line, SWAPS[dice.below(SWAPS.len() as u64) as usize].0);
    }
    drop(line);
    put(machine, &garbage(dice, program))?;
    put(machine, &bloated(program, dice.below(256 << 20)))?;
    for _ in 0..2 {
        put(
            machine,
            &evil(program, WAYS[dice.below(WAYS.len() as u64) as usize]),
        )?;
        // It is the guest that asks it.
        *printed = machine.wait_for_lines(*printed + 2).unwrap_or(*printed);
        let _ = orders::swap(&mut answering(machine)?, "cpuid", "cpuid", true);
    }
    Ok(())
}

/// Linux works while this is done to the machine.
fn under_linux(disturb: impl FnOnce(&Visit<'_>) -> Result<()> + Send) -> Booted {
    let boot = Boot::guest("linux")
        .exec(WORK)
        .patience(Duration::from_secs(120 + 60 * asked(VARIABLES[0], ROUNDS)));
    let visit = boot.meanwhile(|machine| {
        let disturbed = if machine.wait_for("line 1") {
            disturb(machine)
        } else {
            Ok(())
        };
        machine.press("\nenough\n");
        disturbed
    });
    let (booted, disturbed) = visit.unwrap();
    if let Err(error) = disturbed {
        panic!(
            "{error}; it ended by {:?}\n{}\n{}",
            booted.ended.end, booted.ended.last_lines, booted.log
        );
    }
    booted
}

#[test]
fn whatever_a_hostile_user_of_the_control_line_orders_the_host_stays_and_linux_works_on() {
    let program = build();
    let booted = under_linux(|machine| {
        let mut dice = Dice::new(asked(VARIABLES[1], 1));
        let mut printed = 0;
        for _ in 0..asked(VARIABLES[0], ROUNDS) {
            round(machine, &mut dice, &program, &mut printed)?;
        }
        answering(machine).map(|_| ())
    });
    assert_eq!(
        (booted.status, &booted.ended.end),
        (42, &End::PowerOff),
        "{}\n{}",
        booted.ended.last_lines,
        booted.log
    );
    let last = booted
        .console
        .lines()
        .find_map(|line| line.strip_prefix("enough after "));
    let lines: u32 = last
        .and_then(|number| number.parse().ok())
        .expect("the guest's last line");
    let mut wanted: Vec<String> = (1..=lines).map(|number| format!("line {number}")).collect();
    wanted.extend([format!("enough after {lines}"), format!("{ZEROS}  -")]);
    let different = booted
        .console
        .lines()
        .zip(&wanted)
        .find(|(mine, its)| mine != its);
    assert_eq!(
        (different, booted.console.lines().count()),
        (None, wanted.len()),
        "{}",
        booted.log
    );
    // That something was done at all: servers were killed, and others took their places.
    let rounds = asked(VARIABLES[0], ROUNDS) as usize;
    for done in ["broke a rule: Killed", "a successor has taken its place"] {
        assert!(
            booted.log.matches(done).count() >= rounds,
            "{done}: hardly ever\n{}",
            booted.log
        );
    }
    let ours = |line: &&str| {
        !line.contains("Killed") && !line.contains("`cpuid`") && !line.contains("successor")
    };
    let other = booted
        .log
        .lines()
        .filter(|line| line.contains("] fault: server "))
        .find(ours);
    assert_eq!(other, None, "{}", booted.log);
}
