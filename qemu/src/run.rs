//! Running a machine: its place, its session, and how it ended.

pub mod instance;
pub mod log;
pub mod outcome;
pub mod plan;
pub mod session;
pub mod statistics;
pub mod whereabouts;

pub use instance::Instance;
pub use outcome::End;
pub use plan::Plan;
pub use session::{Ended, Session};
