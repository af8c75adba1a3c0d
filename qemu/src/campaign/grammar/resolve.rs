//! From a fault with names to an injection with numbers.

use atoll_manifest::Machine;
use atoll_protocol::inject::{Injection, Plan, TEXT};

use super::{Argument, Fault, Schedule};

/// Where images' names are in a plan's text; before that is the dialogue.
pub const IMAGES_AT: usize = TEXT / 2;

/// The servers' names and roles, by number, and the images that there are.
#[derive(Clone, Debug)]
pub struct Names {
    servers: Vec<(String, &'static str)>,
    images: Vec<String>,
}

impl Names {
    /// Those of a machine.
    #[must_use]
    pub fn of(machine: &Machine) -> Self {
        let first = ("supervisor".to_owned(), "supervisor");
        let others = machine
            .servers
            .iter()
            .map(|server| (server.name.clone(), server.role.name()));
        let images = machine
            .servers
            .iter()
            .map(|server| &server.image)
            .chain(machine.spares.iter().map(|(spare, _)| spare));
        Self {
            servers: std::iter::once(first).chain(others).collect(),
            images: images.cloned().collect(),
        }
    }

    /// The number of the server with this name, or else of the first with this role.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u8> {
        let place =
            |wanted: &dyn Fn(&(String, &'static str)) -> bool| self.servers.iter().position(wanted);
        let found = place(&|server| server.0 == name).or_else(|| place(&|server| server.1 == name));
        found.and_then(|place| place.try_into().ok())
    }

    /// A server's name.
    #[must_use]
    pub fn name(&self, number: u8) -> &str {
        self.servers
            .get(usize::from(number))
            .map_or("?", |server| &server.0)
    }

    /// All names, in the order of their numbers.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().map(|server| server.0.as_str())
    }

    /// Writes an image's name into a plan's text, whose names end at `end`, unless it is there; where it is.
    fn write(&self, image: &str, text: &mut [u8; TEXT], end: &mut usize) -> Result<usize, String> {
        if !self.images.iter().any(|known| known == image) {
            return Err(format!(
                "the machine has no image '{image}' (it has: {})",
                self.images.join(", ")
            ));
        }
        let wanted = [image.as_bytes(), &[0]].concat();
        if let Some(at) = text[IMAGES_AT..*end]
            .windows(wanted.len())
            .position(|known| *known == *wanted)
        {
            return Ok(IMAGES_AT + at);
        }
        let at = *end;
        let place = text
            .get_mut(at..at + wanted.len())
            .ok_or("the images' names are too long for one run")?;
        place.copy_from_slice(&wanted);
        *end += wanted.len();
        Ok(at)
    }

    fn resolve(&self, name: &str) -> Result<u8, String> {
        self.number(name).ok_or_else(|| {
            let known: Vec<&str> = self.all().collect();
            format!(
                "the machine has no server '{name}' (it has: {})",
                known.join(", ")
            )
        })
    }
}

impl Fault {
    /// What the kernel is told.
    pub fn injection(&self, names: &Names) -> Result<Injection, String> {
        let mut injection = Injection {
            model: self.model.number(),
            server: self
                .server
                .as_deref()
                .map_or(Ok(Injection::ANY), |name| names.resolve(name))?,
            kind: self.kind.unwrap_or(Injection::ANY),
            limit: self.limit,
            seed: self.seed,
            exits: self.exits,
            time: self.time,
            argument: match &self.argument {
                Argument::Nothing => 0,
                Argument::Number(number) => *number,
                Argument::Random => Injection::RANDOM,
                Argument::Server(name) => u64::from(names.resolve(name)?),
                // Where it is in the text is known when there is one.
                Argument::Image(_) => 0,
            },
            ..Injection::default()
        };
        if let Some((first, last)) = self.address {
            injection.flags |= Injection::AT_ADDRESS;
            (injection.address_first, injection.address_last) = (first, last);
        }
        (injection.place, injection.mask, injection.value) = self.matching.unwrap_or_default();
        match self.schedule {
            Schedule::Nth(nth) => injection.first = nth,
            Schedule::Every { every, from } => (injection.every, injection.first) = (every, from),
            Schedule::OneOf { of, from } => {
                injection.flags |= Injection::ONE_OF;
                (injection.every, injection.first) = (of, from);
            }
            Schedule::Chance(chance) => injection.chance = chance,
        }
        if self.during_recovery {
            injection.flags |= Injection::WHILE_RECOVERING;
        }
        if self.again {
            injection.flags |= Injection::REDELIVERIES;
        }
        Ok(injection)
    }

    /// A plan of several faults.
    pub fn plan(faults: &[Fault], names: &Names) -> Result<Plan, String> {
        let mut plan = Plan {
            count: faults.len() as u32,
            ..Plan::NONE
        };
        if faults.len() > plan.injections.len() {
            return Err(format!(
                "{} faults in one run: at most {} fit",
                faults.len(),
                plan.injections.len()
            ));
        }
        let mut end = IMAGES_AT;
        for (place, fault) in plan.injections.iter_mut().zip(faults) {
            *place = fault.injection(names)?;
            if let Argument::Image(image) = &fault.argument {
                place.argument = names.write(image, &mut plan.text, &mut end)? as u64;
            }
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_by_its_name_and_by_its_role() {
        let names = Names::of(&Machine::linux().unwrap());
        let number = |text: &str| {
            text.parse::<Fault>()
                .unwrap()
                .injection(&names)
                .map(|injection| injection.server)
        };
        assert_eq!(number("crash serial"), number("crash uart"));
        assert_eq!(number("crash supervisor"), Ok(0));
        assert_eq!(number("crash"), Ok(Injection::ANY));
        assert!(
            number("crash nobody")
                .unwrap_err()
                .contains("no server 'nobody' (it has: supervisor, ")
        );
    }

    #[test]
    fn an_image_is_named_in_the_plans_text() {
        let names = Names::of(&Machine::linux().unwrap());
        let faults = [
            "swap:uart uart",
            "swap:mmu-npt mmu",
            "swap:uart serial nth=2",
        ]
        .map(|text| text.parse().unwrap());
        let plan = Fault::plan(&faults, &names).unwrap();
        let images: Vec<_> = plan
            .injections()
            .iter()
            .map(|injection| plan.string(injection.argument as usize))
            .collect();
        assert_eq!(images, [&b"uart"[..], b"mmu-npt", b"uart"]);
        let unknown = Fault::plan(&["swap:nothing uart".parse().unwrap()], &names).unwrap_err();
        assert!(
            unknown.contains("no image 'nothing' (it has: cpuid, "),
            "{unknown}"
        );
    }

    #[test]
    fn more_faults_than_a_plan_holds_are_refused() {
        let names = Names::of(&Machine::linux().unwrap());
        let fault: Fault = "crash".parse().unwrap();
        assert!(Fault::plan(&vec![fault.clone(); 32], &names).is_ok());
        assert!(Fault::plan(&vec![fault; 33], &names).is_err());
    }
}
