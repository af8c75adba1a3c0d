//! A server's image: a static ELF64 executable, of which only the loadable segments matter.

use core::fmt;

use atoll_protocol::PAGE;
use atoll_protocol::effect::Segment;
use atoll_protocol::interchange::Note;
use atoll_protocol::layout::{IMAGE, IMAGE_END};
use atoll_protocol::name::Name;
use atoll_sdk::bundle::Entry;
use elf::ElfBytes;
use elf::abi::{EM_X86_64, ET_EXEC, PF_W, PF_X, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::Class;
use zerocopy::FromBytes;

/// Most loadable segments: code, constants, data and one to spare for each.
pub(crate) const SEGMENTS: usize = 6;

/// Most entries of a program header table that are looked at: far more than any linker writes.
const HEADERS: usize = 64;

/// What is loaded, and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) entry: u64,
    pub(crate) segments: heapless::Vec<Segment, SEGMENTS>,
    /// What it says that it is; nothing that could be swapped, if it says nothing.
    pub(crate) note: Note,
    /// What it says that it is called; like its file, if it says nothing.
    pub(crate) name: Name,
}

/// Why an image cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadImage {
    /// Not ELF, or broken.
    Format,
    /// ELF, but not a static x86-64 executable.
    Kind,
    /// More segments than [`SEGMENTS`], more headers than [`HEADERS`], or none.
    Count,
    /// A segment that does not begin on a page.
    Alignment(u64),
    /// A segment outside the place for images.
    Range(u64),
    /// A segment that shares a page with the one before, or lies below it.
    Overlap(u64),
    /// A segment whose bytes are not in the file.
    Truncated(u64),
    /// A segment that is writable and executable.
    WritableCode(u64),
    /// The entry point is not in executable bytes.
    Entry(u64),
}

impl fmt::Display for BadImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadImage::Format => f.write_str("is not an ELF file"),
            BadImage::Kind => f.write_str("is not a static ELF64 executable for x86-64"),
            BadImage::Count => write!(f, "has no loadable segment or more than {SEGMENTS}"),
            BadImage::Alignment(at) => write!(f, "has a segment at {at:#x}, not on a page"),
            BadImage::Range(at) => write!(
                f,
                "has a segment at {at:#x}, outside {IMAGE:#x} to {IMAGE_END:#x}"
            ),
            BadImage::Overlap(at) => {
                write!(f, "has a segment at {at:#x} that overlaps the one before")
            }
            BadImage::Truncated(at) => write!(
                f,
                "has a segment at {at:#x} whose bytes are not in the file"
            ),
            BadImage::WritableCode(at) => write!(
                f,
                "has a segment at {at:#x} that is writable and executable"
            ),
            BadImage::Entry(at) => write!(f, "begins at {at:#x}, where it has no code"),
        }
    }
}

impl Image {
    /// Reads and checks an image in the bundle, which may be anything at all.
    pub(crate) fn read(file: &Entry<'_>) -> Result<Image, BadImage> {
        let elf =
            ElfBytes::<LittleEndian>::minimal_parse(file.bytes).map_err(|_| BadImage::Format)?;
        let header = elf.ehdr;
        if header.class != Class::ELF64 || header.e_machine != EM_X86_64 || header.e_type != ET_EXEC
        {
            return Err(BadImage::Kind);
        }
        let mut segments = heapless::Vec::new();
        let mut end = IMAGE;
        let headers = elf.segments().filter(|headers| headers.len() <= HEADERS);
        for program in headers
            .into_iter()
            .flatten()
            .filter(|program| program.p_type == PT_LOAD && program.p_memsz != 0)
        {
            let segment = Segment {
                address: program.p_vaddr,
                offset: file.offset.saturating_add(program.p_offset),
                file: program.p_filesz,
                memory: program.p_memsz,
                access: access(program.p_flags).ok_or(BadImage::WritableCode(program.p_vaddr))?,
            };
            let in_file = program
                .p_offset
                .checked_add(program.p_filesz)
                .is_some_and(|end| end <= file.bytes.len() as u64);
            end = check(&segment, in_file, end)?;
            segments.push(segment).map_err(|_| BadImage::Count)?;
        }
        if segments.is_empty() {
            return Err(BadImage::Count);
        }
        let code = |segment: &Segment| {
            segment.access == Segment::EXECUTE
                && (segment.address..segment.address + segment.file).contains(&header.e_entry)
        };
        if !segments.iter().any(code) {
            return Err(BadImage::Entry(header.e_entry));
        }
        let constants = segments
            .iter()
            .find(|segment| segment.access == Segment::READ);
        let note = constants.and_then(|segment| {
            let start = usize::try_from(segment.offset.saturating_sub(file.offset)).ok()?;
            Note::read_from_prefix(file.bytes.get(start..)?).ok()
        });
        let note = note
            .map(|(note, _)| note)
            .filter(|note| note.magic == Note::MAGIC)
            .unwrap_or_default();
        let called = file.name.strip_prefix("image/").unwrap_or(file.name);
        let name = Name::of(note.called().unwrap_or(called));
        Ok(Image {
            entry: header.e_entry,
            segments,
            note,
            name,
        })
    }
}

/// The one kind of access that the flags mean; `None` for code that can be written.
fn access(flags: u32) -> Option<u64> {
    match (flags & PF_W != 0, flags & PF_X != 0) {
        (true, true) => None,
        (true, false) => Some(Segment::WRITE),
        (false, true) => Some(Segment::EXECUTE),
        (false, false) => Some(Segment::READ),
    }
}

/// Checks a segment against the end of the one before; returns its own end, on a page.
fn check(segment: &Segment, in_file: bool, before: u64) -> Result<u64, BadImage> {
    let at = segment.address;
    let page = PAGE as u64;
    if !at.is_multiple_of(page) {
        return Err(BadImage::Alignment(at));
    }
    let end = at
        .checked_add(segment.memory)
        .filter(|end| at >= IMAGE && *end <= IMAGE_END)
        .ok_or(BadImage::Range(at))?;
    if at < before {
        return Err(BadImage::Overlap(at));
    }
    if !in_file || segment.file > segment.memory {
        return Err(BadImage::Truncated(at));
    }
    Ok(end.next_multiple_of(page))
}
