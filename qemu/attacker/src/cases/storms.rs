//! Signals: from timers as many as Linux sends, while the child's FPU is full; and from exceptions whose handlers come back to them. How many
//! there are is counted, and what they interrupt must not notice.

use nix::libc::user_regs_struct;
use nix::sys::signal::Signal;

use super::{Ground, expect};
use crate::puppet::{CODE, DATA, FLAGS, INT3, Puppet, Stop, Wrong};

const SIGACTION: u64 = 13;
const SETITIMER: u64 = 38;
const TIMER_CREATE: u64 = 222;
const TIMER_SETTIME: u64 = 223;
/// `SA_SIGINFO | SA_RESTORER`.
const ACTION: u64 = 0x0400_0004;
/// Where the handler is, and what it returns to.
const HANDLER: u64 = CODE + 0x1000;
const RESTORER: u64 = CODE + 0x1800;
/// What the handler counts; numbers for the FPU, and what is left of them.
const COUNT: u64 = DATA + 0x800;
const NUMBERS: u64 = DATA + 0x1000;
const RESULTS: u64 = DATA + 0x2000;
const HANDLED: [Signal; 8] = [
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGUSR1,
    Signal::SIGSEGV,
    Signal::SIGFPE,
    Signal::SIGTRAP,
    Signal::SIGILL,
];
/// More stops than this for so few signals are none.
const PATIENCE: u64 = 50;
/// Signals of one storm.
const SIGNALS: u8 = 60;

pub(super) fn run(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    timers(ground)?;
    exceptions(ground)
}

/// A child with a handler, which spoils every register of the FPU that it can.
fn handling() -> Result<Puppet, Wrong> {
    let puppet = Puppet::new()?;
    let mut handler = Vec::new();
    for register in 0..8_u8 {
        // xorps, of the lower eight and of the upper eight.
        handler.extend([0x0f, 0x57, 0xc0 | register << 3 | register]);
        handler.extend([0x45, 0x0f, 0x57, 0xc0 | register << 3 | register]);
    }
    // fninit; fldpi; inc qword [COUNT]; ret
    handler.extend([0xdb, 0xe3, 0xd9, 0xeb, 0x48, 0xff, 0x04, 0x25]);
    handler.extend((COUNT as u32).to_le_bytes());
    handler.push(0xc3);
    puppet.write(HANDLER, &handler)?;
    puppet.write(RESTORER, &[0xb8, 15, 0, 0, 0, 0x0f, 0x05])?;
    puppet.write(
        DATA,
        &[HANDLER, ACTION, RESTORER, 0]
            .map(u64::to_le_bytes)
            .concat(),
    )?;
    for signal in HANDLED {
        expect(
            "sigaction",
            puppet.call(SIGACTION, [signal as u64, DATA, 0, 8, 0, 0])?,
            0,
        )?;
    }
    puppet.write(COUNT, &[0; 8])?;
    Ok(puppet)
}

fn count(puppet: &Puppet) -> Result<u64, Wrong> {
    let bytes = puppet.read(COUNT, 8)?;
    Ok(bytes
        .iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u64::from(*byte)))
}

/// Fills the FPU, waits for the signals, and writes out what is in the FPU then.
fn watcher() -> Vec<u8> {
    let mut code = Vec::new();
    for register in 0..16_u8 {
        // movups xmm, [rsi + 16 * n]
        code.extend(sse(0x10, register));
    }
    for place in 0..6_u8 {
        // fld qword [rdx + 8 * n]
        code.extend([0xdd, 0x42, 8 * place]);
    }
    // inc ebp; cmp qword [COUNT], SIGNALS; jb
    code.extend([0xff, 0xc5, 0x48, 0x83, 0x3c, 0x25]);
    code.extend((COUNT as u32).to_le_bytes());
    code.extend([SIGNALS, 0x72, 0xf3]);
    code.extend([0x48, 0x89, 0xfe]); // mov rsi, rdi
    for register in 0..16_u8 {
        code.extend(sse(0x11, register));
    }
    for place in (0..6_u8).rev() {
        // fstp qword [r8 + 8 * n]
        code.extend([0x41, 0xdd, 0x58, 8 * place]);
    }
    code.push(INT3);
    code
}

/// MOVUPS between a register and `[rsi + 16 * register]`.
fn sse(opcode: u8, register: u8) -> Vec<u8> {
    let mut code = if register < 8 { vec![] } else { vec![0x44] };
    code.extend([0x0f, opcode, 0x86 | (register & 7) << 3]);
    code.extend((u32::from(register) * 16).to_le_bytes());
    code
}

/// A system call that must succeed, while signals come: they are not delivered.
fn quiet(
    puppet: &Puppet,
    number: u64,
    [rdi, rsi, rdx, r10, r8, r9]: [u64; 6],
) -> Result<(), Wrong> {
    puppet.load(&[0x0f, 0x05, INT3])?;
    puppet.set(user_regs_struct {
        rax: number,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        ..puppet.fresh()
    })?;
    puppet.run_to(CODE + 3)?;
    expect(&format!("system call {number}"), puppet.registers()?.rax, 0)
}

