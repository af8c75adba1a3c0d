//! Every opcode that the decoder knows with an operand in memory: carried out, or left with a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;
use yaxpeax_x86::{long_mode, protected_mode, real_mode};

use crate::decode::decode;
use crate::mode::CodeSize;
use crate::plan::Action;

/// What is left, and why.
const LEFT: &[(&str, &[&str])] = &[
    (
        "does not touch its operand",
        &["CLFLUSH", "CLFLUSHOPT", "CLWB", "NOP", "UD0", "UD1"],
    ),
    (
        "what it touches depends on a mask that only the CPU has",
        &[
            "VMASKMOVPS",
            "VMASKMOVPD",
            "VPMASKMOVD",
            "VPMASKMOVQ",
            "VPGATHERDD",
            "VPGATHERDQ",
            "VPGATHERQD",
            "VPGATHERQQ",
            "VGATHERDPD",
            "VGATHERDPS",
            "VGATHERQPD",
            "VGATHERQPS",
        ],
    ),
    (
        "what it touches depends on XCR0 and on what the guest asks for",
        &[
            "XSAVE",
            "XSAVEC",
            "XSAVEC64",
            "XSAVEOPT",
            "XSAVES",
            "XSAVES64",
            "XRSTOR",
            "XRSTORS",
            "XRSTORS64",
        ],
    ),
    (
        "the guest's CPUID does not offer it",
        &[
            "CLRSSBSY",
            "RSTORSSP",
            "WRSS",
            "WRUSS",
            "ENQCMD",
            "ENQCMDS",
            "MOVDIR64B",
            "PTWRITE",
            "VMCLEAR",
            "VMPTRLD",
            "VMPTRST",
            "VMREAD",
            "VMWRITE",
            "VMXON",
        ],
    ),
];

/// Opcodes of a mode with a memory operand: whether each of their forms has a plan.
type Found = BTreeMap<String, BTreeSet<bool>>;

/// The beginnings of instructions: prefixes and escapes, and VEX, up to the opcode.
fn heads(size: CodeSize) -> Vec<Vec<u8>> {
    let mut prefixes = vec![vec![], vec![0x66], vec![0xf2], vec![0xf3]];
    if size == CodeSize::Bits64 {
        let wide = prefixes
            .clone()
            .into_iter()
            .map(|prefix| [prefix, vec![0x48]].concat());
        prefixes = wide.chain(prefixes.iter().cloned()).collect();
    }
    let escapes: [&[u8]; 4] = [&[], &[0x0f], &[0x0f, 0x38], &[0x0f, 0x3a]];
    let mut heads = vec![];
    for prefix in &prefixes {
        heads.extend(escapes.map(|escape| [prefix, escape].concat()));
    }
    for map in 1..=3 {
        for rest in 0..8 {
            for (wide, register) in [(0, 0x78), (0x80, 0x78), (0, 0), (0x80, 0)] {
                heads.push(vec![0xc4, 0xe0 | map, wide | register | rest]);
            }
        }
    }
    heads
}

macro_rules! opcodes {
    ($mode:ident, $size:expr) => {{
        let decoder = $mode::InstDecoder::default();
        let mut found = Found::new();
        for head in heads($size) {
            // The register field is a part of many opcodes; the operand is at [RBX], or wherever the mode has it.
            for (opcode, register) in (0..=0xff_u8).flat_map(|opcode| (0..8).map(move |field| (opcode, field))) {
                let code = [&head[..], &[opcode, register << 3 | 3], &[0; 10]].concat();
                let code = &code[..15.min(code.len())];
                let Ok(instruction) = decoder.decode_slice(code) else {
                    continue;
                };
                if instruction.prefixes.evex().is_some() || !(0..4).any(|place| instruction.operand(place).is_memory()) {
                    continue;
                }
                let planned = decode($size, code).unwrap().action != Action::Unsupported;
                found.entry(format!("{:?}", instruction.opcode())).or_default().insert(planned);
            }
        }
        found
    }};
}

fn left(found: &Found) -> Vec<&str> {
    let without = found.iter().filter(|(_, plans)| plans.contains(&false));
    without.map(|(name, _)| name.as_str()).collect()
}

#[test]
fn every_opcode_with_a_memory_operand_is_carried_out_or_left_for_a_reason() {
    let found = [
        opcodes!(long_mode, CodeSize::Bits64),
        opcodes!(protected_mode, CodeSize::Bits32),
        opcodes!(real_mode, CodeSize::Bits16),
    ];
    let listed: BTreeSet<&str> = LEFT
        .iter()
        .flat_map(|(_, names)| names.iter().copied())
        .collect();
    let mut seen = BTreeSet::new();
    for found in &found {
        assert!(found.len() > 400, "only {} opcodes were tried", found.len());
        let left = left(found);
        let unlisted: Vec<_> = left.iter().filter(|name| !listed.contains(*name)).collect();
        assert!(
            unlisted.is_empty(),
            "neither carried out nor listed: {unlisted:?}"
        );
        seen.extend(left);
    }
    let carried: Vec<_> = listed.difference(&seen).collect();
    assert!(
        carried.is_empty(),
        "listed, and carried out all the same: {carried:?}"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..=15)) {
        for size in [CodeSize::Bits16, CodeSize::Bits32, CodeSize::Bits64] {
            let _ = decode(size, &bytes);
        }
    }
}
