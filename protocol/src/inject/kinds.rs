//! Kinds of messages, by the place of their variant in [`Body`](crate::message::Body): the tag that is on the wire.

use super::KIND_AT;

/// Room for kinds of messages.
pub const KINDS: usize = 64;

/// The kinds' names, in the order of their tags.
const NAMES: [&str; 36] = [
    "cpuid",
    "msr-read",
    "msr-write",
    "port-read",
    "port-write",
    "port-read-string",
    "port-write-string",
    "mmio-read",
    "mmio-write",
    "hypercall",
    "memory-fault",
    "nested-fault",
    "string-io",
    "instruction",
    "access-done",
    "line",
    "timer",
    "accepted",
    "host-irq",
    "port-value",
    "drained",
    "filled",
    "mail",
    "request",
    "answered",
    "start",
    "load",
    "record",
    "server-faulted",
    "server-started",
    "loaded",
    "machine-stopped",
    "restarted",
    "export",
    "import",
    "released",
];

/// A kind's name.
#[must_use]
pub fn kind_name(kind: u8) -> Option<&'static str> {
    NAMES.get(usize::from(kind)).copied()
}

/// The kind that has this name.
#[must_use]
pub fn kind_with_name(name: &str) -> Option<u8> {
    NAMES
        .iter()
        .zip(0..)
        .find(|(known, _)| **known == name)
        .map(|(_, kind)| kind)
}

/// The kind of an encoded message; `None` if there is none.
#[must_use]
pub fn kind_of(message: &[u8]) -> Option<u8> {
    message
        .get(KIND_AT)
        .copied()
        .filter(|kind| usize::from(*kind) < KINDS)
}

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec::Vec;

    use postcard_schema::Schema;
    use postcard_schema::schema::DataModelType;

    use super::*;
    use crate::fixed::Fixed;
    use crate::message::{Body, Header, Leaf, Message, PortExit};
    use crate::units::TimerId;
    use crate::wire::{self, tag};

    /// `PortReadString` is `port-read-string`.
    fn words(variant: &str) -> String {
        let mut name = String::new();
        for letter in variant.chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.extend(letter.to_lowercase());
        }
        name
    }

    #[test]
    fn the_kinds_are_the_messages_variants_in_their_order() {
        let DataModelType::Enum(variants) = Body::SCHEMA.ty else {
            panic!("a body is an enum")
        };
        let names: Vec<String> = variants.iter().map(|variant| words(variant.name)).collect();
        assert_eq!(names, NAMES);
        assert!(names.len() <= KINDS);
    }

    #[test]
    fn a_messages_kind_is_read_off_its_bytes_however_it_was_written() {
        let mut page = [0; 512];
        let message = Message {
            header: Fixed(Header::default()),
            body: Body::Timer(TimerId::nth(3)),
        };
        let bytes = postcard::to_slice(&message, &mut page).unwrap();
        assert_eq!(kind_of(bytes).and_then(kind_name), Some("timer"));
        let length = wire::exit(
            &mut page,
            &Header::default(),
            tag::PORT_WRITE,
            &PortExit::default(),
        )
        .unwrap();
        assert_eq!(
            kind_of(&page[..length]).and_then(kind_name),
            Some("port-write")
        );
        assert_eq!(kind_with_name("port-write"), Some(tag::PORT_WRITE));
        let leaf = crate::message::CpuidExit {
            host: Leaf::default(),
            ..Default::default()
        };
        let length = wire::exit(&mut page, &Header::default(), tag::CPUID, &leaf).unwrap();
        assert_eq!(kind_of(&page[..length]).and_then(kind_name), Some("cpuid"));
        assert_eq!(kind_of(&[]), None);
    }
}
