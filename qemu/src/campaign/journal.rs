//! What the kernel's log tells of injections, detections and recoveries: lines of `inject: WHAT KEY=VALUE...`.

use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A fault was injected.
    Injected {
        /// Its place in the plan.
        entry: u8,
        /// Into whose activation.
        server: u8,
        /// By which kind of message.
        kind: u8,
        /// Which message of that kind it was.
        nth: u32,
        /// When, in ticks.
        at: u64,
    },
    /// A server was faulted.
    Detected {
        /// Which.
        server: u8,
        /// The injection that its activation was under, if any.
        entry: Option<u8>,
        /// When, in ticks.
        at: u64,
        /// The rule that it broke.
        reason: String,
    },
    /// A server has been started again.
    Restarted {
        /// Which.
        server: u8,
        /// When, in ticks.
        at: u64,
    },
    /// A server has answered again.
    Recovered {
        /// Which.
        server: u8,
        /// When, in ticks.
        at: u64,
    },
    /// A server is held: its state was exported, for another to take its place.
    Held {
        /// Which.
        server: u8,
        /// When, in ticks.
        at: u64,
    },
    /// The other has started.
    Exchanged {
        /// In whose place.
        server: u8,
        /// When, in ticks.
        at: u64,
    },
    /// The same server has started again: nothing has come of the exchange.
    RolledBack {
        /// Which.
        server: u8,
        /// When, in ticks.
        at: u64,
    },
}

/// What a log tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Messages that each server was sent: server, kind, count.
    pub counts: Vec<(u8, u8, u32)>,
    /// Exits of the guest, and the time at the end, if the kernel left by itself.
    pub end: Option<(u64, u64)>,
    /// Whether the plan's time was up.
    pub overtime: bool,
    /// Whether the kernel took the plan over.
    pub planned: bool,
    /// Servers that were put out of action for good.
    pub quarantined: bool,
}

impl Journal {
    /// Reads a log.
    #[must_use]
    pub fn read(log: &str) -> Self {
        let mut journal = Self::default();
        for line in log.lines() {
            let Some((_, text)) = line.split_once("inject: ") else {
                journal.quarantined |= line.contains("quarantine");
                continue;
            };
            journal.take(text);
        }
        journal
    }

    fn take(&mut self, text: &str) {
        let number = |key: &str| -> Option<u64> {
            let value = text
                .split_whitespace()
                .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))?;
            value.parse().ok()
        };
        let small = |key: &str| number(key).and_then(|number| u8::try_from(number).ok());
        let event = match text.split_whitespace().next() {
            Some("injected") => (|| {
                let (entry, server, kind) = (small("entry")?, small("server")?, small("kind")?);
                Some(Event::Injected {
                    entry,
                    server,
                    kind,
                    nth: number("nth")? as u32,
                    at: number("at")?,
                })
            })(),
            Some("detected") => (|| {
                let reason = text
                    .split_once("reason=")
                    .map_or("", |(_, reason)| reason)
                    .to_owned();
                Some(Event::Detected {
                    server: small("server")?,
                    entry: small("entry"),
                    at: number("at")?,
                    reason,
                })
            })(),
            Some("restarted") => (|| {
                Some(Event::Restarted {
                    server: small("server")?,
                    at: number("at")?,
                })
            })(),
            Some("recovered") => (|| {
                Some(Event::Recovered {
                    server: small("server")?,
                    at: number("at")?,
                })
            })(),
            Some("held") => (|| {
                Some(Event::Held {
                    server: small("server")?,
                    at: number("at")?,
                })
            })(),
            Some("exchanged") => (|| {
                Some(Event::Exchanged {
                    server: small("server")?,
                    at: number("at")?,
                })
            })(),
            Some("rolled-back") => (|| {
                Some(Event::RolledBack {
                    server: small("server")?,
                    at: number("at")?,
                })
            })(),
            Some("count") => {
                if let (Some(server), Some(kind), Some(count)) =
                    (small("server"), small("kind"), number("count"))
                {
                    self.counts.push((server, kind, count as u32));
                }
                None
            }
            Some("end") => {
                self.end = number("exits").zip(number("at"));
                None
            }
            Some("plan") => {
                self.planned = true;
                None
            }
            Some("overtime") => {
                self.overtime = true;
                None
            }
            _ => None,
        };
        self.events.extend(event);
    }

    /// Messages that a server was sent, of all kinds.
    #[must_use]
    pub fn messages(&self, server: u8) -> u64 {
        self.counts
            .iter()
            .filter(|(number, ..)| *number == server)
            .map(|(.., count)| u64::from(*count))
            .sum()
    }

    /// How many faults were injected.
    #[must_use]
    pub fn injected(&self) -> usize {
        self.events
            .iter()
            .filter(|event| matches!(event, Event::Injected { .. }))
            .count()
    }

    /// How many servers' faults were detected, injected or not.
    #[must_use]
    pub fn detected(&self) -> usize {
        self.events
            .iter()
            .filter(|event| matches!(event, Event::Detected { .. }))
            .count()
    }

    /// How many recoveries there were.
    #[must_use]
    pub fn recovered(&self) -> usize {
        self.events
            .iter()
            .filter(|event| matches!(event, Event::Recovered { .. }))
            .count()
    }

    /// From each injection to its detection, in ticks.
    #[must_use]
    pub fn detection_latencies(&self) -> Vec<u64> {
        ticks(spans(&self.events, Event::injection, Event::detection))
    }

    /// From each detection to the server's start, in ticks.
    #[must_use]
    pub fn restart_latencies(&self) -> Vec<u64> {
        ticks(spans(&self.events, Event::detection, Event::restart))
    }

    /// From each detection to the first answer after it, in ticks.
    #[must_use]
    pub fn recovery_latencies(&self) -> Vec<u64> {
        ticks(spans(&self.events, Event::detection, Event::recovery))
    }

    /// From each hold to the start of what comes then, in ticks.
    #[must_use]
    pub fn blackouts(&self) -> Vec<u64> {
        ticks(spans(&self.events, Event::hold, Event::release))
    }
}

