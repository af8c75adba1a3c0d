//! What an audit found: figures for the reader, and what is wrong.

use std::fmt::Display;
use std::process::ExitCode;

/// Figures and problems, in the order they were found.
#[derive(Debug)]
pub(crate) struct Findings {
    /// Whether places are printed of what is counted.
    places: bool,
    problems: Vec<String>,
}

impl Findings {
    /// None yet.
    pub(crate) fn new(places: bool) -> Self {
        Self {
            places,
            problems: Vec::new(),
        }
    }

    /// Prints where something that is counted stands, if that is wanted.
    pub(crate) fn place(&self, text: impl Display) {
        if self.places {
            println!("{text}");
        }
    }

    /// Prints a figure.
    pub(crate) fn figure(&self, text: impl Display) {
        println!("{text}");
    }

    /// Notes that a bar is not kept.
    pub(crate) fn problem(&mut self, text: impl Display) {
        self.problems.push(text.to_string());
    }

    /// Holds a figure against its bar.
    pub(crate) fn at_most(&mut self, what: &str, figure: usize, bar: usize) {
        self.figure(format_args!("{what}: {figure} (at most {bar})"));
        if figure > bar {
            self.problem(format_args!("{what}: {figure} is more than {bar}"));
        }
    }

    /// Prints the problems; fails if there are any.
    pub(crate) fn report(self) -> ExitCode {
        for problem in &self.problems {
            eprintln!("error: {problem}");
        }
        if self.problems.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}
