//! Says in one line where the host tool cannot be built, before the compiler says it in a hundred.

#![forbid(unsafe_code)]

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if os != "linux" {
        println!(
            "cargo::error=Atoll's host tool needs Linux, and this is {os}: build and run it in a Linux machine or container"
        );
    }
}
