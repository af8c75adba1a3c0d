//! Ways out of the sequence that an interrupt could not come back to, the same with and without a hypervisor.

use super::{Writer, scratch};

/// Selectors: of everything that is in the GDT, of nothing, and beyond.
const SELECTORS: [u64; 14] = [
    0, 3, 0x08, 0x0b, 0x10, 0x13, 0x18, 0x1c, 0x2b, 0x33, 0x38, 0x40, 0x7c, 0xfff8,
];
/// RFLAGS, without IF.
const FLAGS: u64 = 0x24_7dd5;

/// Appends an instruction, with what loads its operands.
pub(super) fn instruction(writer: &mut Writer<'_>) {
    writer.tables = true;
    match writer.random.below(10) {
        0 => segment(writer),
        1 => table(writer),
        2 => {
            // LTR, LLDT, VERR, VERW, LAR, LSL; not LTR of nothing, which QEMU takes.
            let selector = writer.random.of(&SELECTORS[2..]);
            writer.load32(0, selector);
            writer.one_of(&[
                &[0x0f, 0x00, 0xd8],
                &[0x0f, 0x00, 0xd0],
                &[0x0f, 0x00, 0xe0],
                &[0x0f, 0x00, 0xe8],
                &[0x0f, 0x02, 0xc8],
                &[0x0f, 0x03, 0xc8],
            ]);
        }
        3 | 4 => interrupt_return(writer),
        5 => far_return(writer),
        6 => system_call(writer),
        7 => {
            let priority = writer.random.below(16);
            writer.load32(0, priority);
            writer.bytes(&[0x44, 0x0f, 0x22, 0xc0, 0x44, 0x0f, 0x20, 0xc3]);
        }
        8 => {
            let flags = 2 | writer.random.some(FLAGS);
            writer.load64(0, flags);
            writer.bytes(&[0x50, 0x9d, 0x90, 0x9c, 0x5b]);
        }
        _ => {
            // CLI; JMP RAX, CALL RAX, RET.
            let target = writer.target();
            writer.load64(0, target);
            writer.one_of(&[&[0xfa], &[0xff, 0xe0], &[0xff, 0xd0], &[0x50, 0xc3]]);
        }
    }
}

/// A selector for DS, ES, FS, GS or SS.
fn segment(writer: &mut Writer<'_>) {
    let (selector, register) = (
        writer.random.of(&SELECTORS),
        writer.random.of(&[0xd8, 0xc0, 0xe0, 0xe8, 0xd0]),
    );
    writer.load32(0, selector);
    writer.bytes(&[0x8e, register, 0x90]);
}

/// LGDT or LIDT with a limit that leaves the exceptions their gates; then a selector or INT n that may be beyond it.
fn table(writer: &mut Writer<'_>) {
    let interrupts = writer.random.once_in(2);
    // SGDT or SIDT [at]; MOV WORD [at], limit; LGDT or LIDT [at].
    let (store, load) = if interrupts {
        (0x0c, 0x1c)
    } else {
        (0x04, 0x14)
    };
    let limit = if interrupts {
        0x200 + writer.random.below(0xe00)
    } else {
        0x28 + writer.random.below(0x58)
    } as u16;
    let at = (scratch() as u32 + 128).to_le_bytes();
    writer.bytes(&[0x0f, 0x01, store, 0x25]);
    writer.bytes(&at);
    writer.bytes(&[0x66, 0xc7, 0x04, 0x25]);
    writer.bytes(&at);
    writer.bytes(&limit.to_le_bytes());
    writer.bytes(&[0x0f, 0x01, load, 0x25]);
    writer.bytes(&at);
    if interrupts {
        let vector = 0x30 + writer.random.below(0xc0) as u8;
        writer.bytes(&[0xcd, vector]);
    } else {
        segment(writer);
    }
}

/// IRETQ with a frame of all kinds.
fn interrupt_return(writer: &mut Writer<'_>) {
    let target = writer.target();
    let random = &mut *writer.random;
    let frame = [
        random.of(&SELECTORS),
        random.value(),
        2 | random.some(FLAGS),
        random.of(&SELECTORS),
        target,
    ];
    for value in frame {
        writer.load64(0, value);
        writer.bytes(&[0x50]);
    }
    writer.one_of(&[&[0x48, 0xcf], &[0x48, 0xcf], &[0xcf]]);
}

fn far_return(writer: &mut Writer<'_>) {
    let (selector, target) = (writer.random.of(&SELECTORS), writer.target());
    for value in [selector, target] {
        writer.load64(0, value);
        writer.bytes(&[0x50]);
    }
    writer.one_of(&[&[0x48, 0xcb], &[0xcb]]);
}

/// SYSCALL, SYSRET, SYSENTER, SYSEXIT. R11 has the flags that SYSRET loads: without IF.
fn system_call(writer: &mut Writer<'_>) {
    let flags = 2 | writer.random.some(FLAGS & !(1 << 8));
    let target = writer.target();
    writer.bytes(&[0x49, 0xbb]);
    writer.bytes(&flags.to_le_bytes());
    writer.load64(1, target);
    writer.one_of(&[
        &[0x0f, 0x05],
        &[0x48, 0x0f, 0x07],
        &[0x0f, 0x07],
        &[0x0f, 0x34],
        &[0x0f, 0x35],
        &[0x48, 0x0f, 0x35],
    ]);
}
