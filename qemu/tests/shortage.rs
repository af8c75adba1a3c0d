//! A server that takes more memory than there is: the swap is refused with what it takes and what is free, and nothing else happens. One that
//! takes all that is left is put in, and what is in the bundle can still be swapped.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use atoll::place;
use atoll::template::{self, Wanted};
use running::Running;

mod running;

/// More than the machine has beside the guest's memory.
const LARGE: u64 = 128 << 20;

/// A crate of the cpuid role that shows the host's leaves, with so many bytes of zeroed memory.
fn make(dir: &Path, bytes: u64) -> PathBuf {
    let wanted = Wanted {
        role: "cpuid",
        name: "my-cpuid",
        around: None,
    };
    let made = template::make(&place::workspace().unwrap(), &wanted, dir).unwrap();
    let path = made.join("src/lib.rs");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text
        .split_once("\nimpl Server for")
        .expect("the template's server");
    let (head, body) = rest
        .split_once("        match ")
        .expect("the template's leaves");
    let used = "        ROOM[*leaf as usize % 4096].fetch_add(1, core::sync::atomic::Ordering::Relaxed);\n";
    let room = format!(
        "\nstatic ROOM: [core::sync::atomic::AtomicU8; {bytes}] = [const {{ core::sync::atomic::AtomicU8::new(0) }}; {bytes}];\n"
    );
    let used = used.replace("*leaf", "request.leaf");
    fs::write(
        &path,
        format!("{before}\n{room}\nimpl Server for{head}{used}        match {body}"),
    )
    .unwrap();
    made
}

/// The numbers of KiB in a line.
fn kib(line: &str) -> Vec<u64> {
    let words: Vec<&str> = line.split_whitespace().collect();
    words
        .windows(2)
        .filter(|pair| pair[1] == "KiB")
        .filter_map(|pair| pair[0].parse().ok())
        .collect()
}

#[test]
fn a_server_that_is_too_large_is_refused_and_one_that_takes_all_that_is_left_leaves_room_for_the_others()
 {
    let machine = Running::start(
        "shortage",
        &[
            "--exec",
            "i=0; while true; do i=$((i + 1)); echo alive $i; sleep 0.1; done",
        ],
    );
    let dir = tempfile::tempdir().unwrap();
    let goes_on = |what: &str| {
        let before = machine.console().len();
        machine.wait_until(what, || {
            machine.console()[before..].matches("alive").count() >= 3
        });
        assert_eq!(machine.restarts("supervisor"), 0, "{what}");
    };
    goes_on("it has booted");

    let big = make(&dir.path().join("big"), LARGE);
    let refused = machine.error(&["swap", "cpuid", big.to_str().unwrap(), "--force"]);
    let [needed, free] = kib(refused.lines().last().unwrap())[..] else {
        panic!("{refused}")
    };
    assert!(
        needed > LARGE / 1024 && free < needed && refused.contains("nothing has changed"),
        "{refused}"
    );
    assert_eq!(
        (machine.image("cpuid"), machine.restarts("cpuid")),
        ("cpuid".into(), 0)
    );
    goes_on("it was refused");

    // As large as may be, but for what the two programs differ by.
    let most = make(
        &dir.path().join("most"),
        LARGE - (needed - free + 16) * 1024,
    );
    machine.text(&["swap", "cpuid", most.to_str().unwrap(), "--force"]);
    assert_eq!(machine.image("cpuid"), "my-cpuid");
    let again = machine.error(&["swap", "cpuid", most.to_str().unwrap(), "--force"]);
    assert!(
        again.contains("nothing has changed"),
        "there is no room for two: {again}"
    );
    goes_on("memory is used up");
    for (server, image) in [
        ("pit", "pit"),
        ("uart", "uart-ring"),
        ("irqchip", "irqchip-flat"),
        ("mmu", "mmu-npt"),
        ("pit", "pit"),
    ] {
        machine.text(&["swap", server, image]);
    }
    machine.text(&["kill", "cpuid"]);
    goes_on("others were swapped");
    machine.text(&["swap", "cpuid", "cpuid", "--force"]);
    goes_on("it is as it was");
    let log = machine.text(&["log"]);
    assert!(!log.contains("miscounted"), "{log}");
}
