//! Instructions that any interrupt may come between, and that do the same with and without a hypervisor.

use super::{Writer, scratch};
use crate::apic::{ICR_HIGH, SELECT};
use crate::run::IF;

/// MSRs that keep what is written.
const KEPT: [u64; 10] = [
    0x174,
    0x175,
    0x176,
    0xc000_0081,
    0xc000_0082,
    0xc000_0083,
    0xc000_0084,
    0xc000_0100,
    0xc000_0101,
    0xc000_0102,
];
const STAR: u64 = 0xc000_0081;
const SFMASK: u64 = 0xc000_0084;
/// Those of them that SYSCALL and SYSENTER go to.
pub(super) const ENTRIES: [u64; 3] = [0x176, 0xc000_0082, 0xc000_0083];
const READ: [u64; 4] = [0xc000_0080, 0x277, 0x1b, 0xc000_0103];
/// CPUID leaves that are the same on both.
const LEAVES: [u64; 5] = [0, 0x8000_0000, 0x8000_0002, 0x8000_0003, 0x8000_0004];
/// CR0: MP, EM, TS, WP, AM, CD.
const CR0: u64 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 16 | 1 << 18 | 1 << 30;
/// CR4: VME, PVI, TSD, DE, PSE, MCE, PGE, PCE, FSGSBASE, OSXSAVE, SMEP, SMAP.
const CR4: u64 = 0x1df | 1 << 16 | 1 << 18 | 1 << 20 | 1 << 21;
/// RFLAGS: CF, PF, AF, ZF, SF, TF, DF, OF, IOPL, NT, AC, ID.
const FLAGS: u64 = 0x24_7dd5;
/// EFER: SCE, NXE.
const EFER: u64 = 1 | 1 << 11;
/// DR7: enables, LE, GE.
const DR7: u64 = 0x3ff;
/// Ports that read what was written, or ones.
const PORTS: [u64; 3] = [SCRATCH, 0x5100, 0xe4];
/// The serial port's scratch register.
const SCRATCH: u64 = 0x3ff;

/// Appends an instruction, with what loads its operands; `interrupts`: whether they are on.
pub(super) fn instruction(writer: &mut Writer<'_>, interrupts: bool) {
    match writer.random.below(26) {
        0 => {
            let leaf = writer.random.of(&LEAVES);
            writer.load32(0, leaf);
            writer.bytes(&[0x0f, 0xa2]);
        }
        1 => {
            let index = if writer.random.once_in(2) {
                writer.random.of(&KEPT)
            } else {
                writer.random.of(&READ)
            };
            writer.load32(1, index);
            writer.bytes(&[0x0f, 0x32]);
        }
        2 | 3 => {
            let index = writer.random.of(&KEPT);
            let value = if ENTRIES.contains(&index) {
                writer.target()
            } else {
                writer.random.value()
            };
            // #GP on a CPU, and QEMU takes it, but not through VMLOAD: see the guest `reserved`.
            let value = if index == STAR || index == SFMASK {
                value
            } else {
                canonical(value)
            };
            writer.model_specific(index, value);
            writer.bytes(&[0x0f, 0x30]);
        }
        4 => {
            let value = 0x500 | writer.random.some(EFER);
            writer.model_specific(0xc000_0080, value);
            writer.bytes(&[0x0f, 0x30]);
        }
        5 | 6 => {
            let port = writer.random.of(&PORTS);
            writer.load32(2, port);
            // QEMU ends itself where a wider access begins at the serial port's last register.
            writer.one_of(if port == SCRATCH {
                &[&[0xec], &[0xee]]
            } else {
                &[
                    &[0xec],
                    &[0xed],
                    &[0x66, 0xed],
                    &[0xee],
                    &[0xef],
                    &[0x66, 0xef],
                ]
            });
        }
        7 | 8 => device(writer),
        // MOV RAX, CR0; XOR; MOV CR0, RAX.
        9 => toggle(writer, 0xc0, CR0),
        10 => toggle(writer, 0xe0, CR4),
        11 => writer.bytes(&[0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8]),
        12 => writer.bytes(&[0x0f, 0x22, 0xd0, 0x0f, 0x20, 0xd3]),
        13 => writer.one_of(&[&[0x0f, 0x06], &[0x0f, 0x01, 0xe0], &[0x0f, 0x01, 0xf0]]),
        // STI; HLT: the timer goes on.
        14 if interrupts => writer.bytes(&[0xfb, 0xf4]),
        15 => {
            let flags = 2 | if interrupts { IF } else { 0 } | writer.random.some(FLAGS);
            writer.load64(0, flags);
            writer.bytes(&[0x50, 0x9d, 0x90, 0x9c, 0x5b]);
        }
        16 => {
            let vector = 0x30 + writer.random.below(0x60) as u8;
            writer.bytes(&[0xcd, vector]);
        }
        17 => writer.one_of(&[
            &[0x0f, 0x01, 0x3f],
            &[0x0f, 0x09],
            &[0x0f, 0x08],
            &[0xf3, 0x90],
            &[0x0f, 0xae, 0xe8],
            &[0x0f, 0xae, 0xf0],
        ]),
        18 => floating_point(writer),
        19 => {
            let value = writer.random.of(&[0, 1, 2, 3, 5, 6, 7]);
            writer.load32(1, 0);
            writer.load32(0, value);
            writer.load32(2, 0);
            writer.one_of(&[&[0x0f, 0x01, 0xd1], &[0x0f, 0x01, 0xd0]]);
        }
        20 => debug(writer),
        // SWAPGS, and the instructions for the bases.
        21 => writer.one_of(&[
            &[0x0f, 0x01, 0xf8],
            &[0xf3, 0x48, 0x0f, 0xae, 0xc0],
            &[0xf3, 0x48, 0x0f, 0xae, 0xc8],
            &[0xf3, 0x48, 0x0f, 0xae, 0xd0],
            &[0xf3, 0x48, 0x0f, 0xae, 0xd8],
        ]),
        22 => {
            // REP INS, OUTS and MOVS, also where nothing is mapped.
            let nowhere = super::nowhere(writer.random);
            let at = writer
                .random
                .of(&[scratch() + 256, scratch() + 4090, nowhere]);
            writer.load64(7, at);
            let count = writer.random.below(20);
            writer.load32(1, count);
            writer.load32(2, SCRATCH);
            writer.one_of(&[
                &[0xf3, 0x6c],
                &[0xf3, 0x6e],
                &[0x6c],
                &[0x6e],
                &[0xf3, 0xa4],
            ]);
        }
        23 => {
            // VMRUN and what belongs to it, with an address that it would take.
            let page = writer.random.below(1 << 16) << 12;
            writer.load32(0, page);
            writer.bytes(&[0x0f, 0x01]);
            let which = writer
                .random
                .of(&[0xd8, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf]);
            writer.bytes(&[which]);
        }
        24 => writer.one_of(&[
            &[0x0f, 0x0b],
            &[0x0f, 0xaa],
            &[0xf1],
            &[0x48, 0xf7, 0xf0],
            &[0xf0, 0x90],
        ]),
        _ => writer.read_clock(),
    }
}

