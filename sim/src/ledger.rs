//! What was committed: every answer that broke no rule, with the message that it is the answer to.
//!
//! An effect that is committed twice, or lost, is one entry more or less than on the machine without faults. Messages of a restart itself
//! are not compared, since there is nothing to compare them with; nor are the answers of the supervisor, which restarts, and of the
//! drivers of the host's devices, which look at their devices after a restart: of those the bytes that come and go are compared
//! ([`sight`](crate::sight)), and the books ([`books`](crate::books)).

use std::collections::BTreeSet;
use std::ops::Range;

use atoll_protocol::effect::Effect;
use atoll_protocol::inject::kind_name;
use atoll_protocol::units::ServerId;
use atoll_protocol::wire;

/// One answer.
#[derive(Clone, Debug)]
struct Entry {
    server: ServerId,
    kind: u8,
    /// Whether the message told the interrupt controller which vector was accepted.
    accepted: bool,
    /// Whether it asks for registers, and so commits nothing.
    asks: bool,
    place: Range<usize>,
}

/// The answers of one step.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

/// The first difference between two ledgers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference(String);

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a message is about the server's own life.
fn is_lifecycle(kind: u8) -> bool {
    matches!(
        kind_name(kind),
        Some("start" | "restarted" | "export" | "import")
    )
}

/// Whether a message is about an exit of the guest's.
fn is_exit(kind: u8) -> bool {
    kind <= LAST_EXIT
}

/// `access-done`: the last of the kinds that are about exits.
const LAST_EXIT: u8 = 14;

impl Ledger {
    /// Begins with nothing.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }

    /// An answer was accepted.
    pub fn enter(&mut self, server: ServerId, kind: u8, accepted: bool, answer: &[u8]) {
        let asks = wire::effects(answer).any(|effect| effect == Effect::NeedRegisters);
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(answer);
        self.entries.push(Entry {
            server,
            kind,
            accepted,
            asks,
            place: begin..self.bytes.len(),
        });
    }

    /// Answers so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether something that is about an exit was committed after the first `known` answers.
    #[must_use]
    pub fn has_exits_after(&self, known: usize) -> bool {
        self.entries
            .iter()
            .skip(known)
            .any(|entry| is_exit(entry.kind) && !entry.asks)
    }

    /// All answers: by whom, to which kind of message, and their bytes.
    pub fn answers(&self) -> impl Iterator<Item = (ServerId, u8, &[u8])> {
        self.entries
            .iter()
            .map(|entry| (entry.server, entry.kind, &self.bytes[entry.place.clone()]))
    }

    fn of(&self, server: ServerId) -> Vec<Answer<'_>> {
        let own = self
            .entries
            .iter()
            .filter(|entry| entry.server == server && !is_lifecycle(entry.kind) && !entry.asks);
        own.map(|entry| (entry.kind, &self.bytes[entry.place.clone()]))
            .collect()
    }

    /// The exits' answers in their order, then the others sorted: which of two things that happen at once is told first depends on whose
    /// turn it is.
    fn ordered(&self, server: ServerId) -> Vec<Answer<'_>> {
        let (exits, mut others): (Vec<_>, Vec<_>) = self
            .of(server)
            .into_iter()
            .partition(|(kind, _)| is_exit(*kind));
        others.sort_unstable();
        [exits, others].concat()
    }

    /// Whether a server was restarted, or exchanged; and whether the message about that told it of a vector that was accepted.
    fn rebirth(&self, server: ServerId) -> Option<bool> {
        let mut own = self
            .entries
            .iter()
            .filter(|entry| entry.server == server && is_lifecycle(entry.kind))
            .peekable();
        own.peek()?;
        Some(own.any(|entry| entry.accepted))
    }

    /// Servers that were restarted, or exchanged.
    pub fn reborn(&self) -> impl Iterator<Item = ServerId> {
        self.entries
            .iter()
            .filter(|entry| is_lifecycle(entry.kind))
            .map(|entry| entry.server)
    }

    /// Holds it against that of the machine without faults, for these servers. Those that were ever `reborn` save and log what is their own,
    /// and may have armed timers again that are armed: which are is looked at by itself. Of those that are `lazy` about their timers only exits
    /// are compared then: one that fires early finds nothing to do, and one that was armed anew does not fire early.
    ///
    /// # Errors
    /// The first server whose commits differ.
    pub fn compare(
        &self,
        others: &Ledger,
        servers: &[ServerId],
        reborn: &BTreeSet<ServerId>,
        lazy: &[ServerId],
    ) -> Result<(), Difference> {
        for server in servers {
            let anew = reborn.contains(server);
            let (seen, wanted) = (self.ordered(*server), others.ordered(*server));
            let exits = |answers: &[Answer<'_>], accepted: bool| -> Vec<(u8, String)> {
                let exits = answers.iter().filter(|(kind, _)| is_exit(*kind));
                exits
                    .map(|(kind, answer)| {
                        (
                            *kind,
                            if accepted {
                                String::new()
                            } else {
                                plain(answer)
                            },
                        )
                    })
                    .collect()
            };
            let equal = match self.rebirth(*server) {
                // While it was away, lines may have risen and fallen again, and what is said once may have been said with the message about
                // the restart: the guest's exits are still as many.
                Some(accepted) => exits(&seen, accepted) == exits(&wanted, accepted),
                None if anew && lazy.contains(server) => {
                    exits(&seen, false) == exits(&wanted, false)
                }
                None => seen == wanted || lasting(&seen, anew) == lasting(&wanted, anew),
            };
            if !equal {
                return Err(Difference(format!(
                    "server {}: {} instead of {}",
                    server.number(),
                    text(&seen),
                    text(&wanted)
                )));
            }
        }
        Ok(())
    }
}

