//! The grammar of faults, the same on the command line and in TOML plans:
//!
//! ```text
//! MODEL[:ARGUMENT] [SERVER[/MESSAGE]] [KEY=VALUE]...
//!
//! crash uart/port-write nth=3          the third OUT to the UART crashes it
//! hang irqchip every=50 from=7         the 7th, 57th, 107th... message
//! flip-answer:17 * p=0.01 seed=4       bit 17 of one answer in a hundred, anybody's
//! wild-write:kernel msr/msr-read address=0x1b
//! clock-skew:-1000 pit/timer nth=1
//! kill:supervisor cpuid during=recovery
//! swap:uart uart one-of=100 seed=3     one message of each hundred
//! ```
//!
//! Parts are separated by blanks or commas. `SERVER` is a name or a role from the machine's manifest, `*` any; `MESSAGE` is a kind of
//! message. Keys: `nth`, `every` with `from`, `one-of` with `from` (and `seed`), or `p` (with `seed`) say which of the matching messages are
//! hit; `limit` how often at most; `address` (a port, MSR or guest-physical address, or a range `A..=B`), `exits`, `time` (ticks), `match=PLACE:MASK:VALUE` (eight
//! bytes of the message) and `during=recovery` narrow them down; `again=yes` counts redeliveries, too. Counts are logical: nothing
//! depends on the host's clock.

mod parse;
mod resolve;
mod split;

use std::fmt;

use atoll_protocol::inject::{Injection, Model, Needs, Place, Surplus, kind_name};

pub use resolve::{IMAGES_AT, Names};

/// A fault, as a person writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub model: Model,
    /// What the model needs to know.
    pub argument: Argument,
    /// Whose messages: a server's name or role; `None` for any.
    pub server: Option<String>,
    /// Which kind of message; `None` for any.
    pub kind: Option<u8>,
    /// Which of the messages.
    pub schedule: Schedule,
    /// How often at most; 0 for any number.
    pub limit: u32,
    /// Seed of what is drawn.
    pub seed: u64,
    /// Port, MSR or guest-physical address, first and last.
    pub address: Option<(u64, u64)>,
    /// Not before so many exits.
    pub exits: u64,
    /// Not before this time, in ticks.
    pub time: u64,
    /// Place, mask and value of the message's bytes.
    pub matching: Option<(u32, u64, u64)>,
    /// Only while some server recovers.
    pub during_recovery: bool,
    /// Whether redeliveries count.
    pub again: bool,
}

/// What a model needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Nothing.
    Nothing,
    /// A number; ticks may be negative where they are a skew.
    Number(u64),
    /// To be drawn from the seed.
    Random,
    /// A server's name.
    Server(String),
    /// An image's name.
    Image(String),
}

/// Which of the matching messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// The n-th, counted from 1.
    Nth(u64),
    /// Every k-th, beginning with `from`.
    Every {
        /// From one to the next.
        every: u64,
        /// The first.
        from: u64,
    },
    /// From the match `from` on: one of each `of`, drawn from the seed.
    OneOf {
        /// Matches in one part.
        of: u64,
        /// The first match of the first part.
        from: u64,
    },
    /// Each with this probability, in units of 2^-32.
    Chance(u32),
}

