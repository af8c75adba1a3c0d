//! Archives, whole and broken.

extern crate std;

use std::vec::Vec;

use super::write::archive;
use super::*;

#[test]
fn every_file_is_found_with_its_offset() {
    let bytes = archive(&[
        ("manifest", b"abc"),
        ("image/uart", &[7; 600]),
        ("./guest/kernel", b""),
    ]);
    let bundle = Bundle::new(&bytes);
    let names: Vec<_> = bundle.entries().map(|entry| entry.unwrap().name).collect();
    assert_eq!(names, ["manifest", "image/uart", "guest/kernel"]);
    let uart = bundle.find_in("image", "uart").unwrap().unwrap();
    assert_eq!((uart.offset, uart.bytes), (1536, &[7; 600][..]));
    assert_eq!(bundle.find("guest/initrd"), Ok(None));
}

#[test]
fn an_archive_without_its_end_marks_and_padding_is_whole() {
    let bytes = archive(&[("keep", b"abc")]);
    assert_eq!(
        Bundle::new(&bytes[..BLOCK + 3])
            .entries()
            .map(Result::unwrap)
            .count(),
        1
    );
    assert_eq!(Bundle::new(&[]).entries().count(), 0);
}

#[test]
fn each_kind_of_damage_is_named() {
    let whole = archive(&[("one", b"abc"), ("two", b"def")]);
    let mut damaged = whole.clone();
    damaged[1024 + 257] = b'x';
    assert_eq!(Bundle::new(&damaged).find("two"), Err(Broken::Header(1024)));
    let mut damaged = whole.clone();
    damaged[1024] = b'x';
    assert_eq!(
        Bundle::new(&damaged).find("two"),
        Err(Broken::Checksum(1024))
    );
    assert_eq!(
        Bundle::new(&whole[..1024 + BLOCK + 1]).find("two"),
        Err(Broken::Truncated(1024))
    );
    assert_eq!(
        Bundle::new(&whole[..1024 + 9]).find("two"),
        Err(Broken::Header(1024))
    );
}

#[test]
fn any_damage_to_one_byte_ends_in_entries_or_an_error() {
    let whole = archive(&[("one", b"abc"), ("two", b"def")]);
    for place in 0..whole.len() {
        for value in [0, 0x20, 0x37, 0xff] {
            let mut damaged = whole.clone();
            damaged[place] = value;
            assert!(Bundle::new(&damaged).entries().count() <= 3);
        }
    }
}
