//! From text to a fault. What is wrong is said in the words of the one who wrote it.

use std::str::FromStr;

use atoll_protocol::LINES;
use atoll_protocol::inject::{Model, Needs, Place, Surplus, kind_with_name};

use super::{Argument, CERTAIN, Fault, RESERVED, Schedule};

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text
            .split(|letter: char| letter == ',' || letter.is_whitespace())
            .filter(|word| !word.is_empty())
            .peekable();
        let first = words
            .next()
            .ok_or("a fault begins with its model, such as 'crash'")?;
        let (name, argument) = first
            .split_once(':')
            .map_or((first, None), |(name, argument)| (name, Some(argument)));
        let model = Model::with_name(name).ok_or_else(|| {
            format!(
                "there is no model '{name}' (there are: {})",
                names(Model::ALL.iter().map(|model| model.name()))
            )
        })?;
        let mut fault = Fault {
            argument: self::argument(model, argument)?,
            ..Fault::of(model)
        };
        if let Some(target) = words.next_if(|word| !word.contains('=')) {
            fault.take_target(target)?;
        }
        let (mut every, mut from, mut nth, mut chance, mut one_of) = (None, None, None, None, None);
        let mut seen = Vec::new();
        for word in words {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| format!("'{word}' is not KEY=VALUE"))?;
            if seen.contains(&key) {
                return Err(format!("'{key}' is there twice"));
            }
            seen.push(key);
            match key {
                "nth" => nth = Some(positive(key, value)?),
                "every" => every = Some(positive(key, value)?),
                "one-of" => one_of = Some(positive(key, value)?),
                "from" => from = Some(positive(key, value)?),
                "p" => chance = Some(self::chance(value)?),
                "limit" => {
                    fault.limit = number(value)?
                        .try_into()
                        .map_err(|_| format!("limit={value} is too large"))?
                }
                "seed" => fault.seed = number(value)?,
                "exits" => fault.exits = number(value)?,
                "time" => fault.time = number(value)?,
                "address" => fault.address = Some(range(value)?),
                "match" => fault.matching = Some(matching(value)?),
                "during" if value == "recovery" => fault.during_recovery = true,
                "again" if value == "yes" => fault.again = true,
                "during" => {
                    return Err(format!("during={value}: only 'recovery' can be waited for"));
                }
                "again" => return Err(format!("again={value}: wanted is 'yes'")),
                _ => {
                    let known = "nth, every, one-of, from, p, limit, seed, exits, time, address, match, during, again";
                    return Err(format!("unknown key '{key}' (there are: {known})"));
                }
            }
        }
        fault.schedule =
            match (nth, every, one_of, chance, from) {
                (Some(nth), None, None, None, None) => Schedule::Nth(nth),
                (None, Some(every), None, None, from) => Schedule::Every {
                    every,
                    from: from.unwrap_or(every),
                },
                (None, None, Some(of), None, from) => Schedule::OneOf {
                    of,
                    from: from.unwrap_or(1),
                },
                (None, None, None, Some(chance), None) => Schedule::Chance(chance),
                (None, None, None, None, None) => Schedule::Nth(1),
                (None, None, None, None, Some(_)) => {
                    return Err("'from' goes with 'every' and 'one-of'".into());
                }
                _ => return Err(
                    "of 'nth', 'every', 'one-of' and 'p' only one can say which messages are hit"
                        .into(),
                ),
            };
        Ok(fault)
    }
}

impl Fault {
    fn take_target(&mut self, target: &str) -> Result<(), String> {
        let (server, kind) = target
            .split_once('/')
            .map_or((target, None), |(server, kind)| (server, Some(kind)));
        self.server = (server != "*").then(|| server.to_owned());
        self.kind = match kind {
            None | Some("*") => None,
            Some(kind) => Some(
                kind_with_name(kind)
                    .ok_or_else(|| format!("there is no kind of message '{kind}'"))?,
            ),
        };
        Ok(())
    }
}

fn argument(model: Model, text: Option<&str>) -> Result<Argument, String> {
    let missing = || {
        format!(
            "{} needs an argument: {}",
            model.name(),
            wanted(model.needs())
        )
    };
    let Some(text) = text else {
        return match model.needs() {
            Needs::Nothing => Ok(Argument::Nothing),
            Needs::Bit => Ok(Argument::Random),
            _ => Err(missing()),
        };
    };
    let named = |found: Option<u8>, all: String| {
        found
            .map(|number| Argument::Number(u64::from(number)))
            .ok_or_else(|| format!("'{text}' is none of: {all}"))
    };
    match model.needs() {
        Needs::Nothing => Err(format!("{} takes no argument", model.name())),
        Needs::Bit if text == "random" => Ok(Argument::Random),
        Needs::Place => named(
            Place::with_name(text).map(Place::number),
            names(Place::ALL.iter().map(|place| place.name())),
        ),
        Needs::Surplus => named(
            Surplus::with_name(text).map(Surplus::number),
            names(Surplus::ALL.iter().map(|surplus| surplus.name())),
        ),
        Needs::Server if !text.is_empty() => Ok(Argument::Server(text.to_owned())),
        Needs::Image if !text.is_empty() => Ok(Argument::Image(text.to_owned())),
        Needs::Server | Needs::Image => Err(missing()),
        Needs::Skew if text.starts_with('-') => text
            .parse::<i64>()
            .map(|skew| Argument::Number(skew as u64))
            .map_err(|_| format!("'{text}' is no number")),
        Needs::Line => match number(text)? {
            line if line < LINES as u64 => Ok(Argument::Number(line)),
            line => Err(format!("there is no interrupt line {line}")),
        },
        Needs::Ticks | Needs::Skew | Needs::Bit | Needs::Value => match number(text)? {
            RESERVED => Err(format!("'{text}' is too large")),
            number => Ok(Argument::Number(number)),
        },
    }
}

