//! `docs/qemu-deviations.md`: made from what the guests print about QEMU in both runs.

use std::fmt::Write;
use std::fs;

use atoll::emulator::Emulator;
use atoll::place;

use crate::topic::{DEVIATION, LEFT, Runs, deviation, runs};

/// Writes the file anew.
const WRITES: &str = "ATOLL_WRITE_DEVIATIONS";
/// What a guest's source calls to make such lines.
const CALLS: [&str; 3] = ["deviation(", "unasked(", "left("];

const HEAD: &str = "# Where QEMU is not the processor of the manual

Atoll's guests are tested against the same guests directly in QEMU. Here is where QEMU's TCG does not do what the manual (the AMD64
Architecture Programmer's Manual) says, as the guests in `qemu/guests` have found. Where Atoll raises or answers it itself it does what the
manual says; where the instruction never leaves the guest it does what QEMU does, which the last column says (\"left\").

Values are hexadecimal. A pair that ends the name of a fault is the exception's vector and its error code, and vector 3 is none: a run ends
with INT3. \"Not asked\" is what would end the guest or QEMU itself.

This file is made by `ATOLL_WRITE_DEVIATIONS=1 cargo test -p atoll --test guests deviations`.
";

/// Both runs' lines of that kind, with the section before them.
fn lines(console: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in console.lines().map(str::trim_end) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            name.clone_into(&mut section);
        } else if line.starts_with(DEVIATION) || line.starts_with(LEFT) {
            found.push((section.clone(), line.to_owned()));
        }
    }
    found
}

/// A guest's part of the file.
fn part(guest: &str, Runs { atoll, direct }: &Runs) -> String {
    let (mine, its) = (lines(&atoll.console), lines(&direct.console));
    assert_eq!(
        mine.len(),
        its.len(),
        "{guest}: both runs tell of the same\n{}\n{}",
        atoll.console,
        direct.console
    );
    let mut text = String::new();
    let mut before = "";
    for ((section, mine), (_, its)) in mine.iter().zip(&its) {
        let ([name, got, want, why], [its_name, by_qemu, _, _]) = (deviation(mine), deviation(its));
        assert_eq!(name, its_name, "{guest}: in the same order");
        // Where QEMU does as it should, there is nothing to tell.
        if by_qemu == want && got == want {
            continue;
        }
        if before != section {
            let _ = write!(
                text,
                "\n## {guest}: {section}\n\n| what | manual | Atoll | QEMU | why |\n|---|---|---|---|---|\n"
            );
            before = section;
        }
        let left = if mine.starts_with(LEFT) {
            " (left)"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "| {name} | {want} | {got} | {by_qemu} | {why}{left} |"
        );
    }
    text
}

/// All guests whose source makes such lines.
fn guests() -> Vec<&'static str> {
    let sources = place::workspace().unwrap().join("qemu/guests/src/bin");
    let mut guests: Vec<&'static str> = fs::read_dir(sources)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .filter(|path| {
            let text = fs::read_to_string(path).unwrap();
            CALLS.iter().any(|call| text.contains(call))
        })
        .map(|path| {
            &*path
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
                .leak()
        })
        .collect();
    guests.sort_unstable();
    guests
}

/// On another QEMU the file need not hold: then only the right values are checked, by the guests' own tests.
#[test]
fn deviations_of_qemu_are_all_in_one_file() {
    let (major, minor, patch) = Emulator::find(false).unwrap().version;
    let parts: String = guests()
        .into_iter()
        .map(|guest| part(guest, runs(guest).get().unwrap()))
        .collect();
    let version = format!("\nFound on QEMU {major}.{minor}.{patch}.\n");
    let file = place::workspace().unwrap().join("docs/qemu-deviations.md");
    let made = format!("{HEAD}{version}{parts}");
    if std::env::var_os(WRITES).is_some() {
        fs::write(&file, &made).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    if kept.contains(&version) {
        assert_eq!(
            kept, made,
            "docs/qemu-deviations.md (left) is not what the guests tell: {WRITES}=1 writes it"
        );
    } else {
        assert!(
            kept.starts_with(HEAD) && !parts.is_empty(),
            "docs/qemu-deviations.md has no head: {WRITES}=1 writes it"
        );
    }
}
