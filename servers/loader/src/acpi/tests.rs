//! The tables as a system finds them in memory.

extern crate std;

use std::vec;
use std::vec::Vec;

use super::*;

/// Guest memory from the root pointer on.
fn tables(vcpus: u16) -> Vec<u8> {
    let mut memory = vec![0; 0x2000];
    all(vcpus, &mut |at: u64, bytes: &[u8]| {
        memory[(at - ACPI) as usize..][..bytes.len()].copy_from_slice(bytes)
    });
    memory
}

fn word(memory: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(memory[at..at + 4].try_into().unwrap())
}

fn double(memory: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(memory[at..at + 8].try_into().unwrap())
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// The table at a physical address, its checksum checked.
fn table<'m>(memory: &'m [u8], at: u64, signature: &[u8; 4]) -> &'m [u8] {
    let start = (at - ACPI) as usize;
    let table = &memory[start..start + word(memory, start + 4) as usize];
    assert_eq!(&table[..4], signature);
    assert_eq!(sum(table), 0, "{signature:?}");
    table
}

#[test]
fn every_table_is_reached_from_the_root_and_sums_to_zero() {
    let memory = tables(1);
    assert_eq!(&memory[..8], b"RSD PTR ");
    assert_eq!((sum(&memory[..20]), sum(&memory[..36])), (0, 0));
    let rsdt = table(&memory, word(&memory, 16).into(), b"RSDT");
    let xsdt = table(&memory, double(&memory, 24), b"XSDT");
    assert_eq!((rsdt.len(), xsdt.len()), (36 + 2 * 4, 36 + 2 * 8));
    for index in 0..2 {
        assert_eq!(
            u64::from(word(rsdt, 36 + 4 * index)),
            double(xsdt, 36 + 8 * index)
        );
    }
    let fadt = table(&memory, double(xsdt, 36), b"FACP");
    table(&memory, double(xsdt, 44), b"APIC");
    table(&memory, double(fadt, 140), b"DSDT");
    let facs = word(fadt, 36) as usize;
    assert_eq!(
        (facs % 64, &memory[facs - ACPI as usize..][..8]),
        (0, &b"FACS\x40\0\0\0"[..])
    );
}

#[test]
fn no_table_runs_into_the_next() {
    let memory = tables(255);
    let mut end = 0;
    for start in [0x40, 0x80, 0xc0, 0x100, 0x300, 0x400_usize] {
        assert!(start >= end);
        end = start + word(&memory, start + 4) as usize;
    }
    assert!(end <= 0x2_0000);
}

#[test]
fn the_fadt_has_the_layout_of_its_revision() {
    let memory = tables(1);
    let fadt = table(&memory, FADT, b"FACP");
    assert_eq!((fadt.len(), fadt[8]), (276, 6));
    assert_eq!(fadt[46], 9);
    assert_eq!(
        (
            word(fadt, 48),
            word(fadt, 56),
            word(fadt, 64),
            word(fadt, 76)
        ),
        (0, 0x600, 0x604, 0x608)
    );
    assert_eq!(fadt[88..93], [4, 2, 0, 4, 0]);
    assert_eq!((fadt[108], fadt[109], word(fadt, 112)), (0x32, 5, 0x475));
    assert_eq!(
        (&fadt[116..120], double(fadt, 120), fadt[128]),
        (&[1, 8, 0, 1][..], 0xcf9, 6)
    );
    assert_eq!((double(fadt, 132), double(fadt, 140)), (0, DSDT));
    for (at, port, bits) in [(148, 0x600, 32), (172, 0x604, 16), (208, 0x608, 32)] {
        assert_eq!(
            (fadt[at], fadt[at + 1], double(fadt, at + 4)),
            (1, bits, port)
        );
    }
}

#[test]
fn the_madt_lists_each_cpu_the_ioapic_and_the_overrides() {
    let memory = tables(2);
    let madt = table(&memory, MADT, b"APIC");
    assert_eq!((word(madt, 36), word(madt, 40)), (0xfee0_0000, 1));
    let mut entries = Vec::new();
    let mut rest = &madt[44..];
    while let [kind, length, ..] = *rest {
        entries.push((kind, &rest[2..usize::from(length)]));
        rest = &rest[usize::from(length)..];
    }
    assert_eq!(
        entries,
        [
            (0, &[0, 0, 1, 0, 0, 0][..]),
            (0, &[1, 1, 1, 0, 0, 0]),
            (1, &[0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]),
            (2, &[0, 0, 2, 0, 0, 0, 0, 0]),
            (2, &[0, 9, 9, 0, 0, 0, 13, 0]),
            (4, &[0xff, 0, 0, 1]),
        ]
    );
}

#[test]
fn package_lengths_cover_their_packages() {
    let aml = aml::NAMESPACE;
    let scope = 13;
    assert_eq!(aml[scope], 0x10);
    let length = usize::from(aml[scope + 1] & 0xf) | usize::from(aml[scope + 2]) << 4;
    assert_eq!(scope + 1 + length, aml.len());
    let first = scope + 8;
    assert_eq!(aml[first..first + 2], [0x5b, 0x82]);
    let second = first + 2 + usize::from(aml[first + 2]);
    assert_eq!(aml[second..second + 2], [0x5b, 0x82]);
    assert_eq!(second + 2 + usize::from(aml[second + 2]), aml.len());
    assert_eq!(&aml[first + 3..first + 7], b"COM1");
}
