//! What can be wrong with a machine: each error prints as one line that names the file (and the line in it) where there is one.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use crate::bundle::instructions::Why;

/// What most functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a machine was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A manifest is wrong.
    #[error("{file}:{line}: {what}")]
    Manifest {
        /// The manifest's file.
        file: String,
        /// Line in it, from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// The machine has no server with this name or of this role.
    #[error("{server}: there is no such server or role (there are: {})", known.join(", "))]
    NoServer {
        /// The name.
        server: String,
        /// Its servers.
        known: Vec<String>,
    },
    /// A program, or the crate that it comes from, is not what a server should be.
    #[error("{}: {what}", path.display())]
    Program {
        /// The program or the crate.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A server's program has an instruction that servers may not have.
    #[error("{}: server '{server}' may not have the instruction `{instruction}` at {address:#x}: it {why}", image.display())]
    Instruction {
        /// The server.
        server: String,
        /// Its program.
        image: PathBuf,
        /// Where the instruction is loaded.
        address: u64,
        /// The instruction.
        instruction: String,
        /// Why it is refused.
        why: Why,
    },
    /// Something does not fit into the packed form.
    #[error("the machine cannot be packed: {what}")]
    Packing {
        /// What.
        what: String,
    },
}

impl Error {
    pub(crate) fn file(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::File {
            path: path.as_ref().to_owned(),
            error,
        }
    }

    pub(crate) fn program(path: impl AsRef<Path>, what: impl Display) -> Self {
        Self::Program {
            path: path.as_ref().to_owned(),
            what: what.to_string(),
        }
    }

    pub(crate) fn packing(what: impl Display) -> Self {
        Self::Packing {
            what: what.to_string(),
        }
    }
}
