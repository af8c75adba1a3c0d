//! What the types of this crate look like on the wire, as `schema.lock` has it.
//!
//! Postcard writes neither names nor numbers of fields, so a reader and a writer with different types misunderstand each other
//! silently. The lock lists every type and every fixed-layout block, and ends with a hash of the list. The host tool, the kernel and the
//! servers compare [`SCHEMA_HASH`] before they speak; a test holds the lock against the types.

#[cfg(test)]
mod blocks;
#[cfg(test)]
mod constants;
#[cfg(test)]
mod lock;
#[cfg(test)]
mod types;

/// The hash at the end of `schema.lock`. Differs whenever a type, a block's layout or a constant that both sides rely on differs.
pub const SCHEMA_HASH: u64 = last_number(include_bytes!("../schema.lock"));

/// The sixteen hexadecimal digits that end the text.
const fn last_number(text: &[u8]) -> u64 {
    let mut number = 0;
    let mut place = text.len() - "0123456789abcdef\n".len();
    while place < text.len() - 1 {
        let digit = match text[place] {
            digit @ b'0'..=b'9' => digit - b'0',
            digit @ b'a'..=b'f' => digit - b'a' + 10,
            _ => panic!("the lock does not end with a hash"),
        };
        number = number << 4 | digit as u64;
        place += 1;
    }
    number
}
