//! Random sequences of privileged instructions, each run up to the exception that ends it: a [sequence](sequence) of a seed is the same on
//! every machine, and so is what the architecture says comes of it. The [state](state) that may have changed is made sane behind each.

pub mod random;
pub mod sequence;
pub mod state;
