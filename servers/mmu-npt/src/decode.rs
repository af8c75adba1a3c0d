//! From bytes to a [`Plan`], by `yaxpeax-x86` (no heap). Each code size is a decoder of its own there, with types of its own.

use yaxpeax_arch::LengthedInstruction;

use crate::mode::CodeSize;
use crate::plan::{Action, Binary, BitTest, IMMEDIATE, Plan, Repeat, Source, Touch, Unary};
use crate::registers::mask;

/// Longest instruction (APM vol. 3 §1.1).
pub(crate) const LONGEST: usize = 15;

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// The bytes end within the instruction.
    Short,
    /// Not an instruction.
    Invalid,
}

/// Decodes the instruction at the start of `bytes`.
#[cold]
#[inline(never)]
pub(crate) fn decode(size: CodeSize, bytes: &[u8]) -> Result<Plan, DecodeError> {
    match size {
        CodeSize::Bits16 => bits16::decode(bytes),
        CodeSize::Bits32 => bits32::decode(bytes),
        CodeSize::Bits64 => bits64::decode(bytes),
    }
}

/// Names a general register in the protocol's numbering: high bytes follow the sixteen.
fn numbered(number: u8, legacy_byte: bool) -> u8 {
    if legacy_byte && number >= 4 {
        number + 12
    } else {
        number
    }
}

