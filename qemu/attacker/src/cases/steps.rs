//! Single steps over what steps have gone astray at: instructions that leave the guest, system calls, loads of SS, changes of TF, breakpoints
//! on what is stepped over.

use nix::libc::user_regs_struct;

use super::{Ground, is_exception};
use crate::facts::Facts;
use crate::puppet::{CODE, FLAGS, INT3, Puppet, Stop, Wrong};

/// Pieces of code, by what they do.
const PIECES: [(&str, &[u8]); 24] = [
    ("cpuid", &[0x31, 0xc0, 0x0f, 0xa2]),
    (
        "cpuid with prefixes",
        &[0x31, 0xc0, 0x66, 0x2e, 0xf3, 0x48, 0x0f, 0xa2],
    ),
    ("syscall", &[0xb8, 39, 0, 0, 0, 0x0f, 0x05]),
    ("int 0x80", &[0xb8, 20, 0, 0, 0, 0xcd, 0x80]),
    ("rdtsc", &[0x0f, 0x31]),
    ("pushf, popf", &[0x9c, 0x9d]),
    (
        "tf cleared",
        &[0x9c, 0x81, 0x24, 0x24, 0xff, 0xfe, 0xff, 0xff, 0x9d, 0x90],
    ),
    (
        "tf set",
        &[
            0x9c, 0x81, 0x0c, 0x24, 0x00, 0x01, 0x00, 0x00, 0x9d, 0x90, 0x90,
        ],
    ),
    (
        "nt set",
        &[
            0x9c, 0x81, 0x0c, 0x24, 0x00, 0x40, 0x00, 0x00, 0x9d, 0x90, 0x9c, 0x9d,
        ],
    ),
    (
        "ac set",
        &[0x9c, 0x81, 0x0c, 0x24, 0x00, 0x00, 0x04, 0x00, 0x9d, 0x90],
    ),
    ("int3", &[0xcc, 0x90]),
    ("icebp", &[0xf1, 0x90]),
    ("ud2", &[0x0f, 0x0b]),
    ("ss loaded", &[0x8c, 0xd0, 0x8e, 0xd0, 0x90, 0x90]),
    (
        "ss loaded, cpuid",
        &[0x8c, 0xd0, 0x8e, 0xd0, 0x0f, 0xa2, 0x90],
    ),
    ("ss loaded, int3", &[0x8c, 0xd0, 0x8e, 0xd0, 0xcc, 0x90]),
    ("ss loaded, icebp", &[0x8c, 0xd0, 0x8e, 0xd0, 0xf1, 0x90]),
    (
        "ss loaded, syscall",
        &[0xb8, 39, 0, 0, 0, 0x8c, 0xd1, 0x8e, 0xd1, 0x0f, 0x05, 0x90],
    ),
    ("rep movsb", &[0xb9, 3, 0, 0, 0, 0xf3, 0xa4]),
    // push ss; push rsp + 8 as it was; pushf; push cs; lea rax, [rip + 5]; push rax; iretq; nop
    (
        "iretq",
        &[
            0x48, 0x89, 0xe0, 0x8c, 0xd1, 0x51, 0x50, 0x9c, 0x8c, 0xc9, 0x51, 0x48, 0x8d, 0x05, 3,
            0, 0, 0, 0x50, 0x48, 0xcf, 0x90,
        ],
    ),
    (HYPERCALL, &[0x0f, 0x01, 0xd9, 0x90]),
    ("xgetbv", &[0x31, 0xc9, 0x0f, 0x01, 0xd0]),
    ("sldt", &[0x0f, 0x00, 0xc2]),
    ("str", &[0x0f, 0x00, 0xcd]),
];
/// What is not noted.
const HYPERCALL: &str = "vmmcall";
/// What is only done where far returns are.
const FAR: &str = "iretq";
/// Steps through one sequence, at most.
const STEPS: usize = 48;
/// Sequences that once ended differently on two machines, played in each round before what is drawn.
///
/// The first two belong together: where a user's VMMCALL does not fault, the tracer's last step was over a POPF that sets TF, and Linux has
/// the next sequence, if the same child runs it, begin with TF as its own. The others are emulated by a Linux with UMIP, which then takes the
/// step over them and the next instruction as one.
const FOUND: [(How, &[&str]); 6] = [
    (How::Stepped, &["vmmcall", "tf set"]),
    (How::SteppedOverCalls, &["rep movsb"]),
    (How::Stepped, &["sldt", "xgetbv"]),
    (How::SteppedOverCalls, &["str", "rdtsc"]),
    (How::OwnTrapFlag, &["sldt", "str"]),
    (How::Free, &["str", "int3", "sldt"]),
];

