//! Physical memory and the page tables over it.

pub(crate) mod direct;
pub(crate) mod frames;
pub(crate) mod layout;
pub(crate) mod paging;
pub(crate) mod physical;
pub(crate) mod space;
