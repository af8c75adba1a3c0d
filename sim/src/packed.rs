//! A bundle as the host tool packs it, for the real supervisor: its manifest and images that it can read. Each image's code is a name, and
//! what runs is the server of that name on the host, or a [`hostile`](crate::hostile) one.

use atoll_protocol::SCHEMA_HASH;
use atoll_protocol::effect::Segment;
use atoll_protocol::interchange::Note;
use atoll_protocol::layout::IMAGE;
use atoll_protocol::name::Name;
use atoll_protocol::role::RoleKind;
use atoll_sdk::bundle::Bundle;
use atoll_sdk::bundle::write::archive;

use crate::bundle;
use crate::dice::Dice;
use crate::hostile::Hostile;
use crate::island::Island;

/// What the name of a hostile server begins with; the name of the one that it pretends to be follows.
pub const EVIL: &str = "evil-";
/// Room for images that come while the machine runs.
const RESERVE: usize = 16 << 10;
/// Where an image has its constants.
const CONSTANTS: u64 = IMAGE + 0x1000;

/// Servers that a hostile one may pretend to be: those that a guest can live without. The others, and those that may stop a machine, end one
/// rightly when they fail.
pub const PRETENDED: [(&str, RoleKind); 8] = [
    ("cpuid", RoleKind::Cpuid),
    ("msr", RoleKind::Msr),
    ("hypercall", RoleKind::Hypercall),
    ("pit", RoleKind::Timer),
    ("rtc", RoleKind::Clock),
    ("uart", RoleKind::Serial),
    ("console", RoleKind::Console),
    ("control", RoleKind::Control),
];

/// An image whose code is a name, of a role and with versions of its state, and with so much memory behind its data.
#[must_use]
pub fn image(code: &str, role: RoleKind, versions: (u16, u16), memory: u64) -> Vec<u8> {
    let (version, oldest) = versions;
    let note = Note {
        magic: Note::MAGIC,
        schema: SCHEMA_HASH,
        role: role as u32,
        version,
        oldest,
        name: Name::of(code),
    };
    let note = zerocopy::IntoBytes::as_bytes(&note).to_vec();
    let segments = [
        (IMAGE, 5_u32, code.as_bytes().to_vec(), 0),
        (CONSTANTS, 4, note, 0),
        (CONSTANTS + 0x1000, 6, vec![0], memory),
    ];
    let mut file = vec![
        0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0, 1, 0, 0, 0,
    ];
    file.extend(IMAGE.to_le_bytes());
    file.extend(64_u64.to_le_bytes());
    file.extend([0; 12]);
    file.extend([64, 0, 56, 0, segments.len() as u8, 0, 64, 0, 0, 0, 0, 0]);
    let mut offset = (file.len() + 56 * segments.len()) as u64;
    for (address, flags, contents, more) in &segments {
        let length = contents.len() as u64;
        file.extend(1_u32.to_le_bytes());
        file.extend(flags.to_le_bytes());
        for word in [offset, *address, *address, length, length + more, 4096] {
            file.extend(word.to_le_bytes());
        }
        offset += length;
    }
    segments
        .iter()
        .for_each(|(_, _, contents, _)| file.extend(contents));
    file
}

/// The bundle.
pub struct Packed {
    bytes: Vec<u8>,
    dice: Dice,
}

impl Packed {
    /// With this manifest. `images` are its servers' images: whose each is, its role, and the versions of the role's state. Those in `hostile`
    /// are hostile from the beginning; there is a spare hostile one of each that can be pretended to be.
    #[must_use]
    pub fn new(
        manifest: &[u8],
        images: &[(String, RoleKind, (u16, u16))],
        hostile: &[&str],
        seed: u64,
    ) -> Self {
        let mut files = vec![
            ("supervisor".to_owned(), b"supervisor".to_vec()),
            ("manifest".to_owned(), manifest.to_vec()),
        ];
        for (name, role, versions) in images {
            let evil = format!("{EVIL}{name}");
            let code = if hostile.contains(&name.as_str()) {
                &evil
            } else {
                name
            };
            files.push((format!("image/{name}"), image(code, *role, *versions, 16)));
            if PRETENDED.iter().any(|(pretended, _)| pretended == name) {
                files.push((format!("image/{evil}"), image(&evil, *role, *versions, 16)));
            }
        }
        files.push(("reserve".to_owned(), vec![0; RESERVE]));
        let files: Vec<_> = files
            .iter()
            .map(|(name, content)| (name.as_str(), &content[..]))
            .collect();
        Self {
            bytes: archive(&files),
            dice: Dice::new(seed),
        }
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let offset = offset as usize;
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// The supervisor's image.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn supervisor(&self) -> Segment {
        let found = Bundle::new(&self.bytes)
            .find("supervisor")
            .ok()
            .flatten()
            .expect("a supervisor");
        let file = found.bytes.len() as u64;
        Segment {
            address: IMAGE,
            offset: found.offset,
            file,
            memory: file,
            access: Segment::EXECUTE,
        }
    }

    /// What runs in a server that has this code; the loader follows a script.
    pub(crate) fn island(&mut self, code: &Segment) -> Option<Box<dyn Island>> {
        let start = code.offset as usize;
        let name = self
            .bytes
            .get(start..start + code.file as usize)
            .and_then(|bytes| std::str::from_utf8(bytes).ok());
        let name = name.unwrap_or_default();
        if name == "loader" {
            return None;
        }
        if let Some(island) = bundle::made(name) {
            return Some(island);
        }
        let pretended = name.strip_prefix(EVIL).and_then(bundle::made);
        Some(Box::new(Hostile::new(pretended, self.dice.any())))
    }
}
