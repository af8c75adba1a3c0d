//! What a program says of itself: the first bytes of its constants name its role and the protocol that it speaks. The supervisor looks at
//! them again; here the answer comes before anything is started or sent.

use std::path::Path;

use atoll_protocol::SCHEMA_HASH;
use atoll_protocol::effect::Segment;
use atoll_protocol::interchange::Note;
use atoll_protocol::role::RoleKind;
use zerocopy::FromBytes;

use super::image::segments;
use crate::error::{Error, Result};

/// What the program says that it is; `None` if it says nothing.
fn note(path: &Path, file: &[u8]) -> Result<Option<Note>> {
    let (_, loaded) = segments(path, file)?;
    let constants = loaded
        .iter()
        .find(|part| part.segment.access == Segment::READ);
    let note = constants.and_then(|part| Note::read_from_prefix(part.bytes).ok());
    Ok(note
        .map(|(note, _)| note)
        .filter(|note| note.magic == Note::MAGIC))
}

/// What speaks against the program being a server of this role, in words; a program that says nothing of itself is `fine` or not.
pub fn objection(
    path: &Path,
    file: &[u8],
    role: RoleKind,
    silent_is_fine: bool,
) -> Result<Option<String>> {
    let Some(note) = note(path, file)? else {
        let what = "does not declare a role: was it made with `atoll new-server`?";
        return Ok((!silent_is_fine).then(|| what.to_owned()));
    };
    if note.schema != SCHEMA_HASH {
        return Ok(Some(
            "was built against another version of Atoll's protocol: rebuild it against this one"
                .into(),
        ));
    }
    let other = RoleKind::ALL
        .iter()
        .find(|(kind, _)| *kind as u32 == note.role && *kind != role);
    Ok(other.map(|(_, name)| format!("is a server of the role '{name}', not '{}'", role.name())))
}

/// Makes sure that the crate in `dir`, whose program this is, is a server of this role.
pub fn check_own(dir: &Path, program: &Path, file: &[u8], role: RoleKind) -> Result<()> {
    objection(program, file, role, false)?.map_or(Ok(()), |what| Err(Error::program(dir, what)))
}

#[cfg(test)]
mod tests {
    use atoll_protocol::layout::IMAGE;
    use atoll_protocol::role::Cpuid;
    use object::elf;
    use zerocopy::IntoBytes;

    use super::super::sample::{Part, program};
    use super::*;

    fn made(note: &[u8]) -> Vec<u8> {
        let code = Part {
            address: IMAGE,
            flags: elf::PF_R | elf::PF_X,
            content: vec![0x90; 16],
            memory: 16,
        };
        program(
            IMAGE,
            &[
                code,
                Part {
                    address: IMAGE + 0x1000,
                    flags: elf::PF_R,
                    content: note.to_vec(),
                    memory: 4096,
                },
            ],
        )
    }

    fn refused(file: &[u8]) -> Option<String> {
        check_own(
            Path::new("/tmp/my-server"),
            Path::new("program"),
            file,
            RoleKind::Cpuid,
        )
        .err()
        .map(|error| error.to_string())
    }

    #[test]
    fn a_crate_of_another_role_or_protocol_is_told_by_its_directory_in_one_line() {
        let note = Note::of::<Cpuid>(1, "my-server");
        assert_eq!(refused(&made(note.as_bytes())), None);
        let msr = Note {
            role: RoleKind::Msr as u32,
            ..note
        };
        assert_eq!(
            refused(&made(msr.as_bytes())).unwrap(),
            "/tmp/my-server: is a server of the role 'msr', not 'cpuid'"
        );
        let old = Note { schema: 5, ..note };
        assert!(
            refused(&made(old.as_bytes()))
                .unwrap()
                .contains("another version of Atoll's protocol")
        );
        assert!(
            refused(&made(b"constants"))
                .unwrap()
                .contains("does not declare a role")
        );
    }

    #[test]
    fn atolls_own_programs_may_be_silent() {
        assert_eq!(
            objection(
                Path::new("rogue"),
                &made(b"constants"),
                RoleKind::Cpuid,
                true
            )
            .unwrap(),
            None
        );
    }
}