/// How a sequence is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Up to its next stop.
    Free,
    /// With TF set in its own flags.
    OwnTrapFlag,
    /// Step by step, by its tracer.
    Stepped,
    /// The same, but a system call is none.
    SteppedOverCalls,
}

impl How {
    /// By number, as it is drawn and noted.
    const ALL: [Self; 4] = [
        Self::Free,
        Self::OwnTrapFlag,
        Self::Stepped,
        Self::SteppedOverCalls,
    ];
}

/// Those who run the sequences. A step leaves traces with Linux that the next sequence of the same child may show, and so what is not noted has
/// a child of its own.
struct Puppets {
    noted: Puppet,
    unnoted: Puppet,
}

pub(super) fn run(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    let mut puppets = Puppets {
        noted: Puppet::new()?,
        unnoted: Puppet::new()?,
    };
    for (how, names) in FOUND {
        let pieces: Option<Vec<_>> = names
            .iter()
            .map(|name| PIECES.into_iter().find(|piece| piece.0 == *name))
            .collect();
        let pieces = pieces.ok_or_else(|| format!("{names:?} are not all pieces"))?;
        sequence(&mut puppets, ground.facts, &pieces, how, None)?;
    }
    for _ in 0..30 {
        let dice = &mut *ground.dice;
        let mut pieces = Vec::new();
        for _ in 0..1 + dice.below(3) {
            let piece = dice.pick(&PIECES);
            if piece.0 != FAR || ground.far {
                pieces.push(piece);
            }
        }
        let how = dice.pick(&How::ALL);
        let armed = (dice.below(3) == 0).then(|| dice.below(3) as usize);
        sequence(&mut puppets, ground.facts, &pieces, how, armed)?;
    }
    Ok(())
}

/// Runs some pieces, perhaps with a breakpoint on one of them, and notes where it stops.
fn sequence(
    puppets: &mut Puppets,
    facts: &mut Facts,
    pieces: &[(&str, &[u8])],
    how: How,
    armed: Option<usize>,
) -> Result<(), Wrong> {
    let (mut code, mut starts, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (name, piece) in pieces {
        starts.push(CODE + code.len() as u64);
        names.push(*name);
        code.extend(*piece);
    }
    code.extend([INT3, INT3, INT3]);
    // What a user's VMMCALL does is the hypervisor's business.
    let noted = !names.contains(&HYPERCALL);
    let puppet = if noted {
        &mut puppets.noted
    } else {
        &mut puppets.unnoted
    };
    puppet.load(&code)?;
    let flags = if how == How::OwnTrapFlag {
        FLAGS | 0x100
    } else {
        FLAGS
    };
    puppet.set(user_regs_struct {
        eflags: flags,
        ..puppet.fresh()
    })?;
    if let Some(piece) = armed {
        let _ = puppet.debug(0, *starts.get(piece).unwrap_or(&CODE));
        puppet
            .debug(7, 1)
            .map_err(|error| format!("DR7 = 1: {error}"))?;
    }
    let seen = stops(puppet, how, CODE + code.len() as u64)
        .map_err(|wrong| format!("{names:?}: {wrong}"))?;
    if noted {
        facts.note(format_args!(
            "{names:?} by {}, armed {}: {}",
            how as u8,
            armed.is_some(),
            seen.join(" ")
        ));
    }
    if armed.is_some() {
        puppet.disarm()?;
    }
    Ok(())
}

/// Where it stops, with which signals and flags, until it has come to its `end` or to a fault. If it has ended, another takes its place.
fn stops(puppet: &mut Puppet, how: How, end: u64) -> Result<Vec<String>, Wrong> {
    let mut seen = Vec::new();
    while seen.len() < STEPS {
        let stop = match how {
            How::Free | How::OwnTrapFlag => puppet.run()?,
            How::Stepped => puppet.step_into()?,
            How::SteppedOverCalls => puppet.step()?,
        };
        let Stop::Signal(signal, code) = stop else {
            seen.push(stop.to_string());
            *puppet = Puppet::new()?;
            break;
        };
        let registers = puppet.registers()?;
        if !is_exception(signal) {
            return Err(format!("{stop} at {:#x}", registers.rip));
        }
        seen.push(format!(
            "{signal}/{code}+{:x}f{:x}",
            registers.rip.wrapping_sub(CODE),
            registers.eflags & 0x4_4500
        ));
        // What faults would fault for ever.
        if registers.rip >= end
            || registers.rip < CODE
            || matches!(signal.as_str(), "SIGILL" | "SIGSEGV" | "SIGBUS")
        {
            break;
        }
    }
    Ok(seen)
}
