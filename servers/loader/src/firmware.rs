//! What a PC's firmware leaves behind: interrupt vectors and data in the first page, and a few bytes of code at the end of the first
//! mebibyte.
//!
//! Systems look for it that were made for BIOSes: where base memory ends (Xen's trampoline, many boot loaders), which ports there are, how
//! the machine is reset (a jump to F000:FFF0). There are no BIOS calls: a software interrupt comes back with CF set, which means that it
//! failed. Hardware interrupts are ended.

use crate::memory::LOW_END;
use crate::placer::Placer;

/// The segment of the code.
const SEGMENT: u16 = 0xf000;
const CODE: u64 = (SEGMENT as u64) << 4;
/// Where a PC's BIOS has an IRET.
const SOFTWARE: u16 = 0xff53;
const FIRST: u16 = 0xff60;
const SECOND: u16 = 0xff70;
const RESET: u16 = 0xffe0;
const START: u16 = 0xfff0;

/// PUSH BP; MOV BP, SP; OR BYTE [BP+6], 1; POP BP; IRET.
const FAIL: &[u8] = &[0x55, 0x89, 0xe5, 0x80, 0x4e, 0x06, 0x01, 0x5d, 0xcf];
/// PUSH AX; MOV AL, 20h; OUT 20h, AL; POP AX; IRET.
const END_FIRST: &[u8] = &[0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf];
/// The same for both controllers.
const END_SECOND: &[u8] = &[0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf];
/// MOV AL, 6; MOV DX, CF9h; OUT DX, AL; HLT; JMP to the HLT.
const RESET_CODE: &[u8] = &[0xb0, 0x06, 0xba, 0xf9, 0x0c, 0xee, 0xf4, 0xeb, 0xfd];
/// JMP F000:FFE0, a date, the model: a PC/AT.
const START_CODE: &[u8; 15] = b"\xea\xe0\xff\x00\xf001/01/26\x00\xfc";

/// The data area.
const DATA: u64 = 0x400;
/// The first serial port, and the equipment: a serial port, an x87 unit.
const COM1: u16 = 0x3f8;
const EQUIPMENT: u16 = 1 << 9 | 1 << 1;
/// KiB of the extended data area, at its beginning.
const EXTENDED_KIB: u8 = 1;

/// Vectors of the hardware's interrupts, as the controllers are programmed.
const FIRST_VECTORS: core::ops::Range<usize> = 0x08..0x10;
const SECOND_VECTORS: core::ops::Range<usize> = 0x70..0x78;

/// Places all of it.
pub(crate) fn place(placer: &mut Placer<'_, '_>) {
    all(&mut |at, bytes| placer.write(at, bytes));
}

/// Makes each part and hands it out with its place.
fn all(write: &mut impl FnMut(u64, &[u8])) {
    let mut vectors = [0; 1024];
    for (number, vector) in vectors.chunks_exact_mut(4).enumerate() {
        let offset = if FIRST_VECTORS.contains(&number) {
            FIRST
        } else if SECOND_VECTORS.contains(&number) {
            SECOND
        } else {
            SOFTWARE
        };
        let [a, b] = offset.to_le_bytes();
        let [c, d] = SEGMENT.to_le_bytes();
        vector.copy_from_slice(&[a, b, c, d]);
    }
    write(0, &vectors);
    write(DATA, &COM1.to_le_bytes());
    // Segment of the extended data area; equipment; KiB below it.
    write(DATA + 0x0e, &((LOW_END >> 4) as u16).to_le_bytes());
    write(DATA + 0x10, &EQUIPMENT.to_le_bytes());
    write(DATA + 0x13, &((LOW_END >> 10) as u16).to_le_bytes());
    write(LOW_END, &[EXTENDED_KIB]);
    for (at, code) in [
        (SOFTWARE, FAIL),
        (FIRST, END_FIRST),
        (SECOND, END_SECOND),
        (RESET, RESET_CODE),
        (START, START_CODE),
    ] {
        write(CODE + u64::from(at), code);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    extern crate std;

    use crate::tests::{Placed, load};

    /// A machine whose kernel is nothing but a multiboot header.
    pub(crate) fn placed() -> Placed {
        let mut kernel = std::vec![0; 4096];
        kernel[..12].copy_from_slice(&[2, 0xb0, 0xad, 0x1b, 0, 0, 1, 0, 0xfe, 0x4f, 0x51, 0xe4]);
        for (at, word) in [(12, 0x20_0000_u32), (16, 0x20_0000), (28, 0x20_0020)] {
            kernel[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        load(&[("guest/kernel", &kernel)], "").unwrap()
    }

    fn half(placed: &Placed, at: u64) -> u16 {
        u16::from_le_bytes(placed.bytes(at, 2).try_into().unwrap())
    }

    #[test]
    fn base_memory_ends_where_the_memory_map_says() {
        let placed = placed();
        assert_eq!((half(&placed, 0x40e), half(&placed, 0x413)), (0x9fc0, 639));
        assert_eq!(placed.bytes(0x9_fc00, 1), [1]);
        assert_eq!(half(&placed, 0x400), 0x3f8);
    }

    #[test]
    fn every_vector_leads_to_code_that_returns() {
        let placed = placed();
        for vector in 0..256 {
            let at = placed.word(vector * 4);
            let code = u64::from(at >> 16 << 4) + u64::from(at & 0xffff);
            let end = placed.bytes(code, 16).iter().position(|byte| *byte == 0xcf);
            assert!(end.is_some(), "vector {vector:#x}");
        }
        assert_ne!(placed.word(8 * 4), placed.word(0x10 * 4));
        assert_ne!(placed.word(0x70 * 4), placed.word(0x10 * 4));
    }

    #[test]
    fn the_processors_first_instruction_leads_to_a_reset() {
        let placed = placed();
        assert_eq!(placed.bytes(0xf_fff0, 5), [0xea, 0xe0, 0xff, 0, 0xf0]);
        assert_eq!(placed.bytes(0xf_ffe0, 6), [0xb0, 6, 0xba, 0xf9, 0x0c, 0xee]);
    }
}
