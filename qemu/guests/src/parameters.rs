//! What the guest's command line asks for: words of the form `name=number`, decimal or, with `0x`, hexadecimal.

use core::str;

use crate::memory;

/// The loader's information has a command line (Multiboot 0.6.96, §3.3).
const HAS_COMMAND_LINE: u32 = 1 << 2;
/// A command line is no longer than that.
const LONGEST: usize = 4096;

/// The number that the command line gives `name`, or else `default`.
///
/// # Panics
/// What stands there is no number.
#[must_use]
pub fn number(name: &str, default: u64) -> u64 {
    let value = words().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.map_or(default, |text| {
        let parsed = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        parsed.unwrap_or_else(|_| {
            panic!("{name}={text} is no number, such as {name}=16 or {name}=0x10")
        })
    })
}

fn words() -> impl Iterator<Item = &'static str> {
    unsafe extern "C" {
        static guest_information: u32;
    }
    // SAFETY: the entry has written it, and nobody does later.
    let information = unsafe { (&raw const guest_information).read_volatile() } as usize;
    let field = |offset: usize| memory::load((information + offset) as u64);
    let bytes: &[u8] = if field(0) & HAS_COMMAND_LINE == 0 {
        &[]
    } else {
        let line = field(16) as usize;
        let byte = |at: usize| {
            let byte = core::ptr::with_exposed_provenance::<u8>(line + at);
            // SAFETY: the loader has ended the line with a zero, which is looked for from its start.
            unsafe { byte.read() }
        };
        let length = (0..LONGEST)
            .find(|length| byte(*length) == 0)
            .unwrap_or(LONGEST);
        // SAFETY: so many bytes are there, and nobody writes them.
        unsafe {
            core::slice::from_raw_parts(core::ptr::with_exposed_provenance::<u8>(line), length)
        }
    };
    str::from_utf8(bytes)
        .unwrap_or_default()
        .split_ascii_whitespace()
}
