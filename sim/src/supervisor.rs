//! The script that the supervisor follows: it makes the servers, restarts whoever is faulted, and puts one server into another's place when
//! there is an order for that on its desk. It does so as a server does: from its vault and the message alone, so that it can be faulted
//! at every message as the others can.

use atoll_protocol::effect::{Effect, Supervise, Terms};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::layout::IMAGE;
use atoll_protocol::message::{Body, Message};
use atoll_protocol::order::{Order, Outcome};
use atoll_protocol::units::{HostIrq, ServerId};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::cast::Cast;

/// The supervisor.
pub const SUPERVISOR: ServerId = ServerId::SUPERVISOR;
/// The slot in which successors are made.
pub const FREE: ServerId = ServerId::nth(30);
/// The interrupt that says that there is something on the desk.
pub const BELL: HostIrq = HostIrq::nth(7);
/// How often a swap is tried.
const TRIES: u64 = 60;
/// The token of a request that is made before the machine is left.
const LAST: u32 = 1;

/// What is on the desk: how many orders there ever were, and whom to replace by what.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    /// Whom to put a new server in place of, and that one's image, in order.
    pub swaps: Vec<(ServerId, &'static str)>,
    /// How often the console is to be asked whether all was written.
    pub flushes: u64,
}

/// Its vault's first line.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Memory {
    /// How far the script has come.
    next: u64,
    /// Swaps that are done with.
    swapped: u64,
    /// How often the next one was tried.
    tries: u64,
    /// Whether there is a successor in the free slot.
    made: u64,
    /// Orders to ask the console that were seen. One comes to nothing while the console has not answered yet.
    flushed: u64,
    /// How many swaps came to their end.
    succeeded: u64,
    /// Whether the console has not answered yet.
    asked: u64,
    /// Whom to replace by its like, because of an order by mail: its number plus 1; 0 for nobody.
    ordered: u64,
}

impl Memory {
    /// Whether the machine was built.
    pub(crate) fn is_built(&self, cast: &Cast) -> bool {
        self.next as usize >= cast.script().len()
    }

    /// Whether all swaps of the desk are done with.
    pub(crate) fn is_at_rest(&self, desk: &Desk) -> bool {
        self.swapped as usize >= desk.swaps.len() && self.made == 0 && self.ordered == 0
    }

    /// Who is replaced next, and by which image.
    fn next_swap<'c>(&self, cast: &'c Cast, desk: &Desk) -> Option<(ServerId, &'c str)> {
        let Some(ordered) = self.ordered.checked_sub(1) else {
            let (of, image) = desk.swaps.get(self.swapped as usize)?;
            return Some((*of, image));
        };
        let of = ServerId::nth(ordered as u8);
        Some((of, &cast.part(of)?.image))
    }

    /// Swaps that are done with.
    pub(crate) fn swapped(&self) -> u64 {
        self.swapped
    }

    /// Swaps that came to their end.
    #[must_use]
    pub fn succeeded(&self) -> u64 {
        self.succeeded
    }
}

/// The answer under construction.
struct Answer<'e> {
    bytes: &'e mut [u8],
    used: usize,
}

impl Answer<'_> {
    fn put(&mut self, effect: &Effect<'_>) {
        // A supervisor whose vault is damaged may want to say more than fits: that is an answer as good as any other.
        self.used += effect.write(&mut self.bytes[self.used..]).unwrap_or(0);
    }

    fn order(&mut self, order: Supervise<'_>) {
        self.put(&Effect::Supervise(order));
    }
}