/// A kind of message, and the answer.
type Answer<'a> = (u8, &'a [u8]);

/// Whether an effect matters to others by itself.
fn matters(effect: &Effect<'_>) -> bool {
    !matches!(
        effect,
        Effect::Save(..) | Effect::Log(_) | Effect::Arm(..) | Effect::Disarm(_)
    )
}

/// The effects that matter to others, as text.
fn plain(answer: &[u8]) -> String {
    format!(
        "{:?}",
        wire::effects(answer).filter(matters).collect::<Vec<_>>()
    )
}

/// Of exits all, or of a server that was begun anew what matters to others, in order; of other messages what lasts of that, sorted. An offer depends on what was told first, and
/// is replaced by the next: the last one is looked at by itself.
fn lasting(answers: &[Answer<'_>], anew: bool) -> Vec<(u8, String)> {
    let lasts = |effect: &Effect<'_>| matters(effect) && !matches!(effect, Effect::Offer(_));
    let (exits, others): (Vec<_>, Vec<_>) = answers
        .iter()
        .copied()
        .partition(|(kind, _)| is_exit(*kind));
    let whole = |answer| {
        if anew {
            plain(answer)
        } else {
            format!("{answer:?}")
        }
    };
    let exits = exits
        .into_iter()
        .map(|(kind, answer)| (kind, whole(answer)));
    let other = |(kind, answer): Answer<'_>| {
        (
            kind,
            format!(
                "{:?}",
                wire::effects(answer).filter(lasts).collect::<Vec<_>>()
            ),
        )
    };
    let mut others: Vec<_> = others.into_iter().map(other).collect();
    others.sort_unstable();
    exits.chain(others).collect()
}

fn text(answers: &[Answer<'_>]) -> String {
    let one = |(kind, answer): &Answer<'_>| {
        let effects: Vec<_> = wire::effects(answer).collect();
        format!("{} -> {effects:x?}", kind_name(*kind).unwrap_or("?"))
    };
    format!(
        "[{}]",
        answers.iter().map(one).collect::<Vec<_>>().join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const UART: ServerId = ServerId::nth(9);

    /// `Done`, and `Save` of one line.
    fn answer(line: u16) -> Vec<u8> {
        let mut bytes = vec![0; 16];
        let done = Effect::Done.write(&mut bytes).unwrap();
        let save = Effect::Save(line, 1).write(&mut bytes[done..]).unwrap();
        bytes.truncate(done + save);
        bytes
    }

    fn ledger(answers: &[(u8, u16)]) -> Ledger {
        let mut ledger = Ledger::default();
        answers
            .iter()
            .for_each(|(kind, line)| ledger.enter(UART, *kind, false, &answer(*line)));
        ledger
    }

    #[test]
    fn exits_are_what_the_guest_waits_for() {
        assert_eq!(kind_name(LAST_EXIT), Some("access-done"));
        assert_eq!(kind_name(LAST_EXIT + 1), Some("line"));
    }

    #[test]
    fn what_was_committed_twice_or_not_at_all_is_noticed() {
        let wanted = ledger(&[(4, 1), (4, 2)]);
        let differs = |seen: &[(u8, u16)]| {
            ledger(seen)
                .compare(&wanted, &[UART], &BTreeSet::new(), &[])
                .is_err()
        };
        assert!(!differs(&[(4, 1), (4, 2)]));
        assert!(
            differs(&[(4, 1), (4, 1), (4, 2)]) && differs(&[(4, 2)]) && differs(&[(4, 2), (4, 1)])
        );
        let timers = ledger(&[(16, 1), (16, 2)]);
        assert!(
            ledger(&[(16, 2), (16, 1)])
                .compare(&timers, &[UART], &BTreeSet::new(), &[])
                .is_ok(),
            "whose turn it is does not matter"
        );
        assert!(
            ledger(&[(16, 2)])
                .compare(&timers, &[UART], &BTreeSet::new(), &[])
                .is_err()
        );
    }

    #[test]
    fn messages_about_a_restart_are_beside_the_point_and_so_is_what_exchanged_servers_save() {
        let wanted = ledger(&[(4, 1)]);
        let restarted = (0..)
            .find(|kind| kind_name(*kind) == Some("restarted"))
            .unwrap();
        assert!(
            ledger(&[(restarted, 7), (4, 1)])
                .compare(&wanted, &[UART], &BTreeSet::new(), &[])
                .is_ok()
        );
        assert!(
            ledger(&[(4, 2)])
                .compare(&wanted, &[UART], &BTreeSet::from([UART]), &[])
                .is_ok()
        );
        assert!(
            ledger(&[(4, 2)])
                .compare(&wanted, &[UART], &BTreeSet::new(), &[])
                .is_err()
        );
    }
}
