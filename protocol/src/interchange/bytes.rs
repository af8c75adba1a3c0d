//! A bounded number of bytes, as postcard writes them: their number, then they themselves.

use core::fmt;
use core::ops::Deref;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes in order, at most `N`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bytes<const N: usize> {
    length: usize,
    // Behind `length` all are zero.
    bytes: [u8; N],
}

impl<const N: usize> Bytes<N> {
    /// These bytes; what is too much is left out.
    pub fn of<'b>(bytes: impl IntoIterator<Item = &'b u8>) -> Self {
        let mut all = Self::default();
        for (to, from) in all.bytes.iter_mut().zip(bytes) {
            *to = *from;
            all.length += 1;
        }
        all
    }
}

impl<const N: usize> Default for Bytes<N> {
    fn default() -> Self {
        Bytes {
            length: 0,
            bytes: [0; N],
        }
    }
}

impl<const N: usize> Deref for Bytes<N> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}

impl<const N: usize> fmt::Debug for Bytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<const N: usize> Serialize for Bytes<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Bytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AtMost<const N: usize>;
        impl<const N: usize> Visitor<'_> for AtMost<N> {
            type Value = Bytes<N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {N} bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes<N>, E> {
                if bytes.len() <= N {
                    Ok(Bytes::of(bytes))
                } else {
                    Err(E::invalid_length(bytes.len(), &self))
                }
            }
        }
        deserializer.deserialize_bytes(AtMost)
    }
}

#[cfg(test)]
impl<const N: usize> postcard_schema::Schema for Bytes<N> {
    const SCHEMA: &'static postcard_schema::schema::NamedType = <[u8]>::SCHEMA;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_more_than_there_is_room_for_do_not() {
        let mut page = [0; 20];
        let written =
            postcard::to_slice(&Bytes::<8>::of(b"12345678"), &mut page).expect("they fit");
        assert_eq!(
            postcard::from_bytes::<Bytes<8>>(written).as_deref(),
            Ok(&b"12345678"[..])
        );
        assert!(postcard::from_bytes::<Bytes<7>>(written).is_err());
        assert_eq!(&*Bytes::<3>::of(b"12345678"), b"123");
    }
}
