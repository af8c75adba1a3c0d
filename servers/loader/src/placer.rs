//! Spreads a long list of effects over as many answers as it takes.
//!
//! The loader goes through the whole list in every activation; each piece has its place in it. Pieces that earlier answers have
//! committed are passed over, the next ones are emitted until the answer is full, and the rest waits for the next activation. So the code
//! that decides what goes where knows nothing of answers.

use atoll_protocol::effect::GuestCopy;
use atoll_protocol::role::{Loader, LoaderEffect};
use atoll_protocol::units::Gpa;
use atoll_protocol::vcpu::InitialState;
use atoll_protocol::{COPY_BYTES, EFFECTS};
use atoll_sdk::Effects;
use atoll_sdk::bundle::Entry;

/// Bytes written by one effect.
const CHUNK: usize = 512;
/// Bytes that an effect takes beside what it writes, at most.
const ENVELOPE: usize = 40;
/// Bytes of pieces in one answer: the page, less the state's lines and a line of the log.
const ROOM: usize = atoll_protocol::PAGE - 512;
/// Effects beside the pieces: the reply, the state's lines, a line of the log.
const OTHERS: usize = 4;

/// Where pieces go.
pub(crate) struct Placer<'p, 'e> {
    effects: &'p mut Effects<'e, Loader>,
    /// A file of zeros, to clear memory with.
    zeros: Entry<'p>,
    /// Pieces passed over or emitted.
    count: u32,
    /// Pieces that earlier answers have committed.
    skip: u32,
    room: usize,
    slots: usize,
    /// Bytes that this answer may still copy.
    copies: u64,
    full: bool,
}

impl<'p, 'e> Placer<'p, 'e> {
    /// A placer that passes over the first `skip` pieces.
    pub(crate) fn new(skip: u32, zeros: Entry<'p>, effects: &'p mut Effects<'e, Loader>) -> Self {
        Placer {
            effects,
            zeros,
            count: 0,
            skip,
            room: ROOM,
            slots: EFFECTS - OTHERS,
            copies: COPY_BYTES,
            full: false,
        }
    }

    /// How many pieces are placed, if that is not all of them.
    pub(crate) fn finish(self) -> Option<u32> {
        self.full.then_some(self.count)
    }

    fn piece(&mut self, size: usize, effect: LoaderEffect<'_>) {
        if self.full {
            return;
        }
        if self.count >= self.skip {
            let Some(room) = self
                .room
                .checked_sub(size + ENVELOPE)
                .filter(|_| self.slots > 0)
            else {
                self.full = true;
                return;
            };
            self.room = room;
            self.slots -= 1;
            self.effects.emit(effect);
        }
        self.count += 1;
    }

    /// Copies bytes of the bundle that are no more than an answer may copy.
    fn piece_of_copy(&mut self, copy: GuestCopy) {
        let is_new = self.count >= self.skip && !self.full;
        match self.copies.checked_sub(copy.length).filter(|_| is_new) {
            Some(left) => self.copies = left,
            None => self.full |= is_new,
        }
        self.piece(size_of::<GuestCopy>(), LoaderEffect::GuestCopy(copy));
    }

    /// Writes bytes.
    pub(crate) fn write(&mut self, gpa: u64, bytes: &[u8]) {
        for (chunk, at) in bytes.chunks(CHUNK).zip((gpa..).step_by(CHUNK)) {
            if chunk.iter().any(|byte| *byte != 0) {
                self.piece(chunk.len(), LoaderEffect::GuestWrite(Gpa(at), chunk));
            } else {
                self.zero(at, chunk.len() as u64);
            }
        }
    }

    /// Clears memory: guests get it as the firmware left it.
    pub(crate) fn zero(&mut self, gpa: u64, length: u64) {
        let most = self.zeros.bytes.len().clamp(1, COPY_BYTES as usize);
        for at in (0..length).step_by(most) {
            let copy = GuestCopy {
                gpa: Gpa(gpa + at),
                offset: self.zeros.offset,
                length: (length - at).min(most as u64),
            };
            self.piece_of_copy(copy);
        }
    }

    /// Copies a file, or part of one.
    pub(crate) fn copy(&mut self, gpa: u64, file: &Entry<'_>) {
        let length = file.bytes.len() as u64;
        for at in (0..length).step_by(COPY_BYTES as usize) {
            self.piece_of_copy(GuestCopy {
                gpa: Gpa(gpa + at),
                offset: file.offset + at,
                length: (length - at).min(COPY_BYTES),
            });
        }
    }

    /// Gives the first vCPU its state.
    pub(crate) fn initial(&mut self, state: &InitialState) {
        self.piece(size_of::<InitialState>(), LoaderEffect::Initial(0, state));
    }
}

/// Part of a file in the bundle; `None` if it is not all there.
pub(crate) fn part<'b>(file: &Entry<'b>, start: u64, length: u64) -> Option<Entry<'b>> {
    let bytes = file
        .bytes
        .get(usize::try_from(start).ok()?..)?
        .get(..usize::try_from(length).ok()?)?;
    Some(Entry {
        offset: file.offset + start,
        bytes,
        ..*file
    })
}
