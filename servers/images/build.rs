//! Links every image where `image.ld` says; host builds (checks of the whole workspace) are left alone.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=image.ld");
    println!("cargo:rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let directory = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rustc-link-arg-bins=-T{directory}/image.ld");
        println!("cargo:rustc-link-arg-bins=--no-pie");
        println!("cargo:rustc-link-arg-bins=--build-id=none");
        println!("cargo:rustc-link-arg-bins=-znorelro");
        // A program header for the stack would be one more segment to explain to the supervisor; the kernel makes the stack.
        println!("cargo:rustc-link-arg-bins=-znognustack");
    }
}
