//! The smallest program for Linux: it executes CPUID with one leaf and writes EBX, ECX and EDX, as a line of twelve bytes.

/// Where a program of nothing but code is loaded: behind its two headers.
const START: u64 = 0x40_0078;
/// Its code; the leaf stands in bytes 1 to 4.
const CODE: [u8; 56] = [
    0xb8, 0x00, 0x00, 0x00, 0x40, 0x0f, 0xa2, 0x48, 0x83, 0xec, 0x10, 0x89, 0x1c, 0x24, 0x89, 0x4c,
    0x24, 0x04, 0x89, 0x54, 0x24, 0x08, 0xc6, 0x44, 0x24, 0x0c, 0x0a, 0xb8, 0x01, 0x00, 0x00, 0x00,
    0xbf, 0x01, 0x00, 0x00, 0x00, 0x48, 0x89, 0xe6, 0xba, 0x0d, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xb8,
    0x3c, 0x00, 0x00, 0x00, 0x31, 0xff, 0x0f, 0x05,
];

/// A shell command that makes the program for a leaf.
pub(crate) fn make(leaf: u32, path: &str) -> String {
    let mut file = vec![
        0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0, 1, 0, 0, 0,
    ];
    file.extend(START.to_le_bytes());
    file.extend(64_u64.to_le_bytes());
    file.extend([0; 12]);
    file.extend([64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    let length = (120 + CODE.len()) as u64;
    for word in [0, START - 120, START - 120, length, length, 4096] {
        file.extend(word.to_le_bytes());
    }
    let mut code = CODE;
    code[1..5].copy_from_slice(&leaf.to_le_bytes());
    file.extend(code);
    let octal: String = file.iter().map(|byte| format!("\\{byte:03o}")).collect();
    format!("printf '{octal}' > {path}; chmod +x {path}")
}
