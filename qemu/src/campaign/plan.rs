//! A campaign's plan: what is booted, where experiments begin, and which faults there are, as TOML.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::Deserialize;

use super::grammar::{Fault, IMAGES_AT, Names};
use super::lab::Begin;
use crate::error::{Error, Result};

/// A plan.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Plan {
    /// Version of this format: 1.
    pub campaign: u32,
    /// What the campaign is called in its report.
    pub name: String,
    /// A guest as `atoll boot` takes it: `linux`, `generic`, or one from `qemu/guests`.
    pub guest: String,
    /// More for the guest's command line.
    pub append: Option<String>,
    /// A machine's manifest; without it the machine that boots Linux.
    pub machine: Option<PathBuf>,
    /// How long a server may take for a message, in microseconds of virtual time, where the manifest says nothing. A manifest's own default
    /// is for hosts that let the machine wait now and then; where an instruction is a tick, a hang can be told much earlier.
    pub budget_us: Option<u32>,
    /// A script that Linux has as `/w`.
    pub workload: Option<String>,
    /// Seed of the samples.
    #[serde(default)]
    pub seed: u64,
    /// Seconds that a run may take by the host's clock: only for a guest that stops doing anything at all.
    #[serde(default = "minutes")]
    pub timeout: u64,
    /// Where experiments begin.
    pub phase: Vec<Phase>,
    /// Faults at each message, or at a sample of them.
    #[serde(default)]
    pub sweep: Vec<Sweep>,
    /// Single runs.
    #[serde(default)]
    pub run: Vec<Run>,
    /// Runs with a fault at the first message, at the second, and so on until none is hit.
    #[serde(default)]
    pub fail_nth: Vec<FailNth>,
}

/// A part of the guest's life.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// `start`, or a regular expression that the guest's console must have shown.
    pub begin: String,
    /// What is typed when it begins.
    #[serde(default)]
    pub input: String,
    /// What is typed after that: pairs of what the console must have shown since, and what is typed then.
    #[serde(default)]
    pub dialogue: Vec<(String, String)>,
    /// Regular expressions: what is a time in the lines of the guest's kernel, beside the `[seconds]` that they begin with. It is left out
    /// when consoles are compared.
    #[serde(default)]
    pub times: Vec<String>,
    /// Runs without a fault. How many of them differ from the golden run says what a differing run with a fault is worth.
    #[serde(default)]
    pub controls: usize,
}

/// One fault for each message of a server, or for a sample.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sweep {
    /// The phases; all of them if none is named.
    #[serde(default)]
    pub phases: Vec<String>,
    /// The faults: models with arguments, without servers and schedules.
    pub faults: Vec<Fault>,
    /// The servers; all that get messages if none is named.
    #[serde(default)]
    pub servers: Vec<String>,
    /// Up to so many messages, each is hit.
    #[serde(default = "all")]
    pub exhaustive: u64,
    /// Of more messages, so many are hit: one, drawn at random, of each of as many equal parts.
    #[serde(default = "some")]
    pub sample: u64,
    /// Faults in one run, each once.
    #[serde(default = "first", rename = "per-run")]
    pub per_run: u64,
    /// So many runs more for each server and fault that have only one fault.
    #[serde(default)]
    pub singles: u64,
}

/// One run, or several that differ in their seeds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Run {
    /// The phase.
    pub phase: String,
    /// The faults.
    pub faults: Vec<Fault>,
    /// How often, with another seed each time.
    #[serde(default = "one")]
    pub repeat: usize,
}

/// Runs that differ in which message is hit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FailNth {
    /// The phase.
    pub phase: String,
    /// The fault, at the message 1, 2, 3...
    pub fault: Fault,
    /// Faults that are there each time: what has to fail first, where the fault is one during recovery.
    #[serde(default)]
    pub with: Vec<Fault>,
    /// Most runs.
    #[serde(default = "all")]
    pub most: u64,
}

