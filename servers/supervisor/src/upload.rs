//! Images that come while the machine runs: piece by piece into the bundle's file `reserve`, from which servers are then filled as from
//! any image.
//!
//! A server is filled again from its image whenever it is restarted. So a place in the reserve is taken for as long as the image in it is
//! some server's, and the next upload goes where none is: also one that is to succeed an uploaded one. Pieces come in order. What is written
//! is not looked at before the whole of it is right by its checksum, so an upload that is broken off leaves nothing but a place that the
//! next one takes. The checksum grows with each piece: however large an image is, no message about it takes long.

use atoll_protocol::SERVERS;
use atoll_protocol::effect::Supervise;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::order::{Checksum, Outcome, PIECE_BYTES, checksum};
use atoll_protocol::role::{Supervisor, SupervisorEffect};
use atoll_protocol::units::ServerId;
use atoll_sdk::bundle::{Bundle, Entry};
use atoll_sdk::{Effects, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{SupervisorServer, swap};

/// The file.
pub(crate) const RESERVE: &str = "reserve";

/// What is in the reserve.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Uploads {
    fresh: Fresh,
    /// By server: its image, if that was uploaded.
    used: [Place; SERVERS],
}

/// The image that is coming or has come last: one vault line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Fresh {
    place: Place,
    /// What the whole of it is to have as its checksum.
    sum: u64,
    /// The checksum of what has come, and of that without its last piece.
    sums: [u64; 2],
    /// How much of it has come.
    came: u32,
    /// Not used; zero.
    rest: [u32; 7],
}

/// A part of the reserve; nothing, if it has no length.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Place {
    start: u32,
    length: u32,
}

impl Place {
    const NONE: Place = Place {
        start: 0,
        length: 0,
    };

    fn end(self) -> u64 {
        u64::from(self.start) + u64::from(self.length)
    }

    fn overlaps(self, other: Place) -> bool {
        u64::from(self.start) < other.end() && u64::from(other.start) < self.end()
    }
}

/// The lowest place of this length in a reserve of `size` bytes that overlaps none of those that are taken.
fn lowest(taken: &[Place], length: u32, size: u64) -> Option<Place> {
    let ends = taken
        .iter()
        .filter_map(|place| u32::try_from(place.end()).ok());
    let places = core::iter::once(0)
        .chain(ends)
        .map(|start| Place { start, length });
    let free = places
        .filter(|place| place.end() <= size && !taken.iter().any(|other| other.overlaps(*place)));
    free.min_by_key(|place| place.start)
}

/// The bundle's reserve; one of no length, if it has none.
fn reserve(bundle: &[u8]) -> Entry<'_> {
    let found = Bundle::new(bundle).find(RESERVE).ok().flatten();
    found.unwrap_or(Entry {
        name: RESERVE,
        offset: bundle.len() as u64,
        bytes: &[],
    })
}

/// Where the bundle may be written: from its reserve on.
pub(crate) fn from(bundle: &[u8]) -> Fixed<u64> {
    Fixed(reserve(bundle).offset)
}

/// An image of this length is going to come.
pub(crate) fn begin(
    vault: &mut Vault<'_, SupervisorServer>,
    length: u32,
    sum: u64,
    effects: &mut Effects<'_, Supervisor>,
) -> Outcome {
    let size = reserve(effects.bundle()).bytes.len() as u64;
    let place = if length == 0 {
        None
    } else {
        lowest(&vault.uploads.used, length, size)
    };
    *vault.at(|state| &mut state.uploads.fresh) = Fresh {
        place: place.unwrap_or(Place::NONE),
        sum,
        ..Fresh::default()
    };
    if place.is_some() {
        Outcome::Done
    } else {
        Outcome::NoRoom
    }
}

/// Its next piece has come. The one before may come once more, if nobody heard that it had come.
pub(crate) fn piece(
    vault: &mut Vault<'_, SupervisorServer>,
    offset: u32,
    sum: u64,
    bytes: &[u8],
    effects: &mut Effects<'_, Supervisor>,
) -> Outcome {
    let Fresh {
        place,
        came,
        sums: [before, last],
        ..
    } = vault.uploads.fresh;
    let expected = (place.length.saturating_sub(offset) as usize).min(PIECE_BYTES);
    let end = u64::from(offset) + bytes.len() as u64;
    let again = end == u64::from(came) && (offset as usize).is_multiple_of(PIECE_BYTES);
    if checksum(bytes) != sum
        || bytes.len() != expected
        || bytes.is_empty()
        || !(offset == came || again)
    {
        return Outcome::Broken;
    }
    let before = if again { before } else { last };
    // An image that has become a server's is not written any more.
    if vault.uploads.used.contains(&place) {
        return Outcome::Broken;
    }
    let at = reserve(effects.bundle()).offset + u64::from(place.start) + u64::from(offset);
    effects.emit(SupervisorEffect::Supervise(Supervise::Write(
        Fixed(at),
        bytes,
    )));
    let fresh = vault.at(|state| &mut state.uploads.fresh);
    (fresh.came, fresh.sums) = (end as u32, [before, Checksum(before).and(bytes).0]);
    Outcome::Done
}

/// The image that has come.
pub(crate) fn image<'b>(
    vault: &Vault<'_, SupervisorServer>,
    bundle: &'b [u8],
) -> Result<Entry<'b>, Outcome> {
    let Fresh {
        place,
        came,
        sum,
        sums: [_, last],
        ..
    } = vault.uploads.fresh;
    if place == Place::NONE {
        return Err(Outcome::NoSuchImage);
    }
    let reserve = reserve(bundle);
    let bytes = reserve
        .bytes
        .get(place.start as usize..)
        .and_then(|rest| rest.get(..place.length as usize));
    let whole = bytes
        .filter(|_| came == place.length && last == sum)
        .ok_or(Outcome::Broken)?;
    Ok(Entry {
        name: "",
        offset: reserve.offset + u64::from(place.start),
        bytes: whole,
    })
}

/// What is made in the scratch slot is the image that has come, or one that was in the bundle.
pub(crate) fn take(vault: &mut Vault<'_, SupervisorServer>, uploaded: bool) {
    let place = if uploaded {
        vault.uploads.fresh.place
    } else {
        Place::NONE
    };
    set(vault, swap::SCRATCH, place);
}

/// What was in the scratch slot is in this one.
pub(crate) fn moved(vault: &mut Vault<'_, SupervisorServer>, to: ServerId) {
    let place = vault
        .uploads
        .used
        .get(usize::from(swap::SCRATCH.number()))
        .copied()
        .unwrap_or(Place::NONE);
    set(vault, to, place);
}

/// Nothing is in the scratch slot any more.
pub(crate) fn leave(vault: &mut Vault<'_, SupervisorServer>) {
    set(vault, swap::SCRATCH, Place::NONE);
}

fn set(vault: &mut Vault<'_, SupervisorServer>, slot: ServerId, place: Place) {
    *vault.at(|state| &mut state.uploads.used[slot.index()]) = place;
}
