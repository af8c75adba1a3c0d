//! Numbers of things of which there are only so many. A value of these types is one of them: the wire does not decode another, so that a
//! table with a place for each (`[T; ServerId::COUNT]`) has one for it.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// A closed set of numbers from 0. Each is a variant, so that compiler and decoder know the range; nobody names the variants.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal: $($variant:ident)*) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout,
        )]
        #[repr(u8)]
        pub enum $name {
            $(#[doc(hidden)] $variant),*
        }

        impl $name {
            /// All of them, from 0.
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The one with this number, if it is one.
            #[must_use]
            pub const fn new(number: u8) -> Option<Self> {
                if (number as usize) < Self::COUNT { Some(Self::ALL[number as usize]) } else { None }
            }

            /// The one with a number that must be one: a constant, or what was stored as one.
            ///
            /// # Panics
            /// If there is none; in a constant the compiler says so.
            #[must_use]
            pub const fn nth(number: u8) -> Self {
                Self::new(number).expect(concat!("no ", $what, " has this number"))
            }

            /// Its number.
            #[must_use]
            #[inline(always)]
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// Its place in a table.
            #[must_use]
            #[inline(always)]
            pub const fn index(self) -> usize {
                self as usize
            }

            /// The next one; behind the last the first.
            #[must_use]
            #[inline(always)]
            pub const fn after(self) -> Self {
                let next = self.index() + 1;
                if next < Self::COUNT { Self::ALL[next] } else { Self::ALL[0] }
            }

            /// All of them, from 0.
            pub fn all() -> impl DoubleEndedIterator<Item = Self> + Clone {
                Self::ALL.into_iter()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self.number())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.number().fmt(formatter)
            }
        }

        impl Serialize for $name {
            #[inline(always)]
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u8(self.number())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            #[inline(always)]
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = u8::deserialize(deserializer)?;
                let none = || de::Error::custom(concat!("no ", $what, " has this number"));
                Self::new(number).ok_or_else(none)
            }
        }

        #[cfg(test)]
        impl postcard_schema::Schema for $name {
            const SCHEMA: &'static postcard_schema::schema::NamedType = &postcard_schema::schema::NamedType {
                name: stringify!($name),
                ty: &postcard_schema::schema::DataModelType::NewtypeStruct(<u8 as postcard_schema::Schema>::SCHEMA),
            };
        }
    };
}

id! {
    /// A server's place in the machine: its role's slot, stable over restarts. The supervisor is 0.
    ServerId, "server":
    N0 N1 N2 N3 N4 N5 N6 N7 N8 N9 N10 N11 N12 N13 N14 N15 N16 N17 N18 N19 N20 N21 N22 N23 N24 N25 N26 N27 N28 N29 N30 N31
}
id! {
    /// A virtual machine.
    VmId, "virtual machine": N0
}
id! {
    /// A virtual CPU of a virtual machine.
    VcpuId, "virtual CPU": N0
}
id! {
    /// One of a server's own timers.
    TimerId, "timer": N0 N1 N2 N3
}
id! {
    /// An interrupt line of the virtual machine, by IOAPIC pin; the first 16 are the 8259s' as well.
    LineId, "line":
    N0 N1 N2 N3 N4 N5 N6 N7 N8 N9 N10 N11 N12 N13 N14 N15 N16 N17 N18 N19 N20 N21 N22 N23
}
id! {
    /// An interrupt request line of the host (ISA numbering).
    HostIrq, "interrupt request line": N0 N1 N2 N3 N4 N5 N6 N7 N8 N9 N10 N11 N12 N13 N14 N15
}

impl ServerId {
    /// The supervisor.
    pub const SUPERVISOR: Self = Self::N0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_no_server_has_does_not_decode() {
        assert_eq!(
            postcard::from_bytes::<ServerId>(&[31]),
            Ok(ServerId::nth(31))
        );
        assert!(postcard::from_bytes::<ServerId>(&[32]).is_err());
        assert!(postcard::from_bytes::<LineId>(&[24]).is_err());
        assert!(TimerId::try_read_from_bytes(&[4]).is_err());
    }

    #[test]
    fn each_has_its_number() {
        assert!(ServerId::all().map(ServerId::index).eq(0..ServerId::COUNT));
        assert_eq!(std::format!("{:?}", HostIrq::nth(15)), "HostIrq(15)");
    }
}
