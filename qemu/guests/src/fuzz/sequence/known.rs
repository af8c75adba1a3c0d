//! Sequences that once came to something else on two machines, each by what was looked at that is not the architecture's.

use super::{Kind, LANDING, Sequence, Writer, clear, code, scratch};
use crate::fuzz::random::Random;
use crate::traps::COMPATIBLE_CODE;

/// EFER: SCE, beside LME and LMA.
const SYSTEM_CALLS: u64 = 0x501;
/// The flat data segment.
const DATA: u64 = 0x10;
/// RFLAGS: TF.
const STEPS: u64 = 1 << 8;

/// One of them.
pub struct Known {
    /// What it does.
    pub name: &'static str,
    /// With which exception it ends, and how far behind its beginning.
    pub ends: (u8, u64),
    write: fn(&mut Writer<'_>),
}

/// All of them.
pub const KNOWN: [Known; 5] = [
    Known {
        name: "a breakpoint behind a reading of the clock",
        ends: (1, 23),
        write: |writer| read_clock_up_to(writer, 23),
    },
    Known {
        name: "a breakpoint behind a reading of the clock that is half forgotten",
        ends: (1, 25),
        write: |writer| read_clock_up_to(writer, 25),
    },
    Known {
        name: "a single step over a reading of the clock",
        ends: (1, 9),
        write: |writer| {
            writer.load32(0, 2 | STEPS);
            writer.bytes(&[0x50, 0x9d]);
            writer.read_clock();
        },
    },
    Known {
        name: "a system call by an entry that no sequence has set",
        ends: (3, LANDING + 1),
        write: |writer| {
            allow_system_calls(writer);
            writer.bytes(&[0x0f, 0x05]);
        },
    },
    Known {
        name: "the same in compatibility mode",
        ends: (3, LANDING + 1),
        write: |writer| {
            allow_system_calls(writer);
            // Behind it, and behind five times eleven bytes and IRETQ.
            let behind = code() + 17 + 5 * 11 + 2;
            for value in [DATA, scratch() + 4096, 2, COMPATIBLE_CODE, behind] {
                writer.load64(0, value);
                writer.bytes(&[0x50]);
            }
            writer.bytes(&[0x48, 0xcf, 0x0f, 0x05]);
        },
    },
];

/// A breakpoint at an offset, by 21 bytes, and RDTSC.
fn read_clock_up_to(writer: &mut Writer<'_>, offset: u64) {
    let at = writer.here() + offset;
    writer.load64(0, at);
    writer.bytes(&[0x0f, 0x23, 0xc0]);
    writer.load32(0, 0x402);
    writer.bytes(&[0x0f, 0x23, 0xf8]);
    writer.read_clock();
}

/// By 17 bytes.
fn allow_system_calls(writer: &mut Writer<'_>) {
    writer.model_specific(0xc000_0080, SYSTEM_CALLS);
    writer.bytes(&[0x0f, 0x30]);
}

impl Sequence {
    /// One of those that are known. Only one is there at a time.
    #[must_use]
    pub fn known(known: &Known) -> Self {
        let mut random = Random::new(0);
        clear(random.any());
        let mut writer = Writer::new(&mut random);
        writer.tables = true;
        (known.write)(&mut writer);
        writer.done(Kind::Quiet, [0; 16], 0)
    }
}
