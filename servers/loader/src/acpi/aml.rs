//! The namespace, in AML (ACPI 6.4 chapter 20): soft-off and the two devices that systems like to be told of.
//!
//! ```text
//! Name (\_S5, Package () { 0, 0, 0, 0 })
//! Scope (\_SB) {
//!     Device (COM1) { Name (_HID, EisaId ("PNP0501")) Name (_UID, 1) Name (_CRS, .. IO 0x3f8, 8; IRQ 4) }
//!     Device (RTC_) { Name (_HID, EisaId ("PNP0B00")) Name (_UID, 1) Name (_CRS, .. IO 0x70, 2; IRQ 8) }
//! }
//! ```

const NAME: u8 = 0x08;
const BUFFER: u8 = 0x11;
const PACKAGE: u8 = 0x12;
const SCOPE: u8 = 0x10;
const DEVICE: [u8; 2] = [0x5b, 0x82];
const BYTE: u8 = 0x0a;
const DOUBLE_WORD: u8 = 0x0c;
const ZERO: u8 = 0x00;
const ONE: u8 = 0x01;
const ROOT: u8 = b'\\';

/// Bytes of one device.
const DEVICE_SIZE: usize = 45;

/// A device on ISA with ports and an interrupt. Its package length counts all but the two bytes of the operator.
const fn isa_device(
    name: [u8; 4],
    hid: [u8; 4],
    port: u16,
    ports: u8,
    irq: u8,
) -> [u8; DEVICE_SIZE] {
    let port = port.to_le_bytes();
    let mask = (1_u16 << irq).to_le_bytes();
    [
        DEVICE[0],
        DEVICE[1],
        DEVICE_SIZE as u8 - 2,
        name[0],
        name[1],
        name[2],
        name[3],
        NAME,
        b'_',
        b'H',
        b'I',
        b'D',
        DOUBLE_WORD,
        hid[0],
        hid[1],
        hid[2],
        hid[3],
        NAME,
        b'_',
        b'U',
        b'I',
        b'D',
        ONE,
        // Buffer: package length (this byte to the end), then its size.
        NAME,
        b'_',
        b'C',
        b'R',
        b'S',
        BUFFER,
        16,
        BYTE,
        13,
        // I/O ports, 16-bit decode: lowest, highest, alignment, length (§6.4.2.5).
        0x47,
        1,
        port[0],
        port[1],
        port[0],
        port[1],
        1,
        ports,
        // IRQ, edge, high (§6.4.2.1); end tag without checksum.
        0x22,
        mask[0],
        mask[1],
        0x79,
        0,
    ]
}

const COM1: [u8; DEVICE_SIZE] = isa_device(*b"COM1", [0x41, 0xd0, 0x05, 0x01], 0x3f8, 8, 4);
const RTC: [u8; DEVICE_SIZE] = isa_device(*b"RTC_", [0x41, 0xd0, 0x0b, 0x00], 0x70, 2, 8);

const SOFT_OFF: [u8; 13] = [
    NAME, ROOT, b'_', b'S', b'5', b'_', PACKAGE, 6, 4, ZERO, ZERO, ZERO, ZERO,
];

/// The scope's package length: two bytes of its own, its name, the devices; four bits in the first byte, the rest in the second.
const SCOPE_SIZE: usize = 2 + 5 + 2 * DEVICE_SIZE;
const SCOPE_HEADER: [u8; 8] = [
    SCOPE,
    0x40 | (SCOPE_SIZE & 0xf) as u8,
    (SCOPE_SIZE >> 4) as u8,
    ROOT,
    b'_',
    b'S',
    b'B',
    b'_',
];

const SIZE: usize = SOFT_OFF.len() + SCOPE_HEADER.len() + 2 * DEVICE_SIZE;

const fn copy(mut to: [u8; SIZE], at: usize, from: &[u8]) -> [u8; SIZE] {
    let mut index = 0;
    while index < from.len() {
        to[at + index] = from[index];
        index += 1;
    }
    to
}

const BYTES: [u8; SIZE] = {
    let bytes = copy([0; SIZE], 0, &SOFT_OFF);
    let bytes = copy(bytes, SOFT_OFF.len(), &SCOPE_HEADER);
    let devices = SOFT_OFF.len() + SCOPE_HEADER.len();
    copy(copy(bytes, devices, &COM1), devices + DEVICE_SIZE, &RTC)
};

/// The definition block's contents.
pub(super) const NAMESPACE: &[u8] = &BYTES;
