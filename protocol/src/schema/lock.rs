//! The lock's text, and the test that holds `schema.lock` against it.

use std::format;
use std::string::String;

use super::{SCHEMA_HASH, blocks, constants, types};
use crate::VERSION;

/// From the package's directory, where cargo runs tests.
const PATH: &str = "schema.lock";
/// Set it to have the lock written anew.
const WRITE: &str = "ATOLL_WRITE_SCHEMA";

fn text() -> String {
    let body = format!(
        "version {VERSION}\n\n{}\n{}\n{}\n",
        constants::text(),
        types::text(),
        blocks::text()
    );
    let hash = hash(body.as_bytes());
    format!("{body}hash {hash:016x}\n")
}

/// FNV-1a, 64 bits: guards against mistakes, not against malice.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn first_difference(old: &str, new: &str) -> String {
    let nothing = "(nothing)";
    let mut pairs = old
        .lines()
        .chain(core::iter::repeat(nothing))
        .zip(new.lines().chain(core::iter::repeat(nothing)));
    let (old, new) = pairs
        .find(|(old, new)| old != new || *old == nothing)
        .unwrap_or_default();
    format!("the lock says `{old}`, the types say `{new}`")
}

#[test]
fn the_lock_describes_the_types() {
    let text = text();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(PATH, &text).unwrap();
    }
    let lock = std::fs::read_to_string(PATH).unwrap();
    assert!(
        lock == text,
        "{}: raise protocol::VERSION, add a line to CHANGELOG.md, and run `{WRITE}=1 cargo test -p atoll-protocol the_lock`",
        first_difference(&lock, &text)
    );
}

#[test]
fn the_hash_is_that_of_the_lock() {
    let lock = include_str!("../../schema.lock");
    let (body, _) = lock.split_at(lock.rfind("hash ").unwrap());
    assert_eq!(SCHEMA_HASH, hash(body.as_bytes()));
}

#[test]
fn the_first_difference_is_named() {
    assert_eq!(
        first_difference("a\nb\n", "a\nc\n"),
        "the lock says `b`, the types say `c`"
    );
    assert_eq!(
        first_difference("a\n", "a\nc\n"),
        "the lock says `(nothing)`, the types say `c`"
    );
}
