//! What a compromised server could answer: what the server says that it pretends to be, something else that it may or may not do, noise, or
//! nothing for ever.

use atoll_protocol::effect::{Effect, Fifo, Query};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{Body, Message};
use atoll_protocol::order::{Order, PIECE_BYTES, checksum};
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{ServerId, TicketId, Ticks, TimerId};
use atoll_protocol::{PANICKED, SERVERS};
use atoll_sdk::effects::Surroundings;

use crate::dice::Dice;
use crate::island::Island;
use crate::packed::{EVIL, PRETENDED, image};
use crate::supervisor::SUPERVISOR;

/// What the host takes for an answer that never comes.
pub const HANGS: u64 = u64::MAX;
/// Names of images that an order may have: of the bundle, or of nothing.
const NAMES: [&str; 14] = [
    "cpuid",
    "msr",
    "mmu-npt",
    "irqchip",
    "uart",
    "console",
    "control",
    "supervisor",
    "loader",
    "reserve",
    "",
    "..",
    "image/cpuid",
    "pit",
];
/// Where the servers that can be pretended to be are, in the order of [`PRETENDED`], by the manifest of Linux's machine.
const SLOTS: [u8; 8] = [1, 2, 3, 6, 7, 9, 10, 11];
/// The host's port that the control line is on.
const PORT: u16 = 0x2f8;

/// A hostile server.
pub struct Hostile {
    pretended: Option<Box<dyn Island>>,
    dice: Dice,
    upload: Upload,
}

/// An image that is being sent, and how much of it was.
#[derive(Clone)]
struct Upload {
    image: Vec<u8>,
    sent: usize,
    /// Whose place it could take.
    fits: ServerId,
}

impl Hostile {
    /// One that pretends to be another, or does not even do that.
    #[must_use]
    pub fn new(pretended: Option<Box<dyn Island>>, seed: u64) -> Self {
        Self {
            pretended,
            dice: Dice::new(seed),
            upload: Upload {
                image: Vec::new(),
                sent: 0,
                fits: SUPERVISOR,
            },
        }
    }

    /// Puts some effects behind what is there; how much there is then.
    fn add(&mut self, message: &[u8], answer: &mut [u8], mut used: usize) -> usize {
        let message = Message::read(message).ok();
        let now = message.as_ref().map_or(0, |message| message.header.0.now.0);
        let ticket = message
            .as_ref()
            .map_or(TicketId(0), |message| message.header.0.ticket);
        for _ in 0..1 + self.dice.below(3) {
            let place = answer.get_mut(used..).unwrap_or_default();
            used += self.effect(now, ticket, place);
        }
        used
    }

    fn effect(&mut self, now: u64, ticket: TicketId, into: &mut [u8]) -> usize {
        let dice = &mut self.dice;
        let peer = if dice.below(3) > 0 {
            SUPERVISOR
        } else {
            ServerId::nth(dice.below(SERVERS as u64) as u8)
        };
        let noise = bytes(dice, 300);
        let written = match dice.below(14) {
            0..5 => {
                let order = order(dice, &mut self.upload);
                Effect::Request(peer, dice.any() as u32, &order).write(into)
            }
            5 => Effect::Request(peer, dice.any() as u32, &noise).write(into),
            6 => Effect::Mail(peer, &noise).write(into),
            7 => Effect::Log("\n[9.999999] hypervisor fault: forged \x1b[31m").write(into),
            8 => Effect::Arm(
                TimerId::nth(dice.below(4) as u8),
                Fixed(Ticks(now.wrapping_add(dice.below(3_000_000)))),
            )
            .write(into),
            9 => {
                let server = ServerId::nth(dice.any() as u8 % 32);
                let query = dice.pick(&[
                    Query::Machine,
                    Query::Server(server),
                    Query::Exit(server.number()),
                    Query::Dump(server, 0),
                ]);
                Effect::Query(query).write(into)
            }
            10 => {
                let fifo = Fifo {
                    data: PORT,
                    status: PORT + 5,
                    mask: 1,
                    burst: 16,
                };
                let bytes = &noise[..noise.len().min(16)];
                dice.pick(&[
                    Effect::Fill(fifo, bytes),
                    Effect::Drain(fifo, 16),
                    Effect::PortOut(PORT, 1, 65),
                ])
                .write(into)
            }
            11 => Effect::Exported(&noise).write(into),
            12 => Effect::Reply(ticket, &noise[..noise.len().min(20)]).write(into),
            _ => Effect::Save(0, 1).write(into),
        };
        written.unwrap_or(0)
    }
}