macro_rules! decoder {
    ($name:ident, $mode:ident, addresses $addresses:expr, operands $operands:expr, registers [$($extra:ident),*], immediates [$($immediate:ident),*], $rex_w:expr) => {
        mod $name {
            use yaxpeax_x86::$mode::{DecodeError as Refusal, InstDecoder, Instruction, Opcode, Operand, Prefixes, Segment, register_class};

            use super::*;

            /// A general register's number.
            fn register(operand: &Operand) -> Option<u8> {
                let Operand::Register { reg } = operand else { return None };
                let class = reg.class();
                let byte = class == register_class::B;
                let general = byte || class == register_class::W || class == register_class::D $(|| class == register_class::$extra)*;
                general.then(|| numbered(reg.num(), byte))
            }

            fn source(operand: &Operand) -> Option<Source> {
                let value = match operand {
                    Operand::ImmediateI8 { imm } => i64::from(*imm) as u64,
                    Operand::ImmediateU8 { imm } => u64::from(*imm),
                    Operand::ImmediateI16 { imm } => i64::from(*imm) as u64,
                    Operand::ImmediateU16 { imm } => u64::from(*imm),
                    Operand::ImmediateI32 { imm } => i64::from(*imm) as u64,
                    Operand::ImmediateU32 { imm } => u64::from(*imm),
                    $(Operand::$immediate { imm } => *imm as u64,)*
                    other => return register(other).map(|register| Source { register, value: 0 }),
                };
                Some(Source { register: IMMEDIATE, value })
            }

            /// A control register's number.
            fn control(operand: &Operand) -> Option<u8> {
                match operand {
                    Operand::Register { reg } if reg.class() == register_class::CR => Some(reg.num()),
                    _ => None,
                }
            }

            fn debug(operand: &Operand) -> Option<u8> {
                match operand {
                    Operand::Register { reg } if reg.class() == register_class::DR => Some(reg.num()),
                    _ => None,
                }
            }

            /// MOV to or from a control or debug register.
            fn system(first: &Operand, second: &Operand) -> Option<Action> {
                Some(match (register(first), register(second)) {
                    (None, Some(register)) => match (control(first), debug(first)) {
                        (Some(control), _) => Action::ToControl { control, register },
                        (None, debug) => Action::ToDebug { debug: debug?, register },
                    },
                    (Some(register), None) => match (control(second), debug(second)) {
                        (Some(control), _) => Action::FromControl { control, register },
                        (None, debug) => Action::FromDebug { debug: debug?, register },
                    },
                    _ => return None,
                })
            }

            fn segment(segment: Segment) -> u8 {
                match segment {
                    Segment::ES => 0,
                    Segment::CS => 1,
                    Segment::SS => 2,
                    Segment::DS => 3,
                    Segment::FS => 4,
                    Segment::GS => 5,
                }
            }

            fn action(instruction: &Instruction) -> Option<Action> {
                let first = instruction.operand(0);
                let second = instruction.operand(1);
                let memory_first = first.is_memory();
                let memory = memory_first || second.is_memory();
                let size = instruction.mem_size().and_then(|size| size.bytes_size()).unwrap_or(0);
                if memory && !matches!(size, 1 | 2 | 4 | 8) {
                    return None;
                }
                let arithmetic = |operation| {
                    if memory_first {
                        Some(Action::ToMemory { operation, source: source(&second)?, size })
                    } else if memory {
                        Some(Action::ToRegister { operation, register: register(&first)?, size })
                    } else {
                        None
                    }
                };
                let in_place = |operation| memory_first.then_some(Action::InPlace { operation, size });
                let rex_w: fn(&Prefixes) -> bool = $rex_w;
                let rex_w = rex_w(&instruction.prefixes);
                let load = |sign, width: Option<u8>| {
                    let width = width?;
                    (!memory_first && memory).then_some(Action::Load { register: register(&first)?, size, width, sign })
                };
                let bit = |operation| {
                    let index = source(&second)?;
                    // For the form with an immediate in 64-bit code the decoder says 8, whatever the prefixes.
                    let size = match size {
                        8 if rex_w => 8,
                        8 if instruction.prefixes.operand_size() => 2,
                        8 => 4,
                        size => size,
                    };
                    memory_first.then_some(Action::Bit { operation, index, size })
                };
                match instruction.opcode() {
                    Opcode::MOV | Opcode::MOVNTI if memory_first => {
                        let Source { register, value } = source(&second)?;
                        Some(Action::Store { source: Source { register, value: value & mask(size) }, size })
                    }
                    Opcode::MOV if memory => load(0, first.width()),
                    Opcode::MOVZX => load(0, first.width()),
                    Opcode::MOVSX => load(1, first.width()),
                    Opcode::ADD => arithmetic(Binary::Add),
                    Opcode::ADC => arithmetic(Binary::AddCarry),
                    Opcode::SUB => arithmetic(Binary::Subtract),
                    Opcode::SBB => arithmetic(Binary::SubtractBorrow),
                    Opcode::CMP => arithmetic(Binary::Compare),
                    Opcode::AND => arithmetic(Binary::And),
                    Opcode::TEST => arithmetic(Binary::Test),
                    Opcode::OR => arithmetic(Binary::Or),
                    Opcode::XOR => arithmetic(Binary::Xor),
                    Opcode::INC => in_place(Unary::Increment),
                    Opcode::DEC => in_place(Unary::Decrement),
                    Opcode::NOT => in_place(Unary::Not),
                    Opcode::NEG => in_place(Unary::Negate),
                    Opcode::XCHG if memory_first => Some(Action::Exchange { register: register(&second)?, size }),
                    Opcode::XCHG if memory => Some(Action::Exchange { register: register(&first)?, size }),
                    Opcode::CMPXCHG if memory_first => Some(Action::CompareExchange { register: register(&second)?, size }),
                    Opcode::XADD if memory_first => Some(Action::ExchangeAdd { register: register(&second)?, size }),
                    Opcode::BT => bit(BitTest::Test),
                    Opcode::BTS => bit(BitTest::Set),
                    Opcode::BTR => bit(BitTest::Reset),
                    Opcode::BTC => bit(BitTest::Complement),
                    Opcode::STOS => Some(Action::StoreString { size }),
                    Opcode::LODS => Some(Action::LoadString { size }),
                    Opcode::MOVS => Some(Action::MoveString { size }),
                    Opcode::CMPS => Some(Action::CompareString { size }),
                    Opcode::SCAS => Some(Action::ScanString { size }),
                    // REX.W does not widen a port.
                    Opcode::INS => Some(Action::InString { size: size.min(4) }),
                    Opcode::OUTS => Some(Action::OutString { size: size.min(4) }),
                    Opcode::MOV => system(&first, &second),
                    Opcode::LMSW if !memory_first => Some(Action::LoadStatusWord { register: register(&first)? }),
                    Opcode::SMSW if !memory_first => {
                        Some(Action::StoreStatusWord { register: register(&first)?, size: first.width()? })
                    }
                    Opcode::CLTS => Some(Action::ClearTaskSwitched),
                    Opcode::XSETBV => Some(Action::SetExtendedControl),
                    Opcode::INVD | Opcode::WBINVD => Some(Action::Nothing),
                    // Without REX.W it moves 32 bits (the decoder still names a 64-bit register).
                    Opcode::MOVSXD => load(1, Some(if rex_w { 8 } else { 4 })),
                    _ => None,
                }
            }

            /// What the CPU carries out itself: all that touches memory of a size that the instruction tells.
            fn execute(instruction: &Instruction) -> Option<Action> {
                let prefixes = &instruction.prefixes;
                // The guest has no AVX-512.
                if prefixes.evex().is_some() {
                    return None;
                }
                let small = prefixes.operand_size();
                let slot: u16 = if small { $operands.1 } else { $operands.0 };
                let stack = match instruction.opcode() {
                    Opcode::PUSH | Opcode::CALL => Touch::written(slot),
                    Opcode::POP | Opcode::RETURN | Opcode::LEAVE => Touch::read(slot),
                    _ => Touch::NONE,
                };
                let place = (0..instruction.operand_count()).find(|place| instruction.operand(*place).is_memory());
                let operand = match place {
                    Some(place) => operand(instruction, place, slot)?,
                    None if instruction.opcode() == Opcode::XLAT => Touch::read(1),
                    None => Touch::NONE,
                };
                (operand != Touch::NONE || stack != Touch::NONE).then_some(Action::Execute { operand, stack })
            }

            /// The memory operand of an instruction of this operand size.
            fn operand(instruction: &Instruction, place: u8, slot: u16) -> Option<Touch> {
                let size = instruction.mem_size().and_then(|size| size.bytes_size()).map(u16::from);
                // The x87 unit's environment and state have two forms.
                let environment = if slot == 2 { 14 } else { 28 };
                Some(match instruction.opcode() {
                    // The decoder takes these for more than they are, since what they store is only a part of a register.
                    Opcode::MOV | Opcode::MOVSS | Opcode::MOVSD | Opcode::MOVLPS | Opcode::MOVHPS | Opcode::MOVLPD | Opcode::MOVHPD
                        if place == 0 => Touch::written(size?),
                    Opcode::VMOVLPS | Opcode::VMOVHPS | Opcode::VMOVLPD | Opcode::VMOVHPD if place == 0 => Touch::written(8),
                    Opcode::VCVTPS2PH if place == 0 => Touch::written(instruction.operand(1).width().map_or(8, u16::from) / 2),
                    Opcode::FLDENV => Touch::read(environment),
                    Opcode::FNSTENV => Touch::written(environment),
                    Opcode::FRSTOR => Touch::read(environment + 80),
                    Opcode::FNSAVE => Touch::written(environment + 80),
                    Opcode::FXRSTOR => Touch::read(512),
                    // It leaves some of its bytes as they are.
                    Opcode::FXSAVE => Touch::changed(512),
                    Opcode::FNSTCW | Opcode::FNSTSW | Opcode::SLDT | Opcode::STR | Opcode::SMSW => Touch::written(2),
                    Opcode::LLDT | Opcode::LTR => Touch::read(2),
                    Opcode::LDMXCSR | Opcode::VLDMXCSR => Touch::read(4),
                    Opcode::STMXCSR | Opcode::VSTMXCSR => Touch::written(4),
                    // What is touched depends on a mask that only the CPU has.
                    Opcode::VMASKMOVPS | Opcode::VMASKMOVPD | Opcode::VPMASKMOVD | Opcode::VPMASKMOVQ => return None,
                    _ if instruction.behavior().as_complex_op().is_some() => return None,
                    _ => {
                        let access = instruction.behavior().operand_access(place)?;
                        Touch::new(size.filter(|_| access.is_read() || access.is_write())?, access.is_read(), access.is_write())
                    }
                })
            }

            pub(super) fn decode(bytes: &[u8]) -> Result<Plan, DecodeError> {
                let instruction = InstDecoder::default().decode_slice(bytes).map_err(|refusal| match refusal {
                    Refusal::ExhaustedInput => DecodeError::Short,
                    _ => DecodeError::Invalid,
                })?;
                let prefixes = &instruction.prefixes;
                Ok(Plan {
                    action: action(&instruction).or_else(|| execute(&instruction)).unwrap_or(Action::Unsupported),
                    length: instruction.len().to_const() as u8,
                    repeat: if prefixes.repnz() {
                        Repeat::WhileNotEqual
                    } else if prefixes.rep() {
                        Repeat::WhileEqual
                    } else {
                        Repeat::Once
                    },
                    address_size: if prefixes.address_size() { $addresses.1 } else { $addresses.0 },
                    segment: segment(prefixes.segment()),
                })
            }
        }
    };
}

