//! What the control server may ask of the supervisor, as the bytes of a request by mail, and what it gets.

use serde::{Deserialize, Serialize};
use twox_hash::XxHash64;

use crate::units::ServerId;

/// Most bytes of an image in one [`Order::Piece`]: with all that is around them they fit a letter and the control server's input.
pub const PIECE_BYTES: usize = 192;

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Order<'m> {
    /// Fault this server.
    Kill(ServerId),
    /// Put another server into this one's place: the image with this name in the bundle, or the one that was uploaded. With `true` also if
    /// that takes something away from the guest.
    Swap(ServerId, bool, Option<&'m str>),
    /// An image of this length and with this [`Checksum`] is going to come, in pieces of [`PIECE_BYTES`], but for the last. One that is
    /// coming already, or has come and was not used, is forgotten.
    Upload(u32, u64),
    /// The next piece of the image that is coming: where it begins, its checksum, its bytes.
    Piece(u32, u64, &'m [u8]),
}

/// What came of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Outcome {
    /// It was carried out.
    Done,
    /// It does not decode.
    NotUnderstood,
    /// There is no such server.
    NoSuchServer,
    /// The server is not in a state for that.
    NotNow,
    /// The bundle has no such image, or a bad one.
    NoSuchImage,
    /// The image is of another role, or was built against another protocol.
    WrongImage,
    /// The states of the two have no version in common, or cannot be moved.
    NoCommonVersion,
    /// It was tried and has failed; everything is as it was.
    RolledBack,
    /// The supervisor did not answer.
    NoAnswer,
    /// The swap was carried out: for so many ticks, at most, the guest was held.
    Swapped(u64),
    /// What came is not what was sent, or not what was to come next.
    Broken,
    /// The bundle has no room left for an image of that length.
    NoRoom,
    /// There is too little memory for such a server: what it would take of what is nobody's, and how much that is, in KiB.
    NoMemory(u64, u64),
    /// What came is no image of a server.
    BadImage,
}

/// What tells whether bytes came as they were sent: XXH64.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}

/// What tells whether an image came as it was sent: each piece's XXH64, with that of the pieces before it as the seed. So whoever takes the
/// pieces has it when the last one has come, and never needs to look at more than one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum(pub u64);

impl Checksum {
    /// That of a whole image.
    #[must_use]
    pub fn of(image: &[u8]) -> Self {
        image.chunks(PIECE_BYTES).fold(Self::default(), Self::and)
    }

    /// With one more piece.
    #[must_use]
    pub fn and(self, piece: &[u8]) -> Self {
        Self(XxHash64::oneshot(self.0, piece))
    }
}