fn minutes() -> u64 {
    180
}

fn all() -> u64 {
    500
}

fn some() -> u64 {
    100
}

fn one() -> usize {
    1
}

fn first() -> u64 {
    1
}

impl Plan {
    /// Reads a plan from a file.
    pub fn load(path: &Path) -> Result<(Self, String)> {
        let text = fs::read_to_string(path).map_err(Error::file(path))?;
        let mut plan = Self::parse(&path.display().to_string(), &text)?;
        // A machine is named beside the plan.
        if let (Some(machine), Some(dir)) = (&mut plan.machine, path.parent()) {
            *machine = dir.join(&machine);
        }
        Ok((plan, text))
    }

    /// Reads a plan; `file` is its name in error messages.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let wrong = |line: usize, what: String| Error::Campaign {
            file: file.to_owned(),
            line,
            what,
        };
        let plan: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| {
                1 + text[..span.start.min(text.len())].matches('\n').count()
            });
            wrong(line, error.message().to_owned())
        })?;
        plan.check().map_err(|what| wrong(1, what))?;
        Ok(plan)
    }

    /// Whether all that it names is in the machine: told before anything is built or run.
    pub fn check_names(&self, names: &Names) -> std::result::Result<(), String> {
        for name in self.sweep.iter().flat_map(|sweep| &sweep.servers) {
            if names.number(name).is_none() {
                let all: Vec<&str> = names.all().collect();
                return Err(format!(
                    "a sweep is over the server '{name}', which is not in the machine; there are: {}",
                    all.join(", ")
                ));
            }
        }
        let series = self.fail_nth.iter().map(|series| {
            let mut faults = series.with.clone();
            faults.push(series.fault.clone());
            faults
        });
        let runs = self.run.iter().map(|run| run.faults.clone());
        runs.chain(series)
            .try_for_each(|faults| Fault::plan(&faults, names).map(drop))
    }

    fn check(&self) -> std::result::Result<(), String> {
        if self.campaign != 1 {
            return Err(format!(
                "campaign = {}: this tool reads plans of version 1",
                self.campaign
            ));
        }
        let known = |name: &String| self.phase.iter().any(|phase| phase.name == *name);
        let named = self
            .sweep
            .iter()
            .flat_map(|sweep| &sweep.phases)
            .chain(self.run.iter().map(|run| &run.phase));
        let named = named.chain(self.fail_nth.iter().map(|series| &series.phase));
        if let Some(name) = named.into_iter().find(|name| !known(name)) {
            return Err(format!("there is no phase '{name}'"));
        }
        for phase in &self.phase {
            phase.begin()?;
            phase.times()?;
            let dialogue = phase.dialogue();
            if dialogue.len() > IMAGES_AT {
                let length = dialogue.len();
                return Err(format!(
                    "phase '{}': its dialogue has {length} bytes, and {IMAGES_AT} can be kept",
                    phase.name
                ));
            }
            if dialogue.matches('\0').count() != 2 * (phase.dialogue.len() + 1) {
                return Err(format!(
                    "phase '{}': a zero byte cannot be waited for or typed",
                    phase.name
                ));
            }
            if !phase
                .name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                || phase.name.is_empty()
            {
                return Err(format!(
                    "phase '{}': use letters, digits and '-'",
                    phase.name
                ));
            }
        }
        if self.sweep.iter().any(|sweep| sweep.per_run == 0) {
            return Err("per-run = 0: expected 1 or more".into());
        }
        Ok(())
    }
}

impl Phase {
    /// What is a time in the kernel's lines.
    pub fn times(&self) -> std::result::Result<Vec<Regex>, String> {
        let wrong = |error| format!("phase '{}': {error}", self.name);
        self.times
            .iter()
            .map(|time| Regex::new(time).map_err(wrong))
            .collect()
    }

