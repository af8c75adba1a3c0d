//! What the control server may ask of the supervisor, as the bytes of a request by mail, and what it gets.

use serde::{Deserialize, Serialize};

use crate::units::ServerId;

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Order<'m> {
    /// Fault this server.
    Kill(ServerId),
    /// Put another server, by its image, into this one's place; with `true` also if that takes something away from the guest.
    Swap(ServerId, bool, &'m str),
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
}
