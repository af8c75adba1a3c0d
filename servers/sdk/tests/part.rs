//! A server around another: what the inner one changes is committed, wherever its state lies in the whole.
#![forbid(unsafe_code)]

use atoll_sdk::activation::activate;
use atoll_sdk::effects::Surroundings;
use atoll_sdk::protocol::PAGE;
use atoll_sdk::protocol::effect::Effect;
use atoll_sdk::protocol::fixed::Fixed;
use atoll_sdk::protocol::manifest::Setup;
use atoll_sdk::protocol::message::{Body, CpuidExit, Header, Leaf, Machine, Message};
use atoll_sdk::protocol::role::{Cpuid, CpuidRequest};
use atoll_sdk::{Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of the inner state: three lines and a part of a fourth.
const SIZE: usize = 200;

/// Changes the byte that the leaf numbers.
struct Inner;

impl Server for Inner {
    type Role = Cpuid;
    type State = [u8; SIZE];
    type Cache = ();
    atoll_sdk::forgetful!();

    fn start(_: &Machine, _: &Setup<'_>) -> Result<[u8; SIZE], Refuse> {
        Ok([0; SIZE])
    }

    fn handle(
        vault: &mut Vault<'_, Self>,
        request: &CpuidRequest,
        _: &mut Effects<'_, Cpuid>,
    ) -> Leaf {
        *vault.at(|state| &mut state[request.leaf as usize]) = 1;
        Leaf::default()
    }
}

#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Whole<const BEFORE: usize> {
    before: [u8; BEFORE],
    inner: [u8; SIZE],
}

/// Has its own state before the inner one's.
struct Outer<const BEFORE: usize>;

impl<const BEFORE: usize> Server for Outer<BEFORE> {
    type Role = Cpuid;
    type State = Whole<BEFORE>;
    type Cache = ();
    atoll_sdk::forgetful!();

    fn start(_: &Machine, _: &Setup<'_>) -> Result<Whole<BEFORE>, Refuse> {
        Ok(Whole {
            before: [0; BEFORE],
            inner: [0; SIZE],
        })
    }

    fn handle(
        vault: &mut Vault<'_, Self>,
        request: &CpuidRequest,
        effects: &mut Effects<'_, Cpuid>,
    ) -> Leaf {
        vault.part(
            |state| &mut state.inner,
            |cache| cache,
            |inner| Inner::handle(inner, request, effects),
        )
    }
}

/// The lines that the answer names when the inner server changes this byte of its own.
fn saved<const BEFORE: usize>(byte: usize) -> Vec<usize> {
    let exit = CpuidExit {
        leaf: byte as u32,
        ..CpuidExit::default()
    };
    let header = Header {
        accepted: Header::NOT_ACCEPTED,
        ..Header::default()
    };
    let mut page = [0; PAGE];
    let message = postcard::to_slice(
        &Message {
            header: Fixed(header),
            body: Body::Cpuid(Fixed(exit)),
        },
        &mut page,
    )
    .unwrap();
    let (mut answer, mut vault) = ([0; PAGE], [0; 512]);
    let used = activate::<Outer<BEFORE>>(
        message,
        &mut answer,
        &mut vault,
        &mut (),
        Surroundings::NONE,
    );
    assert_eq!(
        vault.iter().position(|byte| *byte == 1),
        Some(BEFORE + byte)
    );
    let mut lines = Vec::new();
    let mut rest = &answer[..used];
    while !rest.is_empty() {
        let (effect, after) = postcard::take_from_bytes::<Effect<'_>>(rest).unwrap();
        if let Effect::Save(first, count) = effect {
            lines.extend((first..first + count).map(usize::from));
        }
        rest = after;
    }
    lines
}

#[test]
fn a_part_at_the_beginning_of_a_line_names_the_line_that_it_has_changed() {
    assert_eq!(saved::<0>(0), [0]);
    assert_eq!(saved::<64>(63), [1]);
    assert_eq!(saved::<64>(199), [4]);
}

#[test]
fn a_part_amid_a_line_names_all_lines_that_it_may_have_changed_and_none_behind_its_end() {
    for byte in 0..SIZE {
        let (lines, line) = (saved::<40>(byte), (40 + byte) / 64);
        assert!(
            lines.contains(&line)
                && lines.len() <= 2
                && lines.iter().all(|line| *line < (40 + SIZE).div_ceil(64)),
            "{byte}: {lines:?}"
        );
    }
}
