//! Newtypes for what must not be mixed.

pub use crate::ids::{HostIrq, LineId, ServerId, TimerId, VcpuId, VmId};
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, FromBytes, IntoBytes,
            Immutable, KnownLayout,
        )]
        #[cfg_attr(test, derive(postcard_schema::Schema))]
        #[repr(transparent)]
        pub struct $name(pub $inner);
    };
}

unit! {
    /// A guest-physical address, in bytes.
    Gpa(u64)
}
unit! {
    /// A guest-virtual (linear) address, in bytes.
    Gva(u64)
}
unit! {
    /// A host-physical address, in bytes. Never leaves the kernel.
    Hpa(u64)
}
unit! {
    /// A point in, or a span of, the host's time-stamp counter.
    Ticks(u64)
}
unit! {
    /// An operation that the kernel waits for: slot in the low 8 bits, generation above. 0 is none.
    TicketId(u32)
}

impl Ticks {
    /// The point `span` later; saturates at the end of time.
    #[must_use]
    pub const fn after(self, span: Ticks) -> Ticks {
        Ticks(self.0.saturating_add(span.0))
    }

    /// The span since `earlier`; zero if that lies in the future.
    #[must_use]
    pub const fn since(self, earlier: Ticks) -> Ticks {
        Ticks(self.0.saturating_sub(earlier.0))
    }
}
