//! A loader driven to its end, with guest memory to look at.

extern crate std;

use std::string::String;
use std::vec;
use std::vec::Vec;

use atoll_protocol::effect::Effect;
use atoll_protocol::message::{Body, Stop};
use atoll_protocol::vcpu::InitialState;
use atoll_sdk::bundle::write::archive;
use atoll_sdk::harness::{Harness, MACHINE};
use proptest::prelude::*;

use super::*;

/// What memory holds before.
pub(crate) const DIRT: u8 = 0xa5;

/// A guest in place.
pub(crate) struct Placed {
    pub(crate) memory: Vec<u8>,
    pub(crate) state: InitialState,
    pub(crate) log: String,
    pub(crate) answers: usize,
}

impl Placed {
    pub(crate) fn bytes(&self, at: u64, length: usize) -> &[u8] {
        &self.memory[at as usize..][..length]
    }

    pub(crate) fn is_zero(&self, at: u64, length: usize) -> bool {
        self.bytes(at, length).iter().all(|byte| *byte == 0)
    }

    pub(crate) fn word(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.bytes(at, 4).try_into().unwrap())
    }

    pub(crate) fn double(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.bytes(at, 8).try_into().unwrap())
    }
}

/// Loads these files; an error is the refusal's line.
pub(crate) fn load(files: &[(&str, &[u8])], options: &str) -> Result<Placed, String> {
    load_into(&MACHINE, files, options)
}

/// Loads these files into a machine of another size.
pub(crate) fn load_into(
    machine: &Machine,
    files: &[(&str, &[u8])],
    options: &str,
) -> Result<Placed, String> {
    let mut files = files.to_vec();
    files.push(("zeros", &[0; 0x8000]));
    run(machine, archive(&files), options)
}

fn run(machine: &Machine, bundle: Vec<u8>, options: &str) -> Result<Placed, String> {
    let setup = Setup {
        options,
        ..Setup::default()
    };
    let (mut loader, _) = Harness::<LoaderServer>::start_with(machine, &setup, bundle.clone());
    let mut placed = Placed {
        memory: Vec::new(),
        state: InitialState::default(),
        log: String::new(),
        answers: 0,
    };
    let mut writes: Vec<(usize, Vec<u8>)> = Vec::new();
    loop {
        let answer = loader.deliver(Body::Load);
        let effects = answer.effects();
        assert!(effects.len() < atoll_protocol::EFFECTS);
        placed.answers += 1;
        assert!(placed.answers < 100, "no end of it");
        for effect in effects {
            match effect {
                Effect::GuestWrite(at, bytes) => writes.push((at.0.0 as usize, bytes.to_vec())),
                Effect::GuestCopy(copy) => {
                    writes.push((
                        copy.0.gpa.0 as usize,
                        bundle[copy.0.offset as usize..][..copy.0.length as usize].to_vec(),
                    ));
                }
                Effect::Initial(0, state) => {
                    placed.state = InitialState::read_from_bytes(state).unwrap()
                }
                Effect::Log(line) => placed.log = line.into(),
                Effect::Resume => {}
                Effect::Done => {
                    // Nothing may rely on what the firmware left.
                    placed.memory = vec![DIRT; machine.memory as usize];
                    writes.iter().for_each(|(at, bytes)| {
                        placed.memory[*at..][..bytes.len()].copy_from_slice(bytes)
                    });
                    return Ok(placed);
                }
                Effect::Stop(Stop::Refused) => return Err(placed.log),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn what_is_no_kernel_is_refused_with_a_reason() {
    let refused = |files: &[(&str, &[u8])]| load(files, "").err().unwrap();
    let bare = run(&MACHINE, archive(&[("guest/kernel", b"x")]), "")
        .err()
        .unwrap();
    assert_eq!(
        bare,
        "cannot load the guest: the bundle has no `zeros`, which memory is cleared with"
    );
    assert_eq!(
        refused(&[]),
        "cannot load the guest: the bundle has no `guest/kernel`"
    );
    assert!(refused(&[("guest/kernel", b"#!/bin/sh")]).contains("neither a bzImage"));
    assert!(
        run(&MACHINE, vec![1; 700], "")
            .err()
            .unwrap()
            .contains("the bundle has no header")
    );
}

proptest! {
    #[test]
    fn no_kernel_file_panics(bytes: Vec<u8>) {
        let _ = load(&[("guest/kernel", &bytes)], "");
    }
}
