//! Fixed-layout blocks inside the postcard envelope.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A value that travels as its bytes (length as a varint, then the layout of `T`, little-endian).
///
/// Costs one length check and plain loads on either side, where a derived encoding would loop over every field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed<T>(pub T);

impl<T: IntoBytes + Immutable> Serialize for Fixed<T> {
    #[inline(always)]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.as_bytes())
    }
}

impl<'de, T: FromBytes> Deserialize<'de> for Fixed<T> {
    #[inline(always)]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Block<T>(PhantomData<T>);
        impl<'de, T: FromBytes> Visitor<'de> for Block<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a block of {} bytes", size_of::<T>())
            }
            #[inline(always)]
            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<T, E> {
                T::read_from_bytes(bytes).map_err(|_| E::invalid_length(bytes.len(), &self))
            }
        }
        deserializer
            .deserialize_bytes(Block(PhantomData))
            .map(Fixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_one_length_byte_and_its_bytes() {
        let mut page = [0; 16];
        let used = postcard::to_slice(&Fixed(0x0123_4567_89ab_cdef_u64), &mut page).unwrap();
        assert_eq!(used, &[8, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01]);
        assert_eq!(
            postcard::from_bytes::<Fixed<u64>>(used),
            Ok(Fixed(0x0123_4567_89ab_cdef))
        );
    }

    #[test]
    fn a_block_of_the_wrong_length_is_refused() {
        assert!(postcard::from_bytes::<Fixed<u64>>(&[4, 1, 2, 3, 4]).is_err());
        assert!(postcard::from_bytes::<Fixed<u64>>(&[9, 1, 2, 3, 4, 5, 6, 7, 8, 9]).is_err());
    }
}
