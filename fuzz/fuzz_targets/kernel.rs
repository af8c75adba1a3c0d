//! The portable kernel on its simulated machine: the fuzzer's bytes are the dice that the servers and the guest throw.
//!
//! `cargo +nightly fuzz run kernel` in this folder. What is found is a seed for a test in `kernel/core/tests`.
#![no_main]
#![allow(
    dead_code,
    reason = "the tests' own modules, of which a play needs a part"
)]

#[path = "../../kernel/core/tests/kernel/cast.rs"]
mod cast;
#[path = "../../kernel/core/tests/kernel/exits.rs"]
mod exits;
#[path = "../../kernel/core/tests/kernel/machine.rs"]
mod machine;
#[path = "../../kernel/core/tests/kernel/memory.rs"]
mod memory;
#[path = "../../kernel/core/tests/kernel/nested.rs"]
mod nested;
#[path = "../../kernel/core/tests/kernel/random/mod.rs"]
mod random;
#[path = "../../kernel/core/tests/kernel/script.rs"]
mod script;
#[path = "../../kernel/core/tests/kernel/simulation.rs"]
mod simulation;
#[path = "../../kernel/core/tests/kernel/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| random::play(bytes));
