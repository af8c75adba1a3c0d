//! What QEMU by itself does not do as the manual says, or would not survive: for Atoll alone. It must refuse it, or do it, and live.

use super::{Devices, Writer, scratch};
use crate::apic::{LOCAL, SELECT};

/// Ports of devices: what is written there must harm nobody. Those that end or reset the machine are not among them, nor the one that prints.
const PORTS: [u64; 26] = [
    0x20, 0x21, 0x40, 0x41, 0x42, 0x43, 0x60, 0x61, 0x70, 0x71, 0x80, 0xa0, 0xa1, 0xe4, 0xf0,
    0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x4d0, 0x4d1, 0x5100, 0xffff,
];
/// Ranges of MSRs: kvmclock's, which write to memory, are not among them.
const MSRS: [(u64, u64); 7] = [
    (0x13, 0x2000),
    (0x200, 0x100),
    (0x800, 0x100),
    (0xc000_0000, 0x2000),
    (0xc000_0080, 5),
    (0xc001_0000, 0x2000),
    (0x8000_0000, 0x1000_0000),
];

/// Appends an instruction, with what loads its operands.
pub(super) fn instruction(writer: &mut Writer<'_>) {
    writer.tables = true;
    match writer.random.below(12) {
        0 => {
            let (first, count) = writer.random.of(&MSRS);
            let (index, value) = (first + writer.random.below(count), writer.random.value());
            let index = if is_kept(index) { 0x13 } else { index };
            writer.model_specific(index, value);
            writer.one_of(&[&[0x0f, 0x30], &[0x0f, 0x32]]);
        }
        // A bit that is reserved, or that cannot be changed here: PE, PG; PAE.
        1 => refused(writer, 0xc0, 1 | 1 << 29 | 1 << 31 | 0xffff_ffff << 32),
        2 => refused(
            writer,
            0xe0,
            1 << 5 | 1 << 13 | 1 << 15 | 1 << 19 | 0xffff_ffff << 32,
        ),
        3 => refused(writer, 0xd8, 0xffff_ff00 << 32),
        4 => {
            let priority = writer.random.value();
            writer.load64(0, priority);
            writer.bytes(&[0x44, 0x0f, 0x22, 0xc0]);
        }
        5 => {
            writer.devices = Devices::Most.max(writer.devices);
            let (port, value) = (writer.random.of(&PORTS), writer.random.value());
            writer.load32(2, port);
            writer.load32(0, value);
            writer.one_of(&[
                &[0xec],
                &[0xed],
                &[0x66, 0xed],
                &[0xee],
                &[0xef],
                &[0x66, 0xef],
            ]);
        }
        6 | 7 => device(writer),
        8 => x87(writer),
        9 => {
            // VMMCALL, VMRUN of no page, RDPMC, MONITOR, MWAIT, RDPRU.
            let value = writer.random.value();
            writer.load64(0, value);
            writer.one_of(&[
                &[0x0f, 0x01, 0xd9],
                &[0x0f, 0x01, 0xd8],
                &[0x0f, 0x33],
                &[0x0f, 0x01, 0xc8],
                &[0x0f, 0x01, 0xc9],
                &[0x0f, 0x01, 0xfd],
            ]);
        }
        10 => data_breakpoints(writer),
        _ => strings(writer),
    }
}

/// MSRs that what is compared depends on, and that are not made sane behind each sequence.
fn is_kept(index: u64) -> bool {
    matches!(index, 0x1b | 0x174..=0x176 | 0x277 | 0xc000_0081..=0xc000_0084 | 0xc000_0100..=0xc000_0103)
}

/// MOV RAX, CRn; XOR with a bit; MOV CRn, RAX; and the old value back.
fn refused(writer: &mut Writer<'_>, register: u8, bits: u64) {
    let bit = writer.random.bit(bits);
    writer.load64(3, bit);
    writer.bytes(&[0x0f, 0x20, register, 0x48, 0x31, 0xd8, 0x0f, 0x22, register]);
    writer.bytes(&[0x0f, 0x20, register]);
}