decoder!(bits16, real_mode, addresses (2, 4), operands (2, 4), registers [], immediates [], |_| false);
decoder!(bits32, protected_mode, addresses (4, 2), operands (4, 2), registers [], immediates [], |_| false);
decoder!(bits64, long_mode, addresses (8, 4), operands (8, 2), registers [RB, Q], immediates [ImmediateI64, ImmediateU64], |prefixes| prefixes.rex().is_some_and(|rex| rex.w()));

#[cfg(test)]
mod tests {
    use super::*;

    fn action(size: CodeSize, bytes: &[u8]) -> Action {
        decode(size, bytes).unwrap().action
    }

    #[test]
    fn loads_name_the_register_the_width_and_the_extension() {
        let load = |register, size, width, sign| Action::Load {
            register,
            size,
            width,
            sign,
        };
        assert_eq!(action(CodeSize::Bits64, &[0x8b, 0x03]), load(0, 4, 4, 0));
        assert_eq!(
            action(CodeSize::Bits64, &[0x4c, 0x8b, 0x0b]),
            load(9, 8, 8, 0)
        );
        assert_eq!(
            action(CodeSize::Bits64, &[0x8a, 0x23]),
            load(16, 1, 1, 0),
            "AH"
        );
        assert_eq!(
            action(CodeSize::Bits64, &[0x40, 0x8a, 0x23]),
            load(4, 1, 1, 0),
            "SPL"
        );
        assert_eq!(
            action(CodeSize::Bits64, &[0x0f, 0xb6, 0x0b]),
            load(1, 1, 4, 0)
        );
        assert_eq!(
            action(CodeSize::Bits64, &[0x48, 0x0f, 0xbf, 0x0b]),
            load(1, 2, 8, 1)
        );
        assert_eq!(
            action(CodeSize::Bits64, &[0x48, 0x63, 0x0b]),
            load(1, 4, 8, 1)
        );
        assert_eq!(action(CodeSize::Bits64, &[0x63, 0x0b]), load(1, 4, 4, 1));
        assert_eq!(
            action(CodeSize::Bits32, &[0xa1, 0, 0, 0, 0]),
            load(0, 4, 4, 0)
        );
        assert_eq!(action(CodeSize::Bits16, &[0x8b, 0x07]), load(0, 2, 2, 0));
        assert_eq!(
            action(CodeSize::Bits16, &[0x66, 0x67, 0x8b, 0x03]),
            load(0, 4, 4, 0)
        );
    }