impl Fault {
    /// What goes wrong, without where and when: `wild-write:kernel`.
    #[must_use]
    pub fn what(&self) -> String {
        self.to_string()
            .split(' ')
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    /// The model, at the first message of all: to be narrowed down.
    #[must_use]
    pub fn of(model: Model) -> Self {
        let argument = match model.needs() {
            Needs::Nothing => Argument::Nothing,
            Needs::Bit => Argument::Random,
            Needs::Server => Argument::Server("supervisor".into()),
            Needs::Image => Argument::Image(String::new()),
            _ => Argument::Number(0),
        };
        Self {
            model,
            argument,
            server: None,
            kind: None,
            schedule: Schedule::Nth(1),
            limit: 0,
            seed: 0,
            address: None,
            exits: 0,
            time: 0,
            matching: None,
            during_recovery: false,
            again: false,
        }
    }
}

/// The canonical text, from which parsing makes the same fault.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model.name())?;
        match (&self.argument, self.model.needs()) {
            (Argument::Nothing, _) => {}
            (Argument::Random, _) => f.write_str(":random")?,
            (Argument::Server(name) | Argument::Image(name), _) => write!(f, ":{name}")?,
            (Argument::Number(number), Needs::Place) => {
                write!(
                    f,
                    ":{}",
                    Place::with_number(*number).map_or("?", Place::name)
                )?;
            }
            (Argument::Number(number), Needs::Surplus) => {
                write!(
                    f,
                    ":{}",
                    Surplus::with_number(*number).map_or("?", Surplus::name)
                )?;
            }
            (Argument::Number(number), Needs::Skew) => write!(f, ":{}", *number as i64)?,
            (Argument::Number(number), _) => write!(f, ":{number}")?,
        }
        write!(f, " {}", self.server.as_deref().unwrap_or("*"))?;
        if let Some(kind) = self.kind {
            write!(f, "/{}", kind_name(kind).unwrap_or("?"))?;
        }
        match self.schedule {
            Schedule::Nth(nth) => write!(f, " nth={nth}")?,
            Schedule::Every { every, from } => write!(f, " every={every} from={from}")?,
            Schedule::OneOf { of, from } => write!(f, " one-of={of} from={from}")?,
            Schedule::Chance(chance) => write!(f, " p={}", f64::from(chance) / CERTAIN)?,
        }
        let numbers = [
            ("limit", u64::from(self.limit)),
            ("seed", self.seed),
            ("exits", self.exits),
            ("time", self.time),
        ];
        for (key, number) in numbers.into_iter().filter(|(_, number)| *number != 0) {
            write!(f, " {key}={number}")?;
        }
        if let Some((first, last)) = self.address {
            write!(f, " address={first:#x}..={last:#x}")?;
        }
        if let Some((place, mask, value)) = self.matching {
            write!(f, " match={place}:{mask:#x}:{value:#x}")?;
        }
        if self.during_recovery {
            f.write_str(" during=recovery")?;
        }
        if self.again {
            f.write_str(" again=yes")?;
        }
        Ok(())
    }
}

/// The probability 1, in units of 2^-32.
const CERTAIN: f64 = 4_294_967_296.0;

impl serde::Serialize for Fault {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Fault {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Numbers that mean "drawn" or "any" on the wire cannot be written as numbers.
const RESERVED: u64 = Injection::RANDOM;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn argument(model: Model) -> BoxedStrategy<Argument> {
        match model.needs() {
            Needs::Nothing => Just(Argument::Nothing).boxed(),
            Needs::Bit => prop_oneof![
                (0..RESERVED).prop_map(Argument::Number),
                Just(Argument::Random)
            ]
            .boxed(),
            Needs::Place => (0..Place::ALL.len() as u64)
                .prop_map(Argument::Number)
                .boxed(),
            Needs::Surplus => (0..Surplus::ALL.len() as u64)
                .prop_map(Argument::Number)
                .boxed(),
            Needs::Server => "[a-z][a-z0-9-]{0,12}".prop_map(Argument::Server).boxed(),
            Needs::Image => "[a-z][a-z0-9-]{0,12}".prop_map(Argument::Image).boxed(),
            Needs::Line => (0..24_u64).prop_map(Argument::Number).boxed(),
            Needs::Ticks | Needs::Skew | Needs::Value => {
                (0..RESERVED).prop_map(Argument::Number).boxed()
            }
        }
    }

    fn schedule() -> impl Strategy<Value = Schedule> {
        prop_oneof![
            (1..u64::MAX).prop_map(Schedule::Nth),
            (1..u64::MAX, 1..u64::MAX).prop_map(|(every, from)| Schedule::Every { every, from }),
            (1..u64::MAX, 1..u64::MAX).prop_map(|(of, from)| Schedule::OneOf { of, from }),
            (1..u32::MAX).prop_map(Schedule::Chance),
        ]
    }

    prop_compose! {
        fn fault()(model in prop::sample::select(Model::ALL))(
            model in Just(model),
            argument in argument(model),
            target in prop::option::of(("[a-z][a-z0-9-]{0,12}", prop::option::of(0..32_u8))),
            schedule in schedule(),
            (limit, seed, exits, time) in any::<(u32, u64, u64, u64)>(),
            address in prop::option::of((any::<u64>(), any::<u64>()).prop_map(|(a, b)| (a.min(b), a.max(b)))),
            matching in prop::option::of((any::<u32>(), 1..u64::MAX, any::<u64>())),
            (during_recovery, again) in any::<(bool, bool)>(),
        ) -> Fault {
            let (server, kind) = target.map_or((None, None), |(server, kind)| (Some(server), kind));
            // Bits beyond the mask can never be met.
            let matching = matching.map(|(place, mask, value): (u32, u64, u64)| (place, mask, value & mask));
            Fault {
                model, argument, server, kind, schedule, limit, seed, address, exits, time, matching, during_recovery, again,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_parsed_as_the_same_fault(fault in fault()) {
            let text = fault.to_string();
            prop_assert_eq!(text.parse::<Fault>(), Ok(fault), "{}", text);
        }
    }
}
