//! Small programs for tests: an ELF header, program headers, and contents on pages of their own.

use atoll_protocol::PAGE;
use object::elf::{self, FileHeader64, ProgramFlags, ProgramHeader64};
use object::{LittleEndian, U16, U32, U64};

/// A segment to be.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) address: u64,
    pub(super) flags: ProgramFlags,
    pub(super) content: Vec<u8>,
    pub(super) memory: u64,
}

/// A program of these segments.
pub(super) fn program(entry: u64, parts: &[Part]) -> Vec<u8> {
    let mut ident = [0; 16];
    ident[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let mut file = ident.to_vec();
    let half = |file: &mut Vec<u8>, value: u16| {
        file.extend_from_slice(object::bytes_of(&U16::new(LittleEndian, value)))
    };
    let word = |file: &mut Vec<u8>, value: u32| {
        file.extend_from_slice(object::bytes_of(&U32::new(LittleEndian, value)))
    };
    let long = |file: &mut Vec<u8>, value: u64| {
        file.extend_from_slice(object::bytes_of(&U64::new(LittleEndian, value)))
    };
    half(&mut file, 2); // executable
    half(&mut file, 62); // x86-64
    word(&mut file, 1);
    long(&mut file, entry);
    long(&mut file, size_of::<FileHeader64<LittleEndian>>() as u64);
    long(&mut file, 0); // no sections
    word(&mut file, 0);
    half(&mut file, 64);
    half(&mut file, 56);
    half(&mut file, u16::try_from(parts.len()).unwrap());
    for _ in 0..3 {
        half(&mut file, 0);
    }
    let mut offset = (file.len() + parts.len() * size_of::<ProgramHeader64<LittleEndian>>())
        .next_multiple_of(PAGE);
    for part in parts {
        word(&mut file, elf::PT_LOAD.0);
        word(&mut file, part.flags.0);
        long(&mut file, offset as u64);
        long(&mut file, part.address);
        long(&mut file, part.address);
        long(&mut file, part.content.len() as u64);
        long(&mut file, part.memory);
        long(&mut file, PAGE as u64);
        offset = (offset + part.content.len()).next_multiple_of(PAGE);
    }
    for part in parts {
        file.resize(file.len().next_multiple_of(PAGE), 0);
        file.extend_from_slice(&part.content);
    }
    file
}