/// Any register of the local APIC or the I/O APIC, in any width; no INIT, SIPI or SMI.
fn device(writer: &mut Writer<'_>) {
    let offset = writer.random.below(0x400);
    let at = if writer.random.once_in(4) {
        SELECT + offset % 0x20
    } else {
        LOCAL + offset
    };
    if at & !0xf == LOCAL + 0x300 {
        return;
    }
    writer.devices = if at < LOCAL {
        Devices::All
    } else {
        Devices::Most.max(writer.devices)
    };
    let value = writer.random.value();
    writer.load64(7, at);
    writer.load64(0, value);
    writer.one_of(&[
        &[0x8a, 0x07],
        &[0x88, 0x07],
        &[0x66, 0x8b, 0x07],
        &[0x66, 0x89, 0x07],
        &[0x8b, 0x07],
        &[0x89, 0x07],
        &[0x48, 0x8b, 0x07],
        &[0x48, 0x89, 0x07],
        &[0x09, 0x07],
        &[0x87, 0x07],
        &[0xf0, 0x48, 0x0f, 0xb1, 0x07],
    ]);
}

/// An x87 exception with CR0.NE clear: line 13, which is masked here.
fn x87(writer: &mut Writer<'_>) {
    writer.devices = Devices::Most.max(writer.devices);
    writer.bytes(&[0x0f, 0x20, 0xc0, 0x24, 0xd3, 0x0f, 0x22, 0xc0, 0xdb, 0xe3]);
    writer.load32(0, 0x340);
    writer.bytes(&[
        0x50, 0xd9, 0x2c, 0x24, 0x58, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9,
    ]);
    // FNCLEX, FNINIT, FNSTSW: none of them waits, since what a PC does then, with its line masked, is to wait for ever.
    writer.one_of(&[&[0xdb, 0xe2], &[0xdb, 0xe3], &[0xdf, 0xe0]]);
}

/// Breakpoints on data of the hypervisor's, and exits.
fn data_breakpoints(writer: &mut Writer<'_>) {
    let kernel = 0xffff_ffff_8010_0000 + writer.random.below(0x20_0000);
    let address = writer.random.of(&[
        kernel,
        kernel,
        0x7000_0000,
        0xffff_8000_fee0_0000,
        0x40_0000,
    ]);
    let register = writer.random.below(4) as u8;
    writer.load64(0, address & !7);
    writer.bytes(&[0x0f, 0x23, 0xc0 | register << 3]);
    let control = 0x4ff | writer.random.some(0xffff_0000);
    writer.load32(0, control);
    writer.bytes(&[0x0f, 0x23, 0xf8]);
    writer.one_of(&[&[0x0f, 0xa2], &[0xec], &[0x0f, 0x01, 0xd9], &[0x0f, 0x09]]);
}

/// String I/O on any memory.
fn strings(writer: &mut Writer<'_>) {
    let (count, at) = (writer.random.below(3000), writer.random.value());
    let at = if writer.random.once_in(2) {
        at
    } else {
        scratch()
    };
    // Nothing is stored but into the scratch memory.
    let stores = writer.random.once_in(2);
    writer.load32(1, count.min(if stores { 4096 } else { count }));
    let port = writer.random.of(&[0x3ff, 0x5100]);
    writer.load32(2, port);
    writer.load64(6, at);
    writer.load64(7, scratch());
    writer.bytes(&[0xfc]);
    // Wider ones begin where nothing is: the serial port's last register is followed by nobody's.
    writer.one_of(match (stores, port) {
        (true, 0x3ff) => &[&[0xf3, 0x6c]],
        (false, 0x3ff) => &[&[0xf3, 0x6e]],
        (true, _) => &[&[0xf3, 0x6c], &[0xf3, 0x66, 0x6d]],
        (false, _) => &[&[0xf3, 0x6e], &[0xf3, 0x66, 0x6f], &[0xf3, 0x6f]],
    });
}
