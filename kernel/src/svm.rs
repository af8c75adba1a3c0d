//! The processor's virtual-machine extension (APM vol. 2 §15).

pub(crate) mod asid;
pub(crate) mod enable;
pub(crate) mod nested;
pub(crate) mod permission;
pub(crate) mod probe;
pub(crate) mod world;
