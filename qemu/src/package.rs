//! Debian packages: fetched by the distribution's own package manager (which checks their signatures), unpacked into the cache when
//! they are not to be installed, and recorded by hash.

pub mod apt;
pub mod lock;
pub mod unpack;
