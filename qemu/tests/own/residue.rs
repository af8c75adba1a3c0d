//! What a server leaves in its memory is not found by the next one that gets its frames and its slot.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::running::Running;

/// Two servers in one: with `LEAVES` it writes a canary wherever it can write; else it looks for it wherever it can read, and for anything
/// in its pages of the conversation beside its message.
const SERVER: &str = r#"//! Canaries.
#![no_std]
use atoll_sdk::protocol::interchange::CpuidState;
use atoll_sdk::protocol::layout::{ANSWER, MESSAGE, STACK_TOP, VAULT};
use atoll_sdk::protocol::manifest::Setup;
use atoll_sdk::protocol::message::{Held, Leaf, Machine};
use atoll_sdk::protocol::role::{Cpuid, CpuidRequest};
use atoll_sdk::{Effects, Refuse, Server, Vault};
const LEAVES: bool = @LEAVES@;
/// Not as such in the code that looks for it.
fn canary() -> u64 { core::hint::black_box(0x5a17_a8c5_31f0_0b6e_u64) ^ 0xffff }
const BSS: usize = 1024;
static mut SPACE: [u64; BSS] = [0; BSS];
pub struct MyServer;
#[repr(C)]
#[derive(Clone, Copy, Debug, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)]
pub struct St { found: [u64; 6] }
const STACK: u64 = @STACK@;
const PAGES: u64 = @VAULT@;
/// `from..to` is whole words of this server's own memory that nothing else in it refers to: see `all`.
fn fill(from: u64, to: u64) -> u64 {
    // SAFETY: `all` names only pages that a server may write, and of them only what neither the SDK nor this code has anything in: the second
    // half of the answer page, the stack far below this frame, `SPACE`, which nothing else names, and the vault behind the state.
    for at in (from..to).step_by(8) { unsafe { (at as *mut u64).write_volatile(canary()) } }
    (to - from) / 8
}
fn look(from: u64, to: u64, is: fn(u64) -> bool) -> u64 {
    // SAFETY: `all` names only pages that are mapped into every server and that it may read; any bytes are a word; and nothing writes
    // them meanwhile, since a server is one thread and the kernel waits for its answer.
    (from..to).step_by(8).filter(|at| is(unsafe { (*at as *const u64).read_volatile() })).count() as u64
}
fn all() -> [u64; 6] {
    let bss = &raw mut SPACE as u64;
    let here = 0u8;
    let stack = STACK_TOP - STACK..(&raw const here as u64 - 512) & !7;
    if LEAVES {
        return [0, fill(ANSWER + 2048, ANSWER + 4096), fill(stack.start, stack.end), fill(bss, bss + 8 * BSS as u64), fill(VAULT + 1024, VAULT + PAGES), 0];
    }
    let ours = |word: u64| word == canary();
    let pages = look(MESSAGE + 2048, MESSAGE + 4096, |word| word != 0) + look(ANSWER, ANSWER + 4096, |word| word != 0);
    [look(MESSAGE, MESSAGE + 4096, ours), look(ANSWER, ANSWER + 4096, ours), look(stack.start, stack.end, ours), look(bss, bss + 8 * BSS as u64, |word| word != 0), look(VAULT, VAULT + PAGES, ours), pages]
}
impl Server for MyServer {
    type Role = Cpuid;
    type State = St;
    type Cache = ();
    fn export(_: &St) -> Option<CpuidState> { Some(CpuidState::default()) }
    fn import(_: &Machine, _: &Setup<'_>, _: CpuidState, _: bool) -> Result<St, Refuse> { Ok(St { found: all() }) }
    fn start(_: &Machine, _: &Setup<'_>) -> Result<St, Refuse> { Ok(St { found: [0; 6] }) }
    fn restarted(vault: &mut Vault<'_, Self>, _: &Held, effects: &mut Effects<'_, Cpuid>) {
        let found = vault.found;
        effects.log(format_args!("canaries: {found:?}"));
        // In the slot that it has taken over, too.
        let now = all();
        effects.log(format_args!("afterwards: {now:?}"));
    }
    fn handle(_: &mut Vault<'_, Self>, request: &CpuidRequest, _: &mut Effects<'_, Cpuid>) -> Leaf {
        let CpuidRequest { leaf, host, .. } = *request;
        match leaf { 0..=7 | 0x8000_0000..=0x8000_0008 => host, _ => Leaf::default() }
    }
}
"#;
/// Bytes of stack and vault that a server has whose manifest does not say.
const DEFAULTS: [(&str, &str); 2] = [("@STACK@", "32 << 10"), ("@VAULT@", "4 << 10")];

fn make(dir: &Path, name: &str, leaves: bool) {
    let made = Command::new(env!("CARGO_BIN_EXE_atoll"))
        .args(["new-server", "cpuid", name, "--path"])
        .arg(dir)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let text = DEFAULTS.iter().fold(
        SERVER.replace("@LEAVES@", &leaves.to_string()),
        |text, (from, to)| text.replace(from, to),
    );
    fs::write(dir.join("src/lib.rs"), text).unwrap();
}

/// The numbers of the last line of the log that has this.
fn counts(machine: &Running, what: &str) -> Vec<u64> {
    let log = machine.text(&["log"]);
    let line = log
        .lines()
        .rev()
        .find(|line| line.contains(what))
        .unwrap_or_else(|| panic!("no {what}:\n{log}"));
    let (_, list) = line
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once('['))
        .unwrap_or_else(|| panic!("{line}"));
    list.trim_end_matches(']')
        .split(", ")
        .map(|number| number.parse().unwrap())
        .collect()
}

#[test]
fn a_new_server_finds_no_canary_of_the_one_before_it_in_all_that_it_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let [leaver, scanner] = ["leaver", "scanner"].map(|name| dir.path().join(name));
    make(&leaver, "leaver", true);
    make(&scanner, "scanner", false);
    let machine = Running::start(
        "residue",
        &["--exec", "while true; do echo here; sleep 0.2; done"],
    );
    machine.wait_until("the guest runs", || machine.console().contains("here"));
    machine.text(&["swap", "cpuid", leaver.to_str().unwrap(), "--force"]);
    machine.wait_until("it has left its canaries", || {
        machine.text(&["log"]).contains("afterwards: ")
    });
    let left = counts(&machine, "canaries: ");
    assert!(
        left[1..5].iter().all(|count| *count >= 64),
        "else nothing is tested: {left:?}"
    );
    // It is destroyed, and its frames are the next that are taken.
    machine.text(&["swap", "cpuid", "cpuid", "--force"]);
    machine.text(&["swap", "cpuid", scanner.to_str().unwrap(), "--force"]);
    machine.wait_until("it has looked", || {
        machine.text(&["log"]).matches("afterwards: ").count() == 2
    });
    assert_eq!(counts(&machine, "canaries: "), [0; 6], "as a successor");
    assert_eq!(
        counts(&machine, "afterwards: ")[..5],
        [0; 5],
        "in the slot that it has taken over"
    );
}
