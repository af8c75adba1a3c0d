//! Which core: a number that is valid once it is one.

use core::ops::Index;

/// Most cores.
pub(crate) const CORES: usize = 1;

/// A core that there can be, so that what there is one of for each is always found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CoreId(usize);

impl CoreId {
    /// The one that the machine boots on.
    pub(crate) const BOOT: CoreId = CoreId::new(0).unwrap();

    /// The core of this number, if there can be one.
    pub(crate) const fn new(number: usize) -> Option<Self> {
        if number < CORES {
            Some(CoreId(number))
        } else {
            None
        }
    }
}

/// One of a kind for each core.
pub(crate) struct PerCore<T>([T; CORES]);

impl<T> PerCore<T> {
    /// These, in the order of the cores.
    pub(crate) const fn new(all: [T; CORES]) -> Self {
        PerCore(all)
    }

    /// All of them.
    pub(crate) const fn all(&self) -> &[T; CORES] {
        &self.0
    }
}

impl<T> Index<CoreId> for PerCore<T> {
    type Output = T;

    fn index(&self, core: CoreId) -> &T {
        &self.0[core.0]
    }
}
