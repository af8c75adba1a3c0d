//! Programs in the bundle. The kernel parses no ELF, so the supervisor goes in flat; the supervisor parses the others', of which only
//! what is loaded is kept.

use std::path::Path;

use atoll_protocol::effect::Segment;
use atoll_protocol::manifest::ImageHeader;
use atoll_protocol::{PAGE, SCHEMA_HASH, VERSION, layout};
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian, U16, U64};
use zerocopy::IntoBytes;

use super::instructions::{self, Forbidden};
use crate::error::{Error, Result};

/// A segment and its bytes.
#[derive(Clone, Debug)]
pub(super) struct Loaded<'f> {
    pub(super) segment: Segment,
    pub(super) bytes: &'f [u8],
}

/// A flat image: header, table of segments, their bytes at page-aligned offsets.
pub fn flatten(path: &Path, file: &[u8]) -> Result<Vec<u8>> {
    let (entry, loaded) = segments(path, file)?;
    let count = u32::try_from(loaded.len()).unwrap_or(u32::MAX);
    let header = ImageHeader {
        magic: ImageHeader::MAGIC,
        version: VERSION,
        segments: count,
        entry,
        schema: SCHEMA_HASH,
    };
    let mut offset = next_page(size_of::<ImageHeader>() + loaded.len() * size_of::<Segment>());
    let mut image = header.as_bytes().to_vec();
    for part in &loaded {
        image.extend_from_slice(
            Segment {
                offset: offset as u64,
                ..part.segment
            }
            .as_bytes(),
        );
        offset = next_page(offset + part.bytes.len());
    }
    for part in &loaded {
        image.resize(next_page(image.len()), 0);
        image.extend_from_slice(part.bytes);
    }
    Ok(image)
}

/// An ELF of only what is loaded: header, program headers, segments.
pub fn strip(path: &Path, file: &[u8]) -> Result<Vec<u8>> {
    let wrong = |error: object::Error| Error::program(path, error);
    segments(path, file)?;
    let header = FileHeader64::<LittleEndian>::parse(file).map_err(wrong)?;
    let headers = header.program_headers(LittleEndian, file).map_err(wrong)?;
    let load: Vec<_> = headers
        .iter()
        .filter(|header| header.p_type(LittleEndian) == elf::PT_LOAD)
        .collect();
    let mut new = *header;
    let start = size_of::<FileHeader64<LittleEndian>>();
    new.e_phoff = U64::new(LittleEndian, start as u64);
    new.e_phnum = U16::new(LittleEndian, u16::try_from(load.len()).unwrap_or(u16::MAX));
    new.e_shoff = U64::new(LittleEndian, 0);
    new.e_shnum = U16::new(LittleEndian, 0);
    new.e_shstrndx = U16::new(LittleEndian, elf::SymbolSection(0));
    let mut offset =
        next_page(start + load.len() * size_of::<elf::ProgramHeader64<LittleEndian>>());
    let mut image = object::bytes_of(&new).to_vec();
    let mut contents = Vec::new();
    for part in load {
        let bytes = part
            .data(LittleEndian, file)
            .map_err(|()| Error::program(path, "is truncated"))?;
        let mut moved = *part;
        moved.p_offset = U64::new(LittleEndian, offset as u64);
        image.extend_from_slice(object::bytes_of(&moved));
        offset = next_page(offset + bytes.len());
        contents.push(bytes);
    }
    for bytes in contents {
        image.resize(next_page(image.len()), 0);
        image.extend_from_slice(bytes);
    }
    Ok(image)
}

/// Makes sure that the program of this server has no instruction that a server may not have.
pub fn check(server: &str, path: &Path, file: &[u8]) -> Result<()> {
    let (_, loaded) = segments(path, file)?;
    let code = loaded
        .iter()
        .filter(|part| part.segment.access == Segment::EXECUTE);
    let found = code
        .filter_map(|part| instructions::forbidden(part.segment.address, part.bytes))
        .next();
    match found {
        Some(Forbidden { address, text, why }) => Err(Error::Instruction {
            server: server.to_owned(),
            image: path.to_owned(),
            address,
            instruction: text,
            why,
        }),
        None => Ok(()),
    }
}

fn next_page(at: usize) -> usize {
    at.next_multiple_of(PAGE)
}