/// The value as an address.
fn canonical(value: u64) -> u64 {
    ((value << 16).cast_signed() >> 16).cast_unsigned()
}

/// MOV RAX, CRn; XOR RAX, RBX; MOV CRn, RAX with some of the bits in RBX.
fn toggle(writer: &mut Writer<'_>, register: u8, bits: u64) {
    let some = if writer.random.once_in(2) {
        writer.random.bit(bits)
    } else {
        writer.random.some(bits)
    };
    writer.load64(3, some);
    writer.bytes(&[0x0f, 0x20, register, 0x48, 0x31, 0xd8, 0x0f, 0x22, register]);
}

/// Loads, stores and changes of registers that store, in widths that QEMU's devices take.
fn device(writer: &mut Writer<'_>) {
    if writer.random.once_in(2) {
        writer.load32(7, ICR_HIGH);
        writer.one_of(&[
            &[0x8b, 0x07],
            &[0x89, 0x07],
            &[0x01, 0x07],
            &[0x87, 0x07],
            &[0xf0, 0x0f, 0xc1, 0x07],
            &[0x11, 0x07],
            &[0xff, 0x07],
        ]);
    } else {
        writer.load32(7, SELECT);
        let value = writer.random.below(256);
        writer.load32(0, value);
        writer.one_of(&[
            &[0x8a, 0x07],
            &[0x88, 0x07],
            &[0x66, 0x8b, 0x07],
            &[0x0f, 0xb6, 0x0f],
            &[0x0f, 0xbe, 0x0f],
            &[0x89, 0x07],
            &[0xaa],
        ]);
    }
}

/// FNINIT, a control word, a division by zero, FWAIT: with NE set, which it is here.
fn floating_point(writer: &mut Writer<'_>) {
    let control = writer.random.some(0x3f) | 0x340;
    writer.bytes(&[0xdb, 0xe3]);
    writer.load32(0, control);
    writer.bytes(&[0x50, 0xd9, 0x2c, 0x24, 0x58]);
    writer.one_of(&[
        &[0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9],
        &[0xd9, 0xee, 0xd9, 0xee, 0xde, 0xf9],
        &[0xd9, 0xe8],
    ]);
    writer.one_of(&[&[0x9b], &[0xdf, 0xe0], &[0xdb, 0xe2, 0x9b], &[]]);
}

/// Debug registers: addresses of this code, of the hypervisor, and others; instruction breakpoints only.
fn debug(writer: &mut Writer<'_>) {
    let here = writer.here() + writer.random.below(64);
    let kernel = 0xffff_ffff_8010_0000 + writer.random.below(0x4_0000);
    let address = writer
        .random
        .of(&[here, kernel, 0x40_0000, scratch(), 0x7000_0000]);
    let register = writer.random.below(4) as u8;
    match writer.random.below(4) {
        0 => writer.bytes(&[0x0f, 0x21, 0xc3 | register << 3]),
        1 | 2 => {
            writer.load64(0, address);
            writer.bytes(&[0x0f, 0x23, 0xc0 | register << 3]);
            let control = 0x400 | writer.random.some(DR7);
            writer.load32(0, control);
            writer.bytes(&[0x0f, 0x23, 0xf8]);
        }
        _ => writer.one_of(&[
            &[0x0f, 0x21, 0xf8],
            &[0x0f, 0x21, 0xe3],
            &[0x0f, 0x21, 0xeb],
        ]),
    }
}
