//! Links guests at 1 MiB, where multiboot loaders put them.

fn main() {
    println!("cargo:rerun-if-changed=guest.ld");
    let dir = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo:rustc-link-arg-bins=-T{dir}/guest.ld");
}
