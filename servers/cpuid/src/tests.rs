//! The leaves as a guest sees them.

extern crate std;

use atoll_protocol::effect::Effect;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{Body, CpuidExit};
use atoll_sdk::harness::{Harness, MACHINE};
use proptest::prelude::*;

use super::*;

const ALL: Leaf = Leaf {
    eax: !0,
    ebx: !0,
    ecx: !0,
    edx: !0,
};

fn ask(exit: CpuidExit) -> Leaf {
    let (mut server, _) = Harness::<CpuidServer>::start(&MACHINE, &Setup::default());
    match server.deliver(Body::Cpuid(Fixed(exit))).effects()[..] {
        [Effect::Leaf(leaf)] => leaf.0,
        ref other => panic!("{other:?}"),
    }
}

fn leaf(leaf: u32) -> Leaf {
    ask(CpuidExit {
        leaf,
        host: ALL,
        ..CpuidExit::default()
    })
}

fn text(leaf: Leaf) -> std::string::String {
    let bytes: std::vec::Vec<u8> = [leaf.ebx, leaf.ecx, leaf.edx]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    std::string::String::from_utf8(bytes).unwrap()
}

#[test]
fn kvm_stands_first_and_its_range_holds_the_timing_leaf() {
    assert_eq!(
        (leaf(0x4000_0000).eax, &text(leaf(0x4000_0000))[..]),
        (0x4000_0010, "KVMKVMKVM\0\0\0")
    );
    assert_eq!(
        leaf(0x4000_0001),
        Leaf {
            eax: 0x0100_000b,
            ..Leaf::default()
        }
    );
    assert_eq!(
        leaf(0x4000_0010),
        Leaf {
            eax: 1_000_000,
            ebx: 1_000_000,
            ..Leaf::default()
        }
    );
    for reserved in 0x4000_0002..=0x4000_000f {
        assert_eq!(leaf(reserved), Leaf::default());
    }
    assert_eq!(
        (leaf(0x4000_0100).eax, &text(leaf(0x4000_0100))[..]),
        (0x4000_0100, "AtollAtollVM")
    );
}

#[test]
fn leaf_1_says_virtual_machine_x2apic_and_deadline_timer_whatever_the_host_has() {
    for host in [ALL, Leaf::default()] {
        let leaf = ask(CpuidExit {
            leaf: 1,
            host,
            ..CpuidExit::default()
        });
        assert_eq!(
            leaf.ecx & (1 << 31 | 1 << 24 | 1 << 21),
            1 << 31 | 1 << 24 | 1 << 21
        );
        assert_eq!(leaf.ebx >> 16, 1, "one CPU, APIC id 0");
    }
}

#[test]
fn leaf_1_hides_what_does_not_work() {
    let ecx = leaf(1).ecx;
    for (bit, name) in [
        (3, "MONITOR"),
        (5, "VMX"),
        (15, "PDCM"),
        (17, "PCID"),
        (27, "OSXSAVE"),
        (2, "DTES64"),
    ] {
        assert_eq!(ecx & 1 << bit, 0, "{name}");
    }
    let edx = leaf(1).edx;
    for (bit, name) in [(28, "HTT"), (21, "DS"), (22, "ACPI")] {
        assert_eq!(edx & 1 << bit, 0, "{name}");
    }
    for bit in [
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 19, 23, 24, 25, 26,
    ] {
        assert_ne!(edx & 1 << bit, 0, "{bit}");
    }
}

#[test]
fn the_apics_bits_follow_its_base() {
    let with = |leaf, cr4| {
        ask(CpuidExit {
            leaf,
            cr4,
            host: ALL,
            ..CpuidExit::default()
        })
        .edx >> 9
            & 1
    };
    for leaf in [1, 0x8000_0001] {
        assert_eq!((with(leaf, 0x20), with(leaf, CpuidExit::APIC_OFF)), (1, 0));
    }
}

#[test]
fn cr8_by_lock_mov_is_not_offered() {
    assert_eq!(leaf(0x8000_0001).ecx & 1 << 4, 0);
}

#[test]
fn umip_is_the_hosts_and_tsc_adjust_is_there_whatever_the_host_has() {
    let none = ask(CpuidExit {
        leaf: 7,
        ..CpuidExit::default()
    });
    assert_eq!((none.ebx, none.ecx), (1 << 1, 0));
    assert_eq!(leaf(7).ecx & 1 << 2, 1 << 2);
}