fn timers(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    let puppet = handling()?;
    for which in 0..3 {
        let period = 700 + ground.dice.below(2000);
        puppet.write(DATA, &[0, period, 0, period].map(u64::to_le_bytes).concat())?;
        quiet(&puppet, SETITIMER, [which, DATA, 0, 0, 0, 0])?;
    }
    for _ in 0..ground.dice.below(8) {
        let period = (1 + ground.dice.below(4)) * 1_000_000 + ground.dice.below(1_000_000);
        puppet.write(DATA, &[0, period, 0, period].map(u64::to_le_bytes).concat())?;
        quiet(&puppet, TIMER_CREATE, [1, 0, DATA + 0x40, 0, 0, 0])?;
        let id = u64::from(puppet.read(DATA + 0x40, 1)?[0]);
        quiet(&puppet, TIMER_SETTIME, [id, 0, DATA, 0, 0, 0])?;
    }
    let numbers: Vec<u8> = (0..32)
        .flat_map(|_| ground.dice.any().to_le_bytes())
        .collect();
    // Doubles that the x87 gives back as they were: none of them a NaN or a denormal.
    let doubles: Vec<u8> = (0..6)
        .flat_map(|_| (ground.dice.any() >> 12 | 0x3ff0_0000_0000_0000).to_le_bytes())
        .collect();
    puppet.write(NUMBERS, &numbers)?;
    puppet.write(NUMBERS + 0x400, &doubles)?;
    puppet.write(COUNT, &[0; 8])?;
    let code = watcher();
    puppet.load(&code)?;
    let (from, to) = (NUMBERS + 0x400, RESULTS + 0x400);
    puppet.set(user_regs_struct {
        rsi: NUMBERS,
        rdi: RESULTS,
        rdx: from,
        r8: to,
        ..puppet.fresh()
    })?;
    let mut pending = None;
    for _ in 0..PATIENCE * u64::from(SIGNALS) {
        match puppet.deliver(pending)? {
            Stop::Signal(Signal::SIGTRAP, _)
                if puppet.registers()?.rip == CODE + code.len() as u64 =>
            {
                expect(
                    "XMM registers behind the storm",
                    puppet.read(RESULTS, 256)?,
                    numbers,
                )?;
                return expect(
                    "x87 registers behind the storm",
                    puppet.read(to, 48)?,
                    doubles,
                );
            }
            Stop::Signal(signal @ (Signal::SIGALRM | Signal::SIGVTALRM | Signal::SIGPROF), _) => {
                pending = Some(signal)
            }
            stop => {
                return Err(format!(
                    "in a storm of timers: {stop} at {:#x}",
                    puppet.registers()?.rip
                ));
            }
        }
    }
    Err(format!(
        "{} signals have reached the handler, of {SIGNALS} and more",
        count(&puppet)?
    ))
}

/// Exceptions whose handlers return to them: as many as were delivered.
fn exceptions(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    // Reads of nothing, of a kernel's, of no address; a division by zero; undefined; INT3, ICEBP and a step, which go on by themselves.
    let all: [(&[u8], u64); 8] = [
        (&[0x48, 0x8b, 0x00], 0),
        (&[0x48, 0x8b, 0x00], 0xffff_8000_0000_0000),
        (&[0x48, 0x8b, 0x00], 1 << 63),
        (&[0x31, 0xc9, 0xf7, 0xf1], 7),
        (&[0x0f, 0x0b], 0),
        (&[0xcc, 0xeb, 0xfd], 0),
        (&[0xf1, 0xeb, 0xfd], 0),
        (&[0x0f, 0xa2, 0xeb, 0xfc], 0),
    ];
    let puppet = handling()?;
    for _ in 0..10 {
        let (code, rax) = ground.dice.pick(&all);
        let eflags = if code[0] == 0x0f && code[1] == 0xa2 {
            FLAGS | 0x100
        } else {
            FLAGS
        };
        puppet.load(code)?;
        puppet.set(user_regs_struct {
            rax,
            eflags,
            ..puppet.fresh()
        })?;
        puppet.write(COUNT, &[0; 8])?;
        let times = 1 + ground.dice.below(40);
        let mut pending = None;
        for _ in 0..=times {
            match puppet.deliver(pending)? {
                Stop::Signal(signal, _) if HANDLED.contains(&signal) => pending = Some(signal),
                stop => {
                    return Err(format!(
                        "{code:x?}: {stop} at {:#x}",
                        puppet.registers()?.rip
                    ));
                }
            }
        }
        expect(
            &format!("handlers of {code:x?} that ran"),
            count(&puppet)?,
            times,
        )?;
        let registers = puppet.registers()?;
        ground.facts.note(format_args!(
            "{code:x?} {times} times: {:?} at {:x}",
            pending, registers.rip
        ));
    }
    Ok(())
}