    #[test]
    fn stores_name_a_register_or_a_value_of_the_operands_size() {
        let store = |register, value, size| Action::Store {
            source: Source { register, value },
            size,
        };
        assert_eq!(action(CodeSize::Bits64, &[0x89, 0x0b]), store(1, 0, 4));
        assert_eq!(
            action(CodeSize::Bits64, &[0x88, 0x3b]),
            store(19, 0, 1),
            "BH"
        );
        assert_eq!(
            action(
                CodeSize::Bits64,
                &[0x48, 0xc7, 0x03, 0xfe, 0xff, 0xff, 0xff]
            ),
            store(IMMEDIATE, -2_i64 as u64, 8)
        );
        assert_eq!(
            action(CodeSize::Bits32, &[0xc6, 0x03, 0x80]),
            store(IMMEDIATE, 0x80, 1)
        );
    }

    #[test]
    fn a_bit_test_with_an_immediate_has_the_operand_size_of_its_prefixes() {
        let size = |bytes: &[u8]| match action(CodeSize::Bits64, bytes) {
            Action::Bit { size, .. } => size,
            other => panic!("{other:?}"),
        };
        assert_eq!(size(&[0x0f, 0xba, 0x2b, 9]), 4);
        assert_eq!(size(&[0x66, 0x0f, 0xba, 0x2b, 9]), 2);
        assert_eq!(size(&[0x48, 0x0f, 0xba, 0x2b, 9]), 8);
        assert_eq!(size(&[0x48, 0x0f, 0xab, 0x0b]), 8);
        assert_eq!(size(&[0x0f, 0xab, 0x0b]), 4);
    }