/// What is loaded of a program, and where it begins.
pub(super) fn segments<'f>(path: &Path, file: &'f [u8]) -> Result<(u64, Vec<Loaded<'f>>)> {
    let wrong = |error: object::Error| Error::program(path, error);
    let header = FileHeader64::<LittleEndian>::parse(file).map_err(wrong)?;
    let mut loaded = Vec::new();
    for part in header.program_headers(LittleEndian, file).map_err(wrong)? {
        if part.p_type(LittleEndian) != elf::PT_LOAD || part.p_memsz(LittleEndian) == 0 {
            continue;
        }
        let (address, memory, flags) = (
            part.p_vaddr(LittleEndian),
            part.p_memsz(LittleEndian),
            part.p_flags(LittleEndian),
        );
        let access = match (flags.contains(elf::PF_W), flags.contains(elf::PF_X)) {
            (false, false) => Segment::READ,
            (true, false) => Segment::WRITE,
            (false, true) => Segment::EXECUTE,
            (true, true) => {
                return Err(Error::program(
                    path,
                    format_args!("has a segment at {address:#x} that is writable and executable"),
                ));
            }
        };
        if address % PAGE as u64 != 0 {
            return Err(Error::program(
                path,
                format_args!("has a segment at {address:#x}, which is not page-aligned"),
            ));
        }
        if address < layout::IMAGE
            || address
                .checked_add(memory)
                .is_none_or(|end| end > layout::IMAGE_END)
        {
            return Err(Error::program(
                path,
                format_args!(
                    "has a segment at {address:#x}, outside the addresses that are for images"
                ),
            ));
        }
        let bytes = part
            .data(LittleEndian, file)
            .map_err(|()| Error::program(path, "is truncated"))?;
        loaded.push(Loaded {
            segment: Segment {
                address,
                offset: 0,
                file: bytes.len() as u64,
                memory,
                access,
            },
            bytes,
        });
    }
    if loaded.is_empty() {
        return Err(Error::program(path, "has nothing to load"));
    }
    Ok((header.e_entry(LittleEndian), loaded))
}

#[cfg(test)]
mod tests {
    use atoll_protocol::layout::IMAGE;
    use zerocopy::FromBytes;

    use super::super::sample::{Part, program};
    use super::*;

    const PATH: &str = "supervisor";

    fn parts() -> [Part; 2] {
        [
            Part {
                address: IMAGE,
                flags: elf::PF_R | elf::PF_X,
                content: vec![0x90; 5000],
                memory: 5000,
            },
            Part {
                address: IMAGE + 0x4000,
                flags: elf::PF_R | elf::PF_W,
                content: b"data".to_vec(),
                memory: 9000,
            },
        ]
    }

    #[test]
    fn a_flat_image_says_where_each_segment_is_and_may_be() {
        let image = flatten(Path::new(PATH), &program(IMAGE + 16, &parts())).unwrap();
        let (header, rest) = ImageHeader::read_from_prefix(&image).unwrap();
        assert_eq!(
            (header.magic, header.segments, header.entry),
            (ImageHeader::MAGIC, 2, IMAGE + 16)
        );
        let (text, rest) = Segment::read_from_prefix(rest).unwrap();
        let (data, _) = Segment::read_from_prefix(rest).unwrap();
        assert_eq!(
            (text.address, text.file, text.memory, text.access),
            (IMAGE, 5000, 5000, Segment::EXECUTE)
        );
        assert_eq!(
            (data.address, data.file, data.memory, data.access),
            (IMAGE + 0x4000, 4, 9000, Segment::WRITE)
        );
        let at = usize::try_from(data.offset).unwrap();
        assert_eq!((at % PAGE, &image[at..]), (0, &b"data"[..]));
    }

    #[test]
    fn a_stripped_program_loads_the_same_and_is_smaller() {
        let mut file = program(IMAGE, &parts());
        file.extend([0xdb; 100_000]);
        let stripped = strip(Path::new(PATH), &file).unwrap();
        assert!(stripped.len() < 20_000, "{}", stripped.len());
        assert_eq!(
            flatten(Path::new(PATH), &stripped).unwrap(),
            flatten(Path::new(PATH), &file).unwrap()
        );
    }

    #[test]
    fn a_segment_that_is_writable_and_executable_is_refused() {
        let mut parts = parts();
        parts[0].flags = elf::PF_R | elf::PF_W | elf::PF_X;
        let error = flatten(Path::new(PATH), &program(IMAGE, &parts))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(
                "supervisor: has a segment at 0x400000 that is writable and executable"
            ),
            "{error}"
        );
    }

    #[test]
    fn a_server_with_an_instruction_that_none_may_have_is_refused_by_name_place_and_instruction() {
        let mut parts = parts();
        assert!(check("uart", Path::new("images/uart"), &program(IMAGE, &parts)).is_ok());
        parts[1].content = vec![0x0f, 0xa2];
        assert!(
            check("uart", Path::new("images/uart"), &program(IMAGE, &parts)).is_ok(),
            "data is not code"
        );
        parts[0].content[0x123..0x125].copy_from_slice(&[0x0f, 0xa2]);
        let error = check("uart", Path::new("images/uart"), &program(IMAGE, &parts))
            .unwrap_err()
            .to_string();
        let expected = "images/uart: server 'uart' may not have the instruction `cpuid` at 0x400123: it asks the processor what it is";
        assert!(
            error.starts_with(expected) && !error.contains('\n'),
            "{error}"
        );
    }

    #[test]
    fn a_segment_outside_of_where_images_go_is_refused() {
        let mut parts = parts();
        parts[1].address = layout::MESSAGE;
        assert!(
            strip(Path::new(PATH), &program(IMAGE, &parts))
                .unwrap_err()
                .to_string()
                .contains("0x70000000")
        );
    }

    #[test]
    fn a_program_that_is_cut_off_is_refused() {
        let file = program(IMAGE, &parts());
        for length in [0, 10, 64, 100, file.len() - 1] {
            assert!(
                flatten(Path::new(PATH), &file[..length]).is_err(),
                "{length} bytes were accepted"
            );
        }
    }
}