    /// The dialogue as the kernel keeps it: what is waited for and what is typed in turn, each with a zero behind it.
    #[must_use]
    pub fn dialogue(&self) -> String {
        let first = ["", &self.input].into_iter();
        let all = first.chain(
            self.dialogue
                .iter()
                .flat_map(|(shown, typed)| [shown.as_str(), typed]),
        );
        all.flat_map(|text| [text, "\0"]).collect()
    }

    /// Where it begins.
    pub fn begin(&self) -> std::result::Result<Begin, String> {
        if self.begin == "start" {
            return Ok(Begin::Start);
        }
        let pattern = regex::bytes::RegexBuilder::new(&self.begin)
            .unicode(false)
            .build();
        pattern
            .map(Begin::Milestone)
            .map_err(|error| format!("phase '{}': {error}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use atoll_manifest::Machine;

    use super::*;

    const PLAN: &str = r#"
campaign = 1
name = "cpuid"
guest = "hello"
[[phase]]
name = "boot"
begin = "start"
[[sweep]]
faults = ["crash", "wild-write:kernel"]
servers = ["cpuid"]
"#;

    #[test]
    fn a_plan_of_a_few_lines_says_the_rest_by_itself() {
        let plan = Plan::parse("p", PLAN).unwrap();
        assert_eq!(
            (
                plan.sweep[0].exhaustive,
                plan.sweep[0].sample,
                plan.sweep[0].per_run
            ),
            (500, 100, 1)
        );
        assert_eq!(
            plan.sweep[0].faults[1].to_string(),
            "wild-write:kernel * nth=1"
        );
    }

    #[test]
    fn a_server_that_the_machine_does_not_have_is_told_with_those_that_it_has() {
        let names = Names::of(&Machine::linux().unwrap());
        let wrong = |text: &str| {
            let plan = Plan::parse("p", text).unwrap();
            plan.check_names(&names).unwrap_err()
        };
        let error = wrong(&PLAN.replace("[\"cpuid\"]", "[\"disk\"]"));
        assert!(
            error.contains("'disk'") && error.contains("there are: supervisor, cpuid"),
            "{error}"
        );
        let run = "[[run]]\nphase = \"boot\"\nfaults = [\"crash disk\"]\n";
        assert!(wrong(&(PLAN.to_owned() + run)).contains("disk"));
        Plan::parse("p", PLAN).unwrap().check_names(&names).unwrap();
    }

    #[test]
    fn a_dialogue_is_what_is_waited_for_and_what_is_typed_in_turn() {
        let dialogue = "input = \"ls\\n\"\ndialogue = [[\"name? \", \"atoll\"]]\n[[sweep]]";
        let plan = Plan::parse("p", &PLAN.replacen("[[sweep]]", dialogue, 1)).unwrap();
        assert_eq!(plan.phase[0].dialogue(), "\0ls\n\0name? \0atoll\0");
        assert_eq!(Plan::parse("p", PLAN).unwrap().phase[0].dialogue(), "\0\0");
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let refusal = |from: &str, to: &str| {
            Plan::parse("p", &PLAN.replace(from, to))
                .unwrap_err()
                .to_string()
        };
        let wrong = refusal("\"crash\"", "\"crahs\"");
        assert!(
            wrong.contains("p:9") && wrong.contains("no model 'crahs'"),
            "{wrong}"
        );
        assert!(refusal("servers", "phases").contains("no phase 'cpuid'"));
        assert!(refusal("campaign = 1", "campaign = 2").contains("version 1"));
        let long = format!("input = \"{}\"\n[[sweep]]", "x".repeat(300));
        assert!(refusal("[[sweep]]", &long).contains("302 bytes"));
        assert!(
            refusal("[[sweep]]", "dialogue = [[\"a\\u0000\", \"b\"]]\n[[sweep]]")
                .contains("zero byte")
        );
        assert!(refusal("\"start\"", "\"(\"").contains("regex"));
    }
}
