//! Places bzImage, multiboot 1 and PVH guests.
//!
//! The guest's files are in the bundle: `guest/kernel`, and where there are any `guest/initrd`, `guest/cmdline` and `guest/name`, the
//! kernel's name; more modules of a multiboot kernel as `guest/module/1` to `guest/module/7`, each with `guest/module/N/cmdline`; and `zeros`, which clears
//! what must be zero, since guest memory is as the firmware left it. The loader tells the
//! kernel's format, decides where everything goes, and has the microkernel put it there. It runs once, over as many activations as its
//! effects need answers, and is destroyed before the guest's first instruction.
//!
//! Options: `entry=32` enters a Linux kernel in protected mode although it has a 64-bit entry point.
#![no_std]
#![forbid(unsafe_code)]

use atoll_protocol::manifest::Setup;
use atoll_protocol::message::Machine;
use atoll_protocol::role::{LoadReply, LoadRequest, Loader, Never};
use atoll_sdk::bundle::Bundle;
use atoll_sdk::{Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

mod acpi;
mod cpu;
mod files;
mod firmware;
mod image;
mod linux;
mod memory;
mod multiboot;
mod multiprocessor;
mod placer;
mod program;
mod pvh;
mod refusal;
mod smbios;
#[cfg(test)]
mod tests;

use files::Files;
pub use image::Format;
use image::Image;
use memory::Ram;
use placer::Placer;
pub use refusal::Refusal;

/// What must survive between activations.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct State {
    /// Bytes of guest memory.
    memory: u64,
    /// Pieces that earlier answers have placed.
    placed: u32,
    /// Virtual CPUs.
    vcpus: u16,
    /// 1: enter in protected mode.
    protected_entry: u8,
    /// Not used; zero.
    reserved: u8,
}

/// The server.
#[derive(Debug)]
pub struct LoaderServer;

impl Server for LoaderServer {
    type Role = Loader;
    type State = State;
    type Cache = ();

    fn start(machine: &Machine, setup: &Setup<'_>) -> Result<State, Refuse> {
        let protected_entry = match setup.option("entry") {
            None | Some("64") => 0,
            Some("32") => 1,
            Some(_) => return Err(Refuse::BadOption("entry")),
        };
        let vcpus = u16::try_from(machine.vcpus.max(1))
            .map_err(|_| Refuse::Machine("a machine with at most 65,535 vCPUs"))?;
        Ok(State {
            memory: machine.memory,
            placed: 0,
            vcpus,
            protected_entry,
            reserved: 0,
        })
    }

    atoll_sdk::immovable!();

    fn handle(
        vault: &mut Vault<'_, Self>,
        _: LoadRequest,
        effects: &mut Effects<'_, Loader>,
    ) -> LoadReply {
        let bundle = Bundle::new(effects.bundle());
        let loaded = Files::find(&bundle).and_then(|files| {
            let mut placer = Placer::new(vault.placed, files.zeros, effects);
            let loaded = place(vault, &files, &mut placer)?;
            Ok((loaded, placer.finish()))
        });
        match loaded {
            Err(refusal) => {
                effects.log(format_args!("cannot load the guest: {refusal}"));
                LoadReply::Refused
            }
            Ok((_, Some(placed))) => {
                *vault.at(|state| &mut state.placed) = placed;
                LoadReply::More
            }
            Ok((how, None)) => {
                effects.log(how);
                LoadReply::Loaded
            }
        }
    }

    fn event(_: &mut Vault<'_, Self>, event: Never, _: &mut Effects<'_, Loader>) {
        match event {}
    }
}

/// What was loaded, for the log.
struct Loaded {
    /// The kernel's format and entry.
    format: &'static str,
    /// Entry point.
    entry: u64,
    /// Bytes of the kernel, as placed.
    kernel: u64,
    /// Bytes of the initial RAM disk.
    initrd: u64,
}

impl core::fmt::Display for Loaded {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "guest: {}, entry {:#x}, kernel {} bytes, initrd {} bytes",
            self.format, self.entry, self.kernel, self.initrd
        )
    }
}

/// Goes through all that is to be placed; the placer leaves out what is there already and what does not fit the answer.
fn place(state: &State, files: &Files<'_>, placer: &mut Placer<'_, '_>) -> Result<Loaded, Refusal> {
    let ram = Ram::new(state.memory);
    for (at, length) in memory::FIRMWARE {
        placer.zero(at, length);
    }
    firmware::place(placer);
    acpi::place(state.vcpus, placer);
    smbios::place(placer);
    multiprocessor::place(state.vcpus, placer);
    match Image::read(&files.kernel)? {
        Image::Linux(header) => {
            linux::place(&header, files, ram, state.protected_entry != 0, placer)
        }
        Image::Multiboot(header) => multiboot::place(&header, files, ram, placer),
        Image::Pvh(program, entry) => pvh::place(&program, entry, files, ram, placer),
    }
}
