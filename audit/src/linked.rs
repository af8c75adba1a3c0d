//! What is really in ring 0: the kernel is linked, with line tables, and every line of source that has code in it is counted, by where it comes
//! from. Of the protocol only that shows how much of it the kernel runs: most of what it says is for others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use addr2line::gimli::{self, Dwarf, EndianSlice, LittleEndian, SectionId};
use addr2line::{Context, Location};
use object::{Object, ObjectSection, SectionKind};

use crate::Error;
use crate::findings::Findings;
use crate::workspace::Workspace;

/// Where the kernel runs.
const TARGET: &str = "x86_64-unknown-none";

/// Links the kernel and counts.
pub(crate) fn check(workspace: &Workspace, findings: &mut Findings) -> Result<(), Error> {
    let Some(kernel) = link(workspace)? else {
        findings.figure(format_args!(
            "lines of the protocol in the kernel: not counted, since this compiler lacks the target (rustup target add {TARGET})"
        ));
        return Ok(());
    };
    let lines = lines(&kernel).map_err(|why| Error::File {
        path: kernel.clone(),
        why,
    })?;
    if lines.is_empty() {
        return Err(Error::File {
            path: kernel,
            why: "it has no line tables".to_owned(),
        });
    }
    let mut origins: BTreeMap<Origin, usize> = BTreeMap::new();
    for (file, _) in &lines {
        *origins.entry(origin(&workspace.root, file)).or_default() += 1;
    }
    let of = |origin| origins.get(&origin).copied().unwrap_or(0);
    findings.figure(format_args!(
        "lines of source with code in the linked kernel: {} of kernel/, {} of protocol/, {} of other crates, {} of Rust's core library",
        of(Origin::Kernel),
        of(Origin::Protocol),
        of(Origin::Others),
        of(Origin::Core),
    ));
    Ok(())
}

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Kernel,
    Protocol,
    Others,
    Core,
}

fn origin(root: &Path, file: &Path) -> Origin {
    match file.strip_prefix(root) {
        Ok(own) if own.starts_with("protocol") => Origin::Protocol,
        // All else of the workspace that ring 0 is built from is the kernel's.
        Ok(_) => Origin::Kernel,
        Err(_) if file.components().any(|part| part.as_os_str() == "registry") => Origin::Others,
        Err(_) => Origin::Core,
    }
}

/// The kernel's program as it ships, built into a directory of its own; `None` if the compiler has no such target.
fn link(workspace: &Workspace) -> Result<Option<PathBuf>, Error> {
    if !has_target()? {
        return Ok(None);
    }
    let target = workspace.root.join("target/audit");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(&workspace.root)
        .args(["build", "--quiet", "--locked", "--profile", "bare"])
        .args(["--package", "atoll-kernel", "--target", TARGET])
        // What an inherited variable says would replace the kernel's own flags.
        .args(["--config", "profile.bare.debug=\"line-tables-only\""])
        .arg("--target-dir")
        .arg(&target);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let describes_this = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_PROFILE_"]
            .iter()
            .any(|start| text.starts_with(start));
        if describes_this || text.ends_with("RUSTFLAGS") || text == "CARGO_BUILD_TARGET" {
            cargo.env_remove(&name);
        }
    }
    let failed = |why: String| Error::Program {
        program: "cargo build (of the kernel)",
        why,
    };
    let output = cargo.output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(Some(target.join(TARGET).join("bare/atoll-kernel")))
}

/// Whether the compiler has the target's core library. Its directory's name is printed even if there is nothing in it.
fn has_target() -> Result<bool, Error> {
    let failed = |why: String| Error::Program {
        program: "rustc",
        why,
    };
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| failed(error.to_string()))?;
    let directory = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let is_core = |name: &str| name.starts_with("libcore-") && name.ends_with(".rlib");
    Ok(std::fs::read_dir(directory).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| is_core(&entry.file_name().to_string_lossy())))
    }))
}

/// All lines of source, by file, that have code in a program.
fn lines(program: &Path) -> Result<BTreeSet<(PathBuf, u32)>, String> {
    let bytes = std::fs::read(program).map_err(|error| error.to_string())?;
    let file = object::File::parse(&*bytes).map_err(|error| error.to_string())?;
    let code = file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text);
    let code = code.map(|section| section.address()..section.address() + section.size());
    let section = |id: SectionId| {
        let found = file.section_by_name(id.name());
        let data = found.and_then(|section| section.data().ok());
        EndianSlice::new(data.unwrap_or_default(), LittleEndian)
    };
    let failed = |error: gimli::Error| error.to_string();
    let dwarf = Dwarf::load(|id| Ok(section(id))).map_err(failed)?;
    let context = Context::from_dwarf(dwarf).map_err(failed)?;
    let mut lines = BTreeSet::new();
    for range in code {
        let rows = context.find_location_range(range.start, range.end);
        for (address, length, _) in rows.map_err(failed)? {
            if length == 0 {
                continue;
            }
            // What was inlined has a line of its own, and one where it was called.
            let frames = context.find_frames(address).skip_all_loads();
            let mut frames = frames.map_err(failed)?;
            while let Some(frame) = frames.next().map_err(failed)? {
                if let Some(Location {
                    file: Some(file),
                    line: Some(line @ 1..),
                    ..
                }) = frame.location
                {
                    lines.insert((plain(Path::new(file)), line));
                }
            }
        }
    }
    Ok(lines)
}

/// Without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_from_the_folder_that_its_file_is_in() {
        let root = Path::new("/src/atoll");
        let of = |path: &str| origin(root, &plain(Path::new(path)));
        assert_eq!(of("/src/atoll/kernel/core/src/run.rs"), Origin::Kernel);
        assert_eq!(
            of("/src/atoll/kernel/../protocol/src/./wire.rs"),
            Origin::Protocol
        );
        assert_eq!(
            of("/home/u/.cargo/registry/src/i/x86_64-0.15/src/lib.rs"),
            Origin::Others
        );
        assert_eq!(of("/rustc/abc/library/core/src/num/mod.rs"), Origin::Core);
    }

    /// A program without the standard library, so that what is in it is what stands here.
    const PROGRAM: &str = "#![no_std]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }
#[unsafe(no_mangle)]
pub extern \"C\" fn called(a: u64) -> u64 {
    let b = inlined(a);
    core::hint::black_box(b)
}
#[inline(always)]
fn inlined(a: u64) -> u64 {
    a * 3
}
pub fn nobody_calls_it(a: u64) -> u64 {
    core::hint::black_box(a * 5)
}
";

    #[test]
    fn the_lines_of_a_program_are_those_that_have_code_in_it() {
        let directory = tempfile::TempDir::new().unwrap();
        let (source, program) = (
            directory.path().join("program.rs"),
            directory.path().join("program.so"),
        );
        std::fs::write(&source, PROGRAM).unwrap();
        let compiled = Command::new("rustc")
            .args(["--edition=2024", "--crate-type=cdylib", "-O"])
            .args(["-Cdebuginfo=line-tables-only", "-Cpanic=abort"])
            .args(["-Clink-arg=-nostdlib", "-o"])
            .args([&program, &source])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "{said}");
        let lines = lines(&program).unwrap();
        let has = |line| lines.contains(&(source.clone(), line));
        assert!(has(6), "where a function that is inlined is called");
        assert!(has(7));
        assert!(has(11), "what is inlined");
        assert!(!has(1), "what is no code");
        assert!(!has(14), "what nobody calls");
    }
}
