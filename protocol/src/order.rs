//! What the control server may ask of the supervisor, as the bytes of a request by mail, and what it gets.

use serde::{Deserialize, Serialize};

use crate::units::ServerId;

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Order {
    /// Fault this server.
    Kill(ServerId),
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
    /// The supervisor did not answer.
    NoAnswer,
}
