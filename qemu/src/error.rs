//! Everything that can go wrong before, while and after a machine runs, as one closed list: each prints as one line that names the
//! file (and the line in it) where there is one, and says what to do where that is known.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What most functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the tool gave up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be used.
    #[error("{}: {}{}", path.display(), error, advice(error))]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file of a campaign is wrong.
    #[error("{file}:{line}: {what}")]
    Campaign {
        /// The file.
        file: String,
        /// Line in it, from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// A guest file is not what it should be.
    #[error("{}: {what}", path.display())]
    Guest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A machine's manifest, or a server's program, is wrong.
    #[error(transparent)]
    Machine(#[from] atoll_manifest::Error),
    /// The guest does not fit into its memory.
    #[error(
        "{file}: {needed} MiB are needed to hold the guest's files, but the machine has {memory} MiB: give it --memory {needed}M or more"
    )]
    Memory {
        /// The largest of the files.
        file: String,
        /// Least memory, in MiB.
        needed: u64,
        /// Configured memory, in MiB.
        memory: u64,
    },
    /// Something that must be there is not.
    #[error("{what}")]
    Missing {
        /// What, and how to get it.
        what: String,
    },
    /// A program that the tool needs failed.
    #[error("{program} failed: {what}")]
    Program {
        /// The program.
        program: String,
        /// Its last line, or its status.
        what: String,
    },
    /// The crates for the bare machine do not build; the compiler has said why.
    #[error("building {package} failed (cargo: {status}); its messages are above")]
    Build {
        /// What was built.
        package: String,
        /// Cargo's status.
        status: String,
    },
    /// A downloaded file is not the one that was recorded.
    #[error("{}: does not match the hash recorded in {}; delete both to fetch it again", path.display(), lock.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// Where its hash is recorded.
        lock: PathBuf,
    },
    /// Another machine with this name runs.
    #[error(
        "a machine named '{name}' is already running (process {pid}); give this one another name with --name"
    )]
    Running {
        /// The name.
        name: String,
        /// Whose it is.
        pid: String,
    },
    /// No machine with this name runs.
    #[error("no machine named '{name}' is running")]
    NotRunning {
        /// The name.
        name: String,
    },
    /// The machine did not do what it was asked.
    #[error("the machine '{name}' refuses: {what}")]
    Refused {
        /// The machine.
        name: String,
        /// Why.
        what: String,
    },
    /// The machine did not answer on its control line.
    #[error("the machine '{name}' does not answer on its control line: {what}")]
    Silent {
        /// The machine.
        name: String,
        /// What was expected.
        what: String,
    },
    /// An argument makes no sense.
    #[error("{what}")]
    Usage {
        /// Why.
        what: String,
    },
    /// A signal ended the tool.
    #[error("ended by signal {signal}")]
    Signal {
        /// The signal's number.
        signal: i32,
    },
}

impl Error {
    /// A file that could not be used.
    pub fn file(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::File {
            path: path.as_ref().to_owned(),
            error,
        }
    }

    /// A guest file that is not what it should be.
    pub fn guest(path: impl AsRef<Path>, what: impl Display) -> Self {
        Self::Guest {
            path: path.as_ref().to_owned(),
            what: what.to_string(),
        }
    }

    /// What was asked for with this option does not fit the machine.
    pub fn option(option: &str) -> impl FnOnce(atoll_manifest::Error) -> Self {
        move |error| Self::Usage {
            what: format!("{option} {error}"),
        }
    }

    /// Something that must be there is not.
    pub fn missing(what: impl Display) -> Self {
        Self::Missing {
            what: what.to_string(),
        }
    }

    /// A program failed.
    pub fn program(program: impl Display, what: impl Display) -> Self {
        Self::Program {
            program: program.to_string(),
            what: what.to_string(),
        }
    }

    /// The tool's exit status for it.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(125)
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (free some space, or point ATOLL_CACHE and XDG_RUNTIME_DIR at a disk that has some)"
        }
        _ => "",
    }
}