#[test]
fn osxsave_follows_cr4() {
    let with = |cr4, ecx| {
        ask(CpuidExit {
            leaf: 1,
            cr4,
            host: Leaf { ecx, ..ALL },
            ..CpuidExit::default()
        })
        .ecx >> 27
            & 1
    };
    assert_eq!(
        (with(0, !0), with(1 << 18, !0), with(1 << 18, 0)),
        (0, 1, 0)
    );
}

#[test]
fn svm_and_its_leaf_are_hidden() {
    assert_eq!(
        leaf(0x8000_0001).ecx & (1 << 2 | 1 << 12 | 1 << 22 | 1 << 23),
        0
    );
    assert_eq!(leaf(0x8000_000a), Leaf::default());
    assert_eq!(leaf(0x8000_001f), Leaf::default());
    assert_eq!(leaf(0x8000_0007), Leaf::default());
}

#[test]
fn structured_features_hide_what_has_no_server() {
    let leaf = leaf(7);
    assert_eq!(leaf.eax, 0);
    for (bit, name) in [
        (4, "HLE"),
        (10, "INVPCID"),
        (11, "RTM"),
        (14, "MPX"),
        (16, "AVX-512"),
    ] {
        assert_eq!(leaf.ebx & 1 << bit, 0, "{name}");
    }
    for (bit, name) in [(3, "PKU"), (5, "WAITPKG"), (16, "LA57")] {
        assert_eq!(leaf.ecx & 1 << bit, 0, "{name}");
    }
    assert_eq!(leaf.edx, 1 << 4);
    assert_eq!(
        ask(CpuidExit {
            leaf: 7,
            subleaf: 1,
            host: ALL,
            cr4: 0
        }),
        Leaf::default()
    );
}

#[test]
fn extended_state_is_that_of_avx() {
    let host = Leaf {
        eax: 0x2e7,
        ebx: 832,
        ecx: 2696,
        edx: 0,
    };
    assert_eq!(
        ask(CpuidExit {
            leaf: 0xd,
            host,
            ..CpuidExit::default()
        }),
        Leaf {
            eax: 7,
            ebx: 832,
            ecx: 832,
            edx: 0
        }
    );
    assert_eq!(
        ask(CpuidExit {
            leaf: 0xd,
            subleaf: 1,
            host: ALL,
            cr4: 0
        })
        .eax,
        7
    );
    assert_eq!(
        ask(CpuidExit {
            leaf: 0xd,
            subleaf: 9,
            host: ALL,
            cr4: 0
        }),
        Leaf::default()
    );
    assert_eq!(
        ask(CpuidExit {
            leaf: 0xd,
            ..CpuidExit::default()
        }),
        Leaf::default()
    );
}

#[test]
fn topology_is_one_core() {
    let level = |subleaf| {
        ask(CpuidExit {
            leaf: 0xb,
            subleaf,
            host: ALL,
            cr4: 0,
        })
    };
    assert_eq!(
        level(0),
        Leaf {
            eax: 0,
            ebx: 1,
            ecx: 0x100,
            edx: 0
        }
    );
    assert_eq!(
        level(1),
        Leaf {
            eax: 0,
            ebx: 1,
            ecx: 0x201,
            edx: 0
        }
    );
    assert_eq!(
        level(2),
        Leaf {
            eax: 0,
            ebx: 0,
            ecx: 2,
            edx: 0
        }
    );
    assert_eq!(leaf(6).eax, 4);
    assert_eq!(leaf(0xa), Leaf::default());
    assert_eq!(leaf(0x15), Leaf::default());
}

#[test]
fn address_sizes_are_those_of_the_machine() {
    let host = Leaf {
        eax: 0x0000_3934,
        ..ALL
    };
    let leaf = ask(CpuidExit {
        leaf: 0x8000_0008,
        host,
        ..CpuidExit::default()
    });
    assert_eq!(
        leaf,
        Leaf {
            eax: 0x3028,
            ebx: 0,
            ecx: 0,
            edx: 0
        }
    );
}

proptest! {
    #[test]
    fn a_host_of_zeros_offers_nothing_but_our_own(leaf: u32, subleaf: u32) {
        let answer = ask(CpuidExit { leaf, subleaf, ..CpuidExit::default() });
        if !(leaf == 1 || leaf == 6 || leaf == 0xb || leaf >> 16 == 0x4000 || leaf == 0x8000_0008) {
            prop_assert_eq!(answer, Leaf::default());
        }
    }
}
