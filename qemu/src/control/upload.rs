//! An image on its way into a running machine: pieces, each with its checksum and each acknowledged before the next is sent.

use atoll_protocol::control::Ask;
use atoll_protocol::order::{Checksum, Order, Outcome, PIECE_BYTES, checksum};

use super::{Line, orders};
use crate::error::{Error, Result};

/// Sends an image; `sent` hears how many bytes have arrived. The machine has it then, and does nothing with it yet.
pub fn upload(line: &mut Line, image: &[u8], mut sent: impl FnMut(usize)) -> Result<()> {
    let too_large = |line: &Line| {
        let kib = image.len().div_ceil(1024);
        line.refused(format_args!(
            "its bundle has no room left for an image of {kib} KiB (swap another uploaded one away, or give its manifest a larger `reserve`)"
        ))
    };
    let length = u32::try_from(image.len()).map_err(|_| too_large(line))?;
    line.ask(Ask::Order(Order::Upload(length, Checksum::of(image).0)))?;
    match orders::outcome(line)? {
        Outcome::Done => {}
        Outcome::NoRoom => return Err(too_large(line)),
        other => return Err(failed(line, other)),
    }
    for (index, piece) in image.chunks(PIECE_BYTES).enumerate() {
        let offset = index * PIECE_BYTES;
        let at = u32::try_from(offset).unwrap_or(u32::MAX);
        line.ask(Ask::Order(Order::Piece(at, checksum(piece), piece)))?;
        match orders::outcome(line)? {
            Outcome::Done => sent(offset + piece.len()),
            other => return Err(failed(line, other)),
        }
    }
    Ok(())
}

fn failed(line: &Line, outcome: Outcome) -> Error {
    match outcome {
        Outcome::Broken => {
            line.refused("the image did not arrive as it was sent; nothing has changed, try again")
        }
        Outcome::NotNow => {
            line.refused("another image is on its way into it; try again when that is there")
        }
        _ => line.refused("its supervisor takes no orders"),
    }
}
