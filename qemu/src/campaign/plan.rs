//! A campaign's plan: what is booted, where experiments begin, and which faults there are, as TOML.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use atoll_protocol::inject::TYPED;

use super::grammar::Fault;
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
    /// A machine's manifest; without it the machine that boots Linux.
    pub machine: Option<PathBuf>,
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
    #[serde(default = "one", rename = "per-run")]
    pub per_run: usize,
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
        let wrong = |line: usize, what: String| Error::Manifest { file: file.to_owned(), line, what };
        let plan: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            wrong(line, error.message().to_owned())
        })?;
        plan.check().map_err(|what| wrong(1, what))?;
        Ok(plan)
    }

    fn check(&self) -> std::result::Result<(), String> {
        if self.campaign != 1 {
            return Err(format!("campaign = {}: this tool reads plans of version 1", self.campaign));
        }
        let known = |name: &String| self.phase.iter().any(|phase| phase.name == *name);
        let named = self.sweep.iter().flat_map(|sweep| &sweep.phases).chain(self.run.iter().map(|run| &run.phase));
        if let Some(name) = named.into_iter().find(|name| !known(name)) {
            return Err(format!("there is no phase '{name}'"));
        }
        for phase in &self.phase {
            phase.begin()?;
            if phase.input.len() > TYPED {
                let length = phase.input.len();
                return Err(format!("phase '{}': its input has {length} bytes, and {TYPED} can be typed", phase.name));
            }
            if !phase.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') || phase.name.is_empty() {
                return Err(format!("phase '{}': use letters, digits and '-'", phase.name));
            }
        }
        let most = atoll_protocol::inject::INJECTIONS;
        match self.sweep.iter().find(|sweep| sweep.per_run == 0 || sweep.per_run > most) {
            Some(sweep) => Err(format!("per-run = {}: wanted is 1 to {most}", sweep.per_run)),
            None => Ok(()),
        }
    }
}

impl Phase {
    /// Where it begins.
    pub fn begin(&self) -> std::result::Result<Begin, String> {
        if self.begin == "start" {
            return Ok(Begin::Start);
        }
        let pattern = regex::bytes::RegexBuilder::new(&self.begin).unicode(false).build();
        pattern.map(Begin::Milestone).map_err(|error| format!("phase '{}': {error}", self.name))
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!((plan.sweep[0].exhaustive, plan.sweep[0].sample, plan.sweep[0].per_run), (500, 100, 1));
        assert_eq!(plan.sweep[0].faults[1].to_string(), "wild-write:kernel * nth=1");
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let refusal = |from: &str, to: &str| Plan::parse("p", &PLAN.replace(from, to)).unwrap_err().to_string();
        let wrong = refusal("\"crash\"", "\"crahs\"");
        assert!(wrong.contains("p:9") && wrong.contains("no model 'crahs'"), "{wrong}");
        assert!(refusal("servers", "phases").contains("no phase 'cpuid'"));
        assert!(refusal("campaign = 1", "campaign = 2").contains("version 1"));
        let long = format!("input = \"{}\"\n[[sweep]]", "x".repeat(300));
        assert!(refusal("[[sweep]]", &long).contains("300 bytes"));
        assert!(refusal("\"start\"", "\"(\"").contains("regex"));
    }
}