/// A server and a time.
type Mark = Option<(u8, u64)>;

impl Event {
    /// Where it is an injection.
    #[must_use]
    pub fn injection(&self) -> Mark {
        if let Event::Injected { server, at, .. } = self {
            Some((*server, *at))
        } else {
            None
        }
    }

    /// Where it is a detection.
    #[must_use]
    pub fn detection(&self) -> Mark {
        if let Event::Detected { server, at, .. } = self {
            Some((*server, *at))
        } else {
            None
        }
    }

    /// Where it is a server's start.
    #[must_use]
    pub fn restart(&self) -> Mark {
        if let Event::Restarted { server, at } = self {
            Some((*server, *at))
        } else {
            None
        }
    }

    /// Where it is a server's first answer after a fault.
    #[must_use]
    pub fn recovery(&self) -> Mark {
        if let Event::Recovered { server, at } = self {
            Some((*server, *at))
        } else {
            None
        }
    }

    /// Where it is the begin of an exchange.
    #[must_use]
    pub fn hold(&self) -> Mark {
        if let Event::Held { server, at } = self {
            Some((*server, *at))
        } else {
            None
        }
    }

    /// Where it is the end of one.
    #[must_use]
    pub fn release(&self) -> Mark {
        match self {
            Event::Exchanged { server, at } | Event::RolledBack { server, at } => {
                Some((*server, *at))
            }
            _ => None,
        }
    }
}

/// Spans from one kind of event to the next of another, server by server: whose, and how long.
#[must_use]
pub fn spans(
    events: &[Event],
    begins: impl Fn(&Event) -> Mark,
    ends: impl Fn(&Event) -> Mark,
) -> Vec<(u8, u64)> {
    let mut open = std::collections::HashMap::new();
    let mut spans = Vec::new();
    for event in events {
        if let Some((server, at)) = ends(event)
            && let Some(since) = open.remove(&server)
        {
            spans.push((server, at - since));
        }
        if let Some((server, at)) = begins(event) {
            open.insert(server, at);
        }
    }
    spans
}

fn ticks(spans: Vec<(u8, u64)>) -> Vec<u64> {
    spans.into_iter().map(|(_, ticks)| ticks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
[0.5] inject: plan sequence=2 count=1 at=500
[0.6] inject: injected entry=0 server=3 kind=0 nth=7 at=600
[0.7] inject: detected server=3 entry=0 at=650 reason=Exception { vector: 6, error: 0, address: 0 }
[0.7] its last messages, oldest first:
[0.8] inject: restarted server=3 at=800
[0.8] inject: recovered server=3 at=900 latency=250
[0.9] inject: count server=3 kind=0 count=12
[0.9] inject: count server=3 kind=25 count=1
[0.9] inject: end exits=99 at=1000
";

    #[test]
    fn a_fault_is_followed_from_its_injection_to_its_recovery() {
        let journal = Journal::read(LOG);
        assert_eq!(
            (journal.injected(), journal.detected(), journal.recovered()),
            (1, 1, 1)
        );
        assert_eq!(journal.detection_latencies(), [50]);
        assert_eq!(journal.restart_latencies(), [150]);
        assert_eq!(journal.recovery_latencies(), [250]);
        assert_eq!(journal.messages(3), 13);
        assert_eq!(journal.end, Some((99, 1000)));
        assert!(journal.planned && !journal.overtime);
    }

    #[test]
    fn an_exchange_lasts_from_the_hold_to_the_first_answer() {
        let journal =
            Journal::read("inject: held server=9 at=100\ninject: exchanged server=9 at=350\n");
        assert_eq!(journal.blackouts(), [250]);
    }

    #[test]
    fn a_fault_that_nobody_injected_is_told_apart() {
        let journal = Journal::read("[1.0] inject: detected server=4 entry=-1 at=5 reason=Hang\n");
        let expected = Event::Detected {
            server: 4,
            entry: None,
            at: 5,
            reason: "Hang".into(),
        };
        assert_eq!(journal.events, [expected]);
    }
}