fn wanted(needs: Needs) -> String {
    match needs {
        Needs::Nothing => "none".into(),
        Needs::Ticks => "ticks, as in 'slow:50000'".into(),
        Needs::Skew => "ticks, as in 'clock-skew:-1000'".into(),
        Needs::Bit => "a bit or 'random'".into(),
        Needs::Value => "a value, as in 'wrong-value:0x10'".into(),
        Needs::Image => "an image, as in 'swap:uart'".into(),
        Needs::Place => format!(
            "one of {}",
            names(Place::ALL.iter().map(|place| place.name()))
        ),
        Needs::Surplus => format!(
            "one of {}",
            names(Surplus::ALL.iter().map(|surplus| surplus.name()))
        ),
        Needs::Line => "an interrupt line".into(),
        Needs::Server => "a server, as in 'kill:supervisor'".into(),
    }
}

fn names<'n>(all: impl Iterator<Item = &'n str>) -> String {
    all.collect::<Vec<_>>().join(", ")
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.replace('_', "").parse(),
    };
    parsed.map_err(|_| format!("'{text}' is no number"))
}

fn positive(key: &str, text: &str) -> Result<u64, String> {
    match number(text)? {
        0 => Err(format!("{key} counts from 1")),
        number => Ok(number),
    }
}

fn chance(text: &str) -> Result<u32, String> {
    let p: f64 = text
        .parse()
        .map_err(|_| format!("'{text}' is no probability"))?;
    let units = (p * CERTAIN).round();
    if units >= 1.0 && p <= 1.0 {
        Ok(units.min(f64::from(u32::MAX)) as u32)
    } else {
        Err(format!("p={text}: wanted is 0 < p <= 1"))
    }
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let (first, last) = text.split_once("..=").unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if first <= last {
        Ok((first, last))
    } else {
        Err(format!("address={text} is empty"))
    }
}

fn matching(text: &str) -> Result<(u32, u64, u64), String> {
    let parts: Vec<&str> = text.split(':').collect();
    let [place, mask, value] = parts[..] else {
        return Err(format!("match={text}: wanted is PLACE:MASK:VALUE"));
    };
    let place = number(place)?
        .try_into()
        .map_err(|_| format!("match={text}: the place is too large"))?;
    let (mask, value) = (number(mask)?, number(value)?);
    if mask == 0 || value & !mask != 0 {
        return Err(format!(
            "match={text}: the value has bits that the mask has not"
        ));
    }
    Ok((place, mask, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        text.parse::<Fault>().unwrap_err()
    }

    #[test]
    fn commas_and_blanks_separate_alike() {
        let fault: Fault = "crash uart/port-write nth=3".parse().unwrap();
        assert_eq!("crash,uart/port-write,nth=3".parse(), Ok(fault.clone()));
        assert_eq!(fault.to_string(), "crash uart/port-write nth=3");
    }

    #[test]
    fn what_is_left_out_means_the_first_message_of_all() {
        assert_eq!("hang".parse::<Fault>().unwrap().to_string(), "hang * nth=1");
        assert_eq!(
            "hang pit every=5".parse::<Fault>().unwrap().to_string(),
            "hang pit every=5 from=5"
        );
    }

    #[test]
    fn mistakes_are_named() {
        assert!(refusal("crsh").contains("no model 'crsh'"));
        assert!(refusal("crash uart/prt").contains("no kind of message 'prt'"));
        assert!(refusal("crash uart nth=0").contains("counts from 1"));
        assert!(refusal("crash uart nth=1 p=0.5").contains("only one"));
        assert!(refusal("crash uart nth=1 nth=2").contains("twice"));
        assert!(refusal("wild-write:mars").contains("'mars' is none of: text, kernel"));
        assert!(refusal("slow").contains("needs an argument: ticks"));
        assert!(refusal("crash:5").contains("takes no argument"));
        assert!(refusal("crash * p=2").contains("0 < p <= 1"));
        assert!(refusal("crash * match=1:0xf0:0x0f").contains("mask has not"));
    }
}