    #[test]
    fn string_forms_name_their_prefixes() {
        let plan = decode(CodeSize::Bits64, &[0x65, 0x67, 0xf3, 0x48, 0xa5]).unwrap();
        assert_eq!(plan.action, Action::MoveString { size: 8 });
        assert_eq!(
            (plan.length, plan.repeat, plan.address_size, plan.segment),
            (5, Repeat::WhileEqual, 4, 5)
        );
        let plan = decode(CodeSize::Bits16, &[0xf2, 0xae]).unwrap();
        assert_eq!(
            (plan.action, plan.repeat, plan.address_size),
            (Action::ScanString { size: 1 }, Repeat::WhileNotEqual, 2)
        );
    }

    #[test]
    fn string_io_has_the_address_size_of_its_prefix() {
        for (size, plain, prefixed) in [
            (CodeSize::Bits16, 2, 4),
            (CodeSize::Bits32, 4, 2),
            (CodeSize::Bits64, 8, 4),
        ] {
            for opcode in 0x6c..=0x6f {
                assert_eq!(decode(size, &[0xf3, opcode]).unwrap().address_size, plain);
                assert_eq!(
                    decode(size, &[0x67, 0xf3, opcode]).unwrap().address_size,
                    prefixed
                );
            }
        }
    }

    #[test]
    fn too_few_bytes_are_told_from_no_instruction() {
        assert_eq!(decode(CodeSize::Bits64, &[0x8b]), Err(DecodeError::Short));
        assert_eq!(decode(CodeSize::Bits64, &[]), Err(DecodeError::Short));
        assert_eq!(decode(CodeSize::Bits64, &[0x06]), Err(DecodeError::Invalid));
    }

    #[test]
    fn segment_registers_and_vectors_are_for_the_cpu() {
        let execute = |operand, stack| Action::Execute { operand, stack };
        for (code, expected) in [
            (&[0x8e, 0x03][..], execute(Touch::read(2), Touch::NONE)),
            (&[0x8c, 0x03], execute(Touch::written(2), Touch::NONE)),
            (
                &[0xf3, 0x0f, 0x6f, 0x03],
                execute(Touch::read(16), Touch::NONE),
            ),
            (&[0x0f, 0x13, 0x03], execute(Touch::written(8), Touch::NONE)),
            (&[0xff, 0x13], execute(Touch::read(8), Touch::written(8))),
            (
                &[0x66, 0x8f, 0x03],
                execute(Touch::written(2), Touch::read(2)),
            ),
            (&[0xd7], execute(Touch::read(1), Touch::NONE)),
        ] {
            assert_eq!(action(CodeSize::Bits64, code), expected, "{code:x?}");
        }
    }
}