/// One activation; the answer's length.
pub(crate) fn answer(
    cast: &Cast,
    desk: &Desk,
    message: &[u8],
    answer: &mut [u8],
    vault: &mut [u8],
) -> u64 {
    let (Ok(message), Ok((memory, _))) = (Message::read(message), Memory::mut_from_prefix(vault))
    else {
        return 0;
    };
    let before = *memory;
    let mut answer = Answer {
        bytes: answer,
        used: 0,
    };
    match message.body {
        Body::Start(..) | Body::Loaded => go_on(cast, memory, &mut answer),
        Body::ServerStarted(FREE, generation) if memory.made != 0 => {
            finish(cast, desk, memory, generation, &mut answer)
        }
        Body::ServerStarted(..) => go_on(cast, memory, &mut answer),
        Body::ServerFaulted(report) if report.server == FREE => call_off(memory, &mut answer),
        Body::ServerFaulted(report) => {
            if memory
                .next_swap(cast, desk)
                .is_some_and(|(of, _)| of == report.server)
            {
                call_off(memory, &mut answer);
            }
            answer.order(Supervise::Restart(report.server));
        }
        Body::Released(_) => {
            call_off(memory, &mut answer);
            give_up(memory);
        }
        Body::HostIrq(_) => {
            if memory.flushed != desk.flushes && memory.asked == 0 {
                memory.asked = 1;
                flush(cast, 0, &mut answer);
            }
            memory.flushed = desk.flushes;
            begin(cast, desk, memory, &mut answer);
        }
        Body::Request(_, bytes) => {
            let outcome = match postcard::from_bytes(bytes) {
                Ok(Order::Kill(id)) if cast.part(id).is_some() => {
                    answer.order(Supervise::Kill(id));
                    Outcome::Done
                }
                Ok(Order::Swap(of, ..))
                    if cast.stays(of) && memory.made == 0 && memory.ordered == 0 =>
                {
                    memory.ordered = u64::from(of.number()) + 1;
                    begin(cast, desk, memory, &mut answer);
                    Outcome::Done
                }
                _ => Outcome::NotNow,
            };
            let mut page = [0; 16];
            let bytes = postcard::to_slice(&outcome, &mut page).map_or(&[][..], |bytes| bytes);
            answer.put(&Effect::Reply(message.header.0.ticket, bytes));
        }
        Body::MachineStopped(_) => flush(cast, LAST, &mut answer),
        Body::Answered(LAST, _) => answer.order(Supervise::Exit(0)),
        Body::Answered(..) => memory.asked = 0,
        _ => {}
    }
    if memory.as_bytes() != before.as_bytes() {
        answer.put(&Effect::Save(0, 1));
    }
    answer.used as u64
}

/// The next step of the script.
fn go_on(cast: &Cast, memory: &mut Memory, answer: &mut Answer<'_>) {
    if let Some(next) = cast.script().get(memory.next as usize) {
        answer.bytes[..next.len()].copy_from_slice(next);
        answer.used = next.len();
        memory.next = memory.next.wrapping_add(1);
    }
}

/// Takes up the next swap of the desk.
fn begin(cast: &Cast, desk: &Desk, memory: &mut Memory, answer: &mut Answer<'_>) {
    // What is under way does not come to its end, and something newer lies on the desk, or nothing any more.
    let newer = desk.swaps.len() as u64 > memory.swapped.saturating_add(1);
    if memory.made != 0 && memory.ordered == 0 && (newer || memory.next_swap(cast, desk).is_none())
    {
        call_off(memory, answer);
        if newer {
            give_up(memory);
        }
        return;
    }
    let next = memory.next_swap(cast, desk).filter(|_| memory.made == 0);
    let Some((of, image)) = next else { return };
    let (Some(part), Some(segment)) = (cast.part(of), crate::bundle::segment(image)) else {
        return give_up(memory);
    };
    memory.made = 1;
    memory.tries = memory.tries.wrapping_add(1);
    answer.order(Supervise::Create(
        FREE,
        part.role,
        part.limits,
        "successor",
        image,
    ));
    answer.order(Supervise::Segment(FREE, Fixed(segment)));
    if part.reads_guest {
        answer.order(Supervise::Grant(
            FREE,
            atoll_protocol::grant::Grant::GuestRead,
        ));
    }
    answer.order(Supervise::Succeed(
        FREE,
        of,
        Fixed(IMAGE),
        Terms::Gentle,
        &part.config,
    ));
}

/// The successor has begun: it takes the other's place.
fn finish(cast: &Cast, desk: &Desk, memory: &mut Memory, generation: u32, answer: &mut Answer<'_>) {
    let Some((of, _)) = memory.next_swap(cast, desk) else {
        return;
    };
    answer.order(Supervise::Exchange(FREE, of, generation));
    answer.order(Supervise::Destroy(FREE));
    memory.made = 0;
    memory.succeeded = memory.succeeded.wrapping_add(1);
    give_up(memory);
}

/// What was begun is undone. It is tried again when the bell rings next.
fn call_off(memory: &mut Memory, answer: &mut Answer<'_>) {
    if memory.made != 0 {
        answer.order(Supervise::Destroy(FREE));
        memory.made = 0;
        if memory.tries >= TRIES {
            give_up(memory);
        }
    }
}

/// Done with this swap.
fn give_up(memory: &mut Memory) {
    if memory.ordered == 0 {
        memory.swapped = memory.swapped.wrapping_add(1);
    }
    (memory.ordered, memory.tries) = (0, 0);
}

fn flush(cast: &Cast, token: u32, answer: &mut Answer<'_>) {
    if let Some(console) = cast.console() {
        answer.put(&Effect::Request(console, token, b""));
    }
}