fn bytes(dice: &mut Dice, most: u64) -> Vec<u8> {
    (0..dice.below(most)).map(|_| dice.any() as u8).collect()
}

/// An order, as its bytes.
fn order(dice: &mut Dice, upload: &mut Upload) -> Vec<u8> {
    let server = ServerId::nth(dice.below(SERVERS as u64) as u8);
    let place = dice.below(PRETENDED.len() as u64) as usize;
    let (pretended, role) = PRETENDED[place];
    let evil = format!("{EVIL}{pretended}");
    // One that the image could take over from, more often than not.
    let fitting = dice.below(4) > 0;
    let of = if fitting {
        ServerId::nth(SLOTS[place])
    } else {
        server
    };
    let piece = bytes(dice, PIECE_BYTES as u64 + 20);
    let order = match dice.below(12) {
        0 => Order::Kill(server),
        1 | 2 => Order::Swap(of, dice.below(2) == 0, Some(&evil)),
        3 => Order::Swap(
            of,
            dice.below(2) == 0,
            Some(if fitting {
                pretended
            } else {
                dice.pick(&NAMES)
            }),
        ),
        4 => Order::Swap(
            if fitting { upload.fits } else { server },
            dice.below(2) == 0,
            None,
        ),
        5 => {
            let memory = dice.any() >> (24 + dice.below(40));
            upload.image = image(&evil, role, (1 + dice.below(2) as u16, 1), memory);
            (upload.sent, upload.fits) = (0, of);
            Order::Upload(upload.image.len() as u32, checksum(&upload.image))
        }
        6 => Order::Upload(dice.any() as u32 >> dice.below(32), dice.any()),
        7 => Order::Piece(
            dice.any() as u32 >> dice.below(32),
            checksum(&piece),
            &piece,
        ),
        _ => {
            let rest = upload.image.get(upload.sent..).unwrap_or_default();
            let piece = &rest[..rest.len().min(PIECE_BYTES)];
            let at = upload.sent as u32;
            upload.sent += piece.len();
            Order::Piece(at, checksum(piece), piece)
        }
    };
    postcard::to_allocvec(&order).expect("an order that can be encoded")
}

impl Island for Hostile {
    fn activate(
        &mut self,
        message: &[u8],
        answer: &mut [u8],
        vault: &mut [u8],
        around: Surroundings<'_>,
    ) -> u64 {
        // A machine of which a server never starts is none yet.
        if let (
            Ok(Message {
                body: Body::Start(..),
                ..
            }),
            Some(pretended),
        ) = (Message::read(message), &mut self.pretended)
        {
            return pretended.activate(message, answer, vault, around);
        }
        match self.dice.below(40) {
            0 => return PANICKED + 7,
            1 => return HANGS,
            2 => {
                let noise = bytes(&mut self.dice, 200);
                answer[..noise.len()].copy_from_slice(&noise);
                return noise.len() as u64;
            }
            _ => {}
        }
        let mut used = 0;
        // Where it goes on pretending, it goes on.
        if self.dice.below(8) > 0
            && let Some(pretended) = &mut self.pretended
        {
            used = pretended.activate(message, answer, vault, around);
        }
        if used >= PANICKED || self.dice.below(3) == 0 {
            return used;
        }
        self.add(message, answer, used as usize) as u64
    }

    fn twin(&self) -> Box<dyn Island> {
        Box::new(Self {
            pretended: self.pretended.as_ref().map(|island| island.twin()),
            dice: self.dice.clone(),
            upload: self.upload.clone(),
        })
    }
}

/// Whether a server of this role may be hostile.
#[must_use]
pub fn may_be(role: RoleKind) -> bool {
    PRETENDED.iter().any(|(_, pretended)| *pretended == role)
}
