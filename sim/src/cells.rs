//! Which cells there are: models that can be played on the host, and effects that some server of the machine answers with.
//!
//! Every model can hit every message, so that each playable model and each effect that is answered make a cell. What is left out is
//! left out for a reason that is said here; a test holds the list against what is seen.

use atoll_protocol::effect::Effect;
use atoll_protocol::inject::Model;

macro_rules! effects {
    ($($name:ident)*) => {
        /// All effects by name, and what an answer without effects counts as.
        pub const EFFECTS: &[&str] = &[$(stringify!($name),)* NOTHING];

        /// An effect's name.
        #[must_use]
        pub fn name(effect: &Effect<'_>) -> &'static str {
            match effect { $(Effect::$name { .. } => stringify!($name),)* }
        }
    };
}

/// An answer without effects.
pub const NOTHING: &str = "nothing";

effects! {
    Save Leaf Value Done Data Exception Resume Forward NeedRegisters Defer Reply Register System Initial Offer GuestWrite GuestCas
    GuestCopy Map Unmap Line Arm Disarm PortOut PortIn Fill Drain Mail Request Log Query Stop Supervise Exported
}

/// Effects that nothing on this machine answers with.
pub const UNUSED: [(&str, &str); 2] = [
    (
        "Unmap",
        "no mmu server takes a mapping away: nested tables only grow, and a swap drops them whole",
    ),
    (
        "PortIn",
        "the drivers read their devices with Drain, which takes the status into account; no server reads a port by itself",
    ),
];

/// Models that are not played on the host, where a server is a crate of this process.
pub const UNPLAYED: [(Model, &str); 3] = [
    (
        Model::FlipText,
        "a server's text is this process's own: what a flipped instruction does is for a real processor to say",
    ),
    (
        Model::FlipData,
        "a server's cache is a Rust value without a layout: there are no bytes of it to flip",
    ),
    (Model::FlipStack, "a server's stack is this thread's"),
];

/// Models that are played.
pub fn models() -> impl Iterator<Item = Model> {
    Model::ALL
        .iter()
        .copied()
        .filter(|model| UNPLAYED.iter().all(|(other, _)| other != model))
}

/// Effects that are answered.
pub fn answered() -> impl Iterator<Item = &'static str> {
    EFFECTS
        .iter()
        .copied()
        .filter(|effect| UNUSED.iter().all(|(other, _)| other != effect))
}
