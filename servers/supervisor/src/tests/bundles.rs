//! Bundles that are broken, each in its own way.

use super::*;

#[track_caller]
fn assert_broken(bundle: Vec<u8>, words: &str) {
    let (_, answer) = start(bundle);
    let effects = answer.effects();
    let (line, _) = logged(&effects);
    assert!(line.contains(words), "{line}");
    assert_eq!(effects.last(), Some(&supervise(Supervise::Exit(20))));
}

#[test]
fn a_broken_bundle_is_one_clear_line_and_an_exit() {
    assert_broken(vec![], "the bundle has no `manifest`");
    assert_broken(vec![7; 600], "the bundle has no header at offset 0");
    assert_broken(
        archive(&[("manifest", b"\xff\xff")]),
        "the manifest does not decode",
    );
    let old = Manifest {
        version: 0,
        schema: SCHEMA_HASH,
        memory: 2 << 20,
        vcpus: 1,
        servers: 1,
        specs: &[],
    };
    assert_broken(
        archive(&[("manifest", &encode(&[old]))]),
        "protocol version 0",
    );
    let strange = Manifest {
        version: VERSION,
        schema: 5,
        ..old
    };
    assert_broken(
        archive(&[("manifest", &encode(&[strange]))]),
        "of schema 0000000000000005",
    );
    let odd = Manifest {
        version: VERSION,
        memory: 5,
        ..old
    };
    assert_broken(
        archive(&[("manifest", &encode(&[odd]))]),
        "5 bytes of guest memory",
    );
    let short = Manifest {
        version: VERSION,
        ..old
    };
    assert_broken(
        archive(&[("manifest", &encode(&[short]))]),
        "on server 1 does not decode",
    );
    assert_broken(
        archive(&[("manifest", &manifest(&[spec("a", RoleKind::Msr)]))]),
        "the role `loader`",
    );
    let twice = [spec("a", RoleKind::Loader), spec("b", RoleKind::Loader)];
    assert_broken(
        archive(&[("manifest", &manifest(&twice))]),
        "the role `loader`",
    );
}

#[test]
fn a_bad_image_is_named_with_its_fault() {
    let manifest = manifest(&[spec("loader", RoleKind::Loader)]);
    let refused = |image: &[u8], words| {
        assert_broken(
            archive(&[("manifest", &manifest), ("image/loader", image)]),
            words,
        )
    };
    assert_broken(archive(&[("manifest", &manifest)]), "no `image/loader`");
    refused(b"nothing", "`loader`: its image is not an ELF file");
    refused(&elf(&[(IMAGE, 7, b"x")]), "writable and executable");
    refused(&elf(&[(IMAGE + 1, 5, b"x")]), "not on a page");
    refused(&elf(&[(0x1000, 5, b"x")]), "outside");
    refused(&elf(&[(!0xfff, 5, b"x")]), "outside");
    refused(&elf(&[(IMAGE, 5, b"x"), (IMAGE, 4, b"x")]), "overlaps");
    refused(&elf(&[(IMAGE, 4, b"x")]), "begins at 0x0");
    refused(&elf(&[]), "no loadable segment");
    let mut cut = image();
    cut.truncate(cut.len() - 1);
    refused(&cut, "not in the file");
    let mut other = image();
    other[18] = 40;
    refused(&other, "not a static ELF64");
}

#[test]
fn more_rights_than_fit_one_answer_are_refused_not_cut_off() {
    let grants = encode(&[Grant::GuestRead; 60]);
    let loader = ServerSpec {
        grants: &grants,
        ..spec("loader", RoleKind::Loader)
    };
    let manifest = manifest(&[loader]);
    assert_broken(
        archive(&[("manifest", &manifest), ("image/loader", &image())]),
        "do not fit one answer",
    );
}

proptest! {
    #[test]
    fn no_damage_to_manifest_or_image_panics(place in 0_usize..4096, value: u8, seed: u8) {
        let mut bytes = bundle(&[]);
        let length = bytes.len();
        // Past the headers' checksums: the manifest's contents and the images.
        let place = if seed % 2 == 0 { 1536 + place % 256 } else { 2048 + 512 + place % 512 } % length;
        bytes[place] = value;
        let (mut supervisor, _) = start(bytes);
        for id in 1..=3 {
            supervisor.deliver(Body::ServerStarted(ServerId::nth(id), 1));
        }
        supervisor.deliver(fault(seed % 32));
    }

    #[test]
    fn no_bundle_panics(bytes: Vec<u8>) {
        start(archive(&[("manifest", &bytes)]));
        start(bytes);
    }
}
