//! The code that a failing server executes in place of its own (feature `fault-injection`), on one page that every server has.

use atoll_protocol::PAGE;
use atoll_protocol::units::Hpa;

use crate::memory::physical::Physical;

static CODE: Physical<[u8; PAGE]> = Physical::new([0xcc; PAGE]);

/// The page's frame.
pub(super) fn code_page() -> Hpa {
    CODE.address()
}

/// An exception.
pub(super) fn crash() {
    let mut code = Assembler::new();
    code.put(&[0x0f, 0x0b]); // ud2
    code.write();
}

/// Goes on for ever.
pub(super) fn hang() {
    let mut code = Assembler::new();
    code.put(&[0xeb, 0xfe]); // jmp .
    code.write();
}

/// Loses so many instructions before the server's own work, at `entry`.
pub(super) fn delay(instructions: u64, entry: u64) {
    let mut code = Assembler::new();
    code.load(0xb8, instructions / 2 + 1); // mov rax, half: a round is two instructions
    code.put(&[0x48, 0xff, 0xc8, 0x75, 0xfb]); // dec rax; jnz back
    code.load(0xb9, entry); // mov rcx, entry (the register is SYSRET's, no server relies on it)
    code.put(&[0xff, 0xe1]); // jmp rcx
    code.write();
}

/// Writes to an address, and crashes if that was possible.
pub(super) fn write_to(address: u64) {
    let mut code = Assembler::new();
    code.load(0xb8, address); // mov rax, address
    code.put(&[0x48, 0x89, 0x00, 0x0f, 0x0b]); // mov [rax], rax; ud2
    code.write();
}

/// A few instructions.
struct Assembler {
    bytes: [u8; 64],
    used: usize,
}

impl Assembler {
    fn new() -> Self {
        Assembler {
            bytes: [0xcc; 64],
            used: 0,
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes
            .iter_mut()
            .skip(self.used)
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        self.used += bytes.len();
    }

    /// `mov register, value` with REX.W and 64 bits.
    fn load(&mut self, opcode: u8, value: u64) {
        self.put(&[0x48, opcode]);
        self.put(&value.to_le_bytes());
    }

    /// Puts them where a failing server begins.
    fn write(self) {
        // SAFETY: no server runs while the kernel does, and nothing else refers to the page.
        let page = unsafe { &mut *CODE.get() };
        page.iter_mut()
            .zip(self.bytes)
            .for_each(|(to, from)| *to = from);
    }
}
