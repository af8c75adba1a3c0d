//! Instructions with an operand in a device's memory, held against themselves: the same bytes with the same registers do to RAM what they
//! must do to a register that stores.

use core::fmt::Debug;

use crate::alone::Alone;
use crate::apic::{ICR_HIGH, SELECT};
use crate::check::equal;
use crate::memory::{load, load64, store, store64};
use crate::run::register::{R9, RAX, RCX, RDI, RDX, RSI};
use crate::run::{Code, Run, STATUS};

/// An instruction whose operand is at RDI (for loads of string instructions at RSI, which is the same).
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Its text.
    pub name: &'static str,
    /// Its bytes, and INT3.
    pub code: Code,
}

/// Assembles instructions into an array of forms.
#[macro_export]
macro_rules! forms {
    ($($text:expr),+ $(,)?) => {
        [$($crate::forms::Form { name: $text, code: $crate::code!($text) }),+]
    };
}

/// Flags that an instruction defines.
pub mod flags {
    /// All of them.
    pub const ALL: u64 = super::STATUS;
    /// All but AF: logic.
    pub const LOGIC: u64 = super::STATUS & !(1 << 4);
    /// CF: bit tests.
    pub const CARRY: u64 = 1;
}

/// A device register that stores what is written.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    at: u64,
    mask: u32,
}

/// Eight bits that any width reaches; what is above them and beside them reads as zero.
pub const NARROW: Device = Device {
    at: SELECT,
    mask: 0xff,
};
/// 32 bits that only 32-bit accesses reach.
pub const WIDE: Device = Device {
    at: ICR_HIGH,
    mask: u32::MAX,
};

/// Values that the operand has, and the register.
const VALUES: [u64; 6] = [0x00, 0x01, 0x5a, 0x7f, 0x80, 0xff];

/// What an instruction left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    general: [u64; 16],
    status: u64,
    memory: u32,
    end: (u8, u64),
}

/// What is run beside the form: flags on entry and the count.
#[derive(Clone, Copy, Debug, Default)]
pub struct With {
    /// RFLAGS.
    pub flags: u64,
    /// RCX.
    pub count: u64,
}

/// RAM around the operand. Its address ends in zeros as the devices' do: an instruction that changes a part of RDI or RSI must leave the
/// same beside it.
#[repr(align(4096))]
struct Cell(#[expect(dead_code, reason = "only its address is used")] [u64; 64]);

static CELL: Alone<Cell> = Alone::new(Cell([0; 64]));

/// Runs the form on the operand at `at`.
fn run(form: &Form, at: u64, source: u64, with: With) -> Left {
    let run = Run::new(form.code)
        .with(RAX, source)
        .with(R9, source ^ 0xa5)
        .with(RDX, 0)
        .with(RCX, with.count);
    let stop = run.with(RDI, at).with(RSI, at).flags(with.flags).go();
    let mut general = stop.general;
    general[RDI] = general[RDI].wrapping_sub(at);
    general[RSI] = general[RSI].wrapping_sub(at);
    Left {
        general,
        status: stop.status(),
        memory: 0,
        end: stop.place(),
    }
}

fn on_ram(form: &Form, device: Device, old: u32, source: u64, with: With) -> Left {
    let start = CELL.get().addr() as u64;
    let cell = start + 256;
    for word in 0..64 {
        store64(start + 8 * word, 0);
    }
    store64(cell, u64::from(old));
    let left = run(form, cell, source, with);
    Left {
        memory: load64(cell) as u32 & device.mask,
        ..left
    }
}

fn on_device(form: &Form, device: Device, old: u32, source: u64, with: With) -> Left {
    store(device.at, old);
    let left = run(form, device.at, source, with);
    Left {
        memory: load(device.at) & device.mask,
        ..left
    }
}

/// Checks a form with many values; `defined` are the flags that count. The line ends in a digest of all that came out.
pub fn same(form: &Form, device: Device, defined: u64, with: With) {
    // 32 bits of each value: its lowest byte in all of them, or its bits spread to both ends.
    let spread = |value: u64| {
        if device.mask == 0xff {
            value
        } else {
            value << 24 | value >> 4
        }
    };
    let mut digest: u64 = 0xcbf2_9ce4_8422_2325;
    for old in VALUES {
        for source in VALUES {
            let (old, source) = (spread(old) as u32, 0x1122_3344_5566_7700 ^ spread(source));
            let mut want = on_ram(form, device, old, source, with);
            let mut got = on_device(form, device, old, source, with);
            want.status &= defined;
            got.status &= defined;
            if got != want {
                return equal(Named(form.name, old, source), got, want);
            }
            for value in
                got.general
                    .into_iter()
                    .chain([got.status, u64::from(got.memory), got.end.1])
            {
                // The stack is where it is.
                digest = (digest ^ value)
                    .wrapping_mul(0x100_0000_01b3)
                    .rotate_left(17);
            }
        }
    }
    equal(form.name, digest, digest);
}

/// Checks forms one by one.
pub fn all(forms: &[Form], device: Device, defined: u64, with: With) {
    for form in forms {
        same(form, device, defined, with);
    }
}

struct Named(&'static str, u32, u64);

impl core::fmt::Display for Named {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            formatter,
            "{} with {:x} there and {:x} in the register",
            self.0, self.1, self.2
        )
    }
}
