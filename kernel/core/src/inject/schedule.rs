//! Which message is hit: what must match, and which of the matches it is.

use atoll_protocol::inject::{INJECTIONS, Injection, KIND_AT, Model, Plan, kind_name};
use atoll_protocol::units::{ServerId, Ticks};

use super::{Injector, Sequel, Subject};

/// SplitMix64: every seed gives a stream of its own, and the first number is as good as any.
pub(super) fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Eight bytes of a message behind its header, little-endian; zero behind the end.
fn word(message: &[u8], place: usize) -> u64 {
    let bytes = message.get(KIND_AT + place..).unwrap_or(&[]);
    bytes
        .iter()
        .take(8)
        .rev()
        .fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// The port, MSR or guest-physical address of an exit, which is the first field of its block: tag, length, block.
fn address(kind: u8, message: &[u8]) -> Option<u64> {
    let field = word(message, 2);
    match kind_name(kind)? {
        "port-read" | "port-write" | "port-read-string" | "port-write-string" => {
            Some(field & 0xffff)
        }
        "msr-read" | "msr-write" | "cpuid" => Some(field & 0xffff_ffff),
        "mmio-read" | "mmio-write" | "memory-fault" | "nested-fault" => Some(field),
        _ => None,
    }
}

impl Injector {
    /// Begins with another plan.
    pub(super) fn take_over(&mut self, plan: Plan) {
        // In place: a stack in ring 0 has no room for all of it.
        for (_, subject) in self.subjects.iter_mut() {
            *subject = Subject::NEW;
        }
        self.matches = [0; INJECTIONS];
        self.fired = [0; INJECTIONS];
        self.draws = [0; INJECTIONS];
        self.sequel = Sequel::Nothing;
        (self.over, self.paused) = (false, false);
        self.plan = plan;
        for (state, injection) in self.draws.iter_mut().zip(plan.injections()) {
            *state = injection.seed;
        }
    }

    /// Whether some injection replays answers.
    pub(super) fn replays(&self) -> bool {
        self.plan
            .injections()
            .iter()
            .any(|injection| injection.model == Model::Stale.number())
    }

    /// Counts a message; true if it is one that is delivered again after a fault.
    pub(super) fn arrived(&mut self, to: ServerId, kind: u8) -> bool {
        let subject = &mut self.subjects[to];
        subject.active = true;
        subject.current = kind;
        if subject.is_redelivered() {
            return true;
        }
        if let Some(count) = subject.counts.get_mut(usize::from(kind)) {
            *count = count.saturating_add(1);
        }
        false
    }

    /// The first injection that is due for this message, with its place in the plan.
    pub(super) fn due(
        &mut self,
        to: ServerId,
        kind: u8,
        message: &[u8],
        again: bool,
        exits: u64,
        now: Ticks,
    ) -> Option<(u8, Injection)> {
        let recovering = self
            .subjects
            .iter()
            .any(|(_, subject)| subject.faulted.is_some());
        let Injector {
            plan,
            matches,
            fired,
            draws,
            ..
        } = self;
        let mut due = None;
        let progress = matches.iter_mut().zip(fired).zip(draws);
        for ((place, injection), ((matches, fired), random)) in
            (0..).zip(plan.injections()).zip(progress)
        {
            // What only comes because of a fault would make the n-th message another one than without it.
            let extra =
                again || kind_name(kind) == Some("restarted") && injection.kind == Injection::ANY;
            let counted = !extra
                || injection.flags & (Injection::REDELIVERIES | Injection::WHILE_RECOVERING) != 0;
            let phase = injection.flags & Injection::WHILE_RECOVERING == 0 || recovering;
            if !counted || !phase || exits < injection.exits || now.0 < injection.time {
                continue;
            }
            if !is_meant(injection, to, kind, message) {
                continue;
            }
            *matches = matches.saturating_add(1);
            let spent = injection.limit != 0 && *fired >= injection.limit;
            if is_turn(injection, *matches, random) && !spent && due.is_none() {
                *fired = fired.saturating_add(1);
                due = Some((place, *injection));
            }
        }
        due
    }
}

/// Whether an injection is about such a message.
fn is_meant(injection: &Injection, to: ServerId, kind: u8, message: &[u8]) -> bool {
    let any = |wanted: u8, is: u8| wanted == Injection::ANY || wanted == is;
    let range = injection.address_first..=injection.address_last;
    let everywhere = injection.flags & Injection::AT_ADDRESS == 0;
    any(injection.server, to.number())
        && any(injection.kind, kind)
        && (everywhere || address(kind, message).is_some_and(|address| range.contains(&address)))
        && (injection.mask == 0
            || word(message, injection.place as usize) & injection.mask == injection.value)
}

/// Whether it happens at this match.
fn is_turn(injection: &Injection, matches: u64, random: &mut u64) -> bool {
    if injection.chance != 0 {
        return draw(random) as u32 <= injection.chance;
    }
    let Some(since) = matches.checked_sub(injection.first.max(1)) else {
        return false;
    };
    if injection.flags & Injection::ONE_OF != 0 {
        let size = injection.every.max(1);
        let part = since.checked_div(size).unwrap_or(0);
        return since.checked_rem(size)
            == draw(&mut injection.seed.wrapping_add(part)).checked_rem(size);
    }
    since == 0 || injection.every != 0 && since.is_multiple_of(injection.every)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn plan(injection: Injection) -> Injector {
        let mut plan = Plan {
            count: 1,
            ..Plan::NONE
        };
        plan.injections[0] = injection;
        let mut injector = Injector::IDLE;
        injector.take_over(plan);
        injector
    }

    const ANY: Injection = Injection {
        model: 1,
        server: Injection::ANY,
        kind: Injection::ANY,
        ..Plan::NONE.injections[0]
    };

    /// At which of a hundred messages it happens.
    fn hits(injection: Injection) -> Vec<u32> {
        let mut injector = plan(injection);
        let due = |_: &u32| {
            injector
                .due(ServerId::nth(1), 16, &[0; 40], false, 0, Ticks(0))
                .is_some()
        };
        (1..=100).filter(due).collect()
    }

    #[test]
    fn the_nth_message_is_hit_once() {
        assert_eq!(hits(Injection { first: 7, ..ANY }), [7]);
        assert_eq!(hits(ANY), [1]);
    }

    #[test]
    fn every_kth_message_is_hit_until_the_limit() {
        assert_eq!(
            hits(Injection {
                first: 5,
                every: 40,
                ..ANY
            }),
            [5, 45, 85]
        );
        assert_eq!(
            hits(Injection {
                first: 5,
                every: 10,
                limit: 3,
                ..ANY
            }),
            [5, 15, 25]
        );
    }

    #[test]
    fn one_message_of_each_part_is_hit_and_the_seed_says_which() {
        let one_of = |seed| {
            hits(Injection {
                first: 11,
                every: 10,
                flags: Injection::ONE_OF,
                seed,
                ..ANY
            })
        };
        assert_eq!(one_of(1), one_of(1));
        assert_ne!(one_of(1), one_of(2));
        let parts: Vec<u32> = one_of(3).iter().map(|hit| (hit - 1) / 10).collect();
        assert_eq!(parts, (1..10).collect::<Vec<_>>());
        // From the second part on, the same with the seed that belongs there.
        assert_eq!(
            one_of(3)[1..],
            hits(Injection {
                first: 21,
                every: 10,
                flags: Injection::ONE_OF,
                seed: 4,
                ..ANY
            })
        );
    }

    #[test]
    fn a_message_about_a_restart_counts_only_if_that_is_asked_for() {
        let restarted = atoll_protocol::inject::kind_with_name("restarted").unwrap();
        for (injection, hit) in [
            (ANY, false),
            (
                Injection {
                    kind: restarted,
                    ..ANY
                },
                true,
            ),
            (
                Injection {
                    flags: Injection::REDELIVERIES,
                    ..ANY
                },
                true,
            ),
        ] {
            assert_eq!(
                plan(injection)
                    .due(ServerId::nth(1), restarted, &[], false, 0, Ticks(0))
                    .is_some(),
                hit
            );
        }
    }

    #[test]
    fn chance_follows_its_seed() {
        let often = |seed| {
            hits(Injection {
                chance: u32::MAX / 4,
                seed,
                ..ANY
            })
        };
        assert_eq!(often(1), often(1));
        assert_ne!(often(1), often(2));
        assert!((10..45).contains(&often(1).len()));
    }

    #[test]
    fn a_redelivery_is_not_hit_again_unless_that_is_asked_for() {
        let twice = Injection { every: 1, ..ANY };
        for (flags, hit) in [(0, false), (Injection::REDELIVERIES, true)] {
            let mut injector = plan(Injection { flags, ..twice });
            assert!(
                injector
                    .due(ServerId::nth(1), 16, &[], false, 0, Ticks(0))
                    .is_some()
            );
            assert_eq!(
                injector
                    .due(ServerId::nth(1), 16, &[], true, 0, Ticks(0))
                    .is_some(),
                hit
            );
        }
    }

    #[test]
    fn only_the_port_that_is_meant_is_hit() {
        let mut message = [0; 64];
        message[KIND_AT..KIND_AT + 4].copy_from_slice(&[4, 12, 0xf8, 0x03]);
        let meant = Injection {
            flags: Injection::AT_ADDRESS,
            address_first: 0x3f8,
            address_last: 0x3ff,
            every: 1,
            ..ANY
        };
        let mut injector = plan(meant);
        assert!(
            injector
                .due(ServerId::nth(1), 4, &message, false, 0, Ticks(0))
                .is_some()
        );
        message[KIND_AT + 3] = 0x02;
        assert!(
            injector
                .due(ServerId::nth(1), 4, &message, false, 0, Ticks(0))
                .is_none()
        );
        let masked = Injection {
            place: 2,
            mask: 0xff00,
            value: 0x0200,
            every: 1,
            ..ANY
        };
        assert!(
            plan(masked)
                .due(ServerId::nth(1), 4, &message, false, 0, Ticks(0))
                .is_some()
        );
    }

    #[test]
    fn exits_and_time_are_waited_for() {
        let mut injector = plan(Injection {
            exits: 10,
            time: 100,
            ..ANY
        });
        assert!(
            injector
                .due(ServerId::nth(1), 0, &[], false, 10, Ticks(99))
                .is_none()
        );
        assert!(
            injector
                .due(ServerId::nth(1), 0, &[], false, 9, Ticks(100))
                .is_none()
        );
        assert!(
            injector
                .due(ServerId::nth(1), 0, &[], false, 10, Ticks(100))
                .is_some()
        );
    }
}
