//! What a server's code may not contain. Most of it faults in ring 3, but CPUID, RDRAND and RDSEED do not: with one of them a server would
//! not be a function of its messages any more, so the whole image is refused when it is packed.
//!
//! The code is swept from its start, which finds every instruction that a compiler has put there. One that hides inside of another is not
//! found: this is for mistakes; against malice there is the ring.

use std::fmt;

use iced_x86::{
    CpuidFeature, Decoder, DecoderOptions, FastFormatter, Instruction, InstructionInfoFactory,
    Mnemonic,
};

/// Why an instruction is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// CPUID and the like: what they say is not in any message.
    Processor,
    /// It reads a counter.
    Time,
    /// It makes random numbers.
    Randomness,
    /// It uses x87, MMX, SSE or AVX state, which is the guest's.
    Registers,
    /// It is for ring 0.
    Privileged,
    /// The bytes are no instruction.
    Undecodable,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Processor => "asks the processor what it is, which servers may only learn from messages",
            Self::Time => "reads a counter, but servers may only learn the time from messages",
            Self::Randomness => "makes random numbers, but an answer may depend only on its message",
            Self::Registers => "uses the FPU's registers, which hold the guest's state (build servers with soft-float)",
            Self::Privileged => "is privileged, and servers run in ring 3",
            Self::Undecodable => "is not a valid instruction",
        })
    }
}

/// An instruction that must not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forbidden {
    /// Where it is.
    pub address: u64,
    /// How it is written.
    pub text: String,
    /// Why it is refused.
    pub why: Why,
}

/// The first forbidden instruction of the code, which is loaded at `address`.
#[must_use]
pub fn forbidden(address: u64, code: &[u8]) -> Option<Forbidden> {
    let mut factory = InstructionInfoFactory::new();
    Decoder::with_ip(64, code, address, DecoderOptions::NONE)
        .iter()
        .find_map(|instruction| {
            let why = judge(&instruction, &mut factory)?;
            let mut text = String::new();
            FastFormatter::new().format(&instruction, &mut text);
            Some(Forbidden {
                address: instruction.ip(),
                text,
                why,
            })
        })
}

fn judge(instruction: &Instruction, factory: &mut InstructionInfoFactory) -> Option<Why> {
    use Mnemonic as M;
    match instruction.mnemonic() {
        _ if instruction.is_invalid() => return Some(Why::Undecodable),
        M::Cpuid | M::Rdpid | M::Xgetbv | M::Sgdt | M::Sidt | M::Sldt | M::Str | M::Smsw => {
            return Some(Why::Processor);
        }
        M::Rdtsc | M::Rdtscp | M::Rdpmc | M::Rdpru => return Some(Why::Time),
        M::Rdrand | M::Rdseed => return Some(Why::Randomness),
        M::Wait | M::Femms | M::Ldmxcsr | M::Stmxcsr | M::Vldmxcsr | M::Vstmxcsr => {
            return Some(Why::Registers);
        }
        _ if instruction.is_privileged() => return Some(Why::Privileged),
        _ => {}
    }
    let state = |feature: &CpuidFeature| {
        use CpuidFeature as F;
        matches!(
            feature,
            F::FPU
                | F::FPU287
                | F::FPU387
                | F::MMX
                | F::FXSR
                | F::XSAVE
                | F::XSAVEC
                | F::XSAVEOPT
                | F::XSAVES
        )
    };
    // The features of an instruction are not enough: fences and prefetches came with SSE and use no register of it.
    let used = factory
        .info(instruction)
        .used_registers()
        .iter()
        .map(|used| used.register());
    let vector = |register: iced_x86::Register| {
        register.is_vector_register()
            || register.is_mm()
            || register.is_st()
            || register.is_k()
            || register.is_tmm()
    };
    let mut used = used.map(vector);
    (instruction.cpuid_features().iter().any(state) || used.any(|vector| vector))
        .then_some(Why::Registers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(code: &[u8]) -> Option<Why> {
        // Nothing hides behind what is allowed: the sweep goes on.
        let swept = [&[0x90], code, &[0xc3]].concat();
        forbidden(0x40_0000, &swept).map(|found| found.why)
    }

    #[test]
    fn what_does_not_come_from_messages_is_refused() {
        for (code, reason) in [
            (&[0x0f, 0xa2][..], Why::Processor),
            (&[0x0f, 0x01, 0xd0], Why::Processor),
            (&[0xf3, 0x0f, 0xc7, 0xf8], Why::Processor),
            (&[0x0f, 0x31], Why::Time),
            (&[0x0f, 0x01, 0xf9], Why::Time),
            (&[0x0f, 0x33], Why::Time),
            (&[0x48, 0x0f, 0xc7, 0xf0], Why::Randomness),
            (&[0x66, 0x0f, 0xc7, 0xf8], Why::Randomness),
        ] {
            assert_eq!(why(code), Some(reason), "{code:x?}");
        }
    }

    #[test]
    fn what_uses_the_fpus_registers_is_refused() {
        for code in [
            &[0xd9, 0xe8][..],                     // fld1
            &[0xdb, 0xe3],                         // fninit
            &[0x9b],                               // wait
            &[0x0f, 0x77],                         // emms
            &[0x0f, 0xfc, 0xc1],                   // paddb mm0, mm1
            &[0x0f, 0x57, 0xc0],                   // xorps xmm0, xmm0
            &[0xf2, 0x0f, 0x10, 0x00],             // movsd xmm0, [rax]
            &[0x0f, 0xae, 0x18],                   // stmxcsr [rax]
            &[0x0f, 0xae, 0x00],                   // fxsave [rax]
            &[0x0f, 0xae, 0x20],                   // xsave [rax]
            &[0xc5, 0xf8, 0x57, 0xc0],             // vxorps xmm0, xmm0, xmm0
            &[0xc5, 0xf8, 0x77],                   // vzeroupper
            &[0x62, 0xf1, 0x7c, 0x48, 0x57, 0xc0], // vxorps zmm0, zmm0, zmm0
        ] {
            assert_eq!(why(code), Some(Why::Registers), "{code:x?}");
        }
    }

    #[test]
    fn what_is_for_ring_0_is_refused() {
        for code in [
            &[0xf4][..],               // hlt
            &[0xfa],                   // cli
            &[0xec],                   // in al, dx
            &[0xe6, 0xf4],             // out 0xf4, al
            &[0x6e],                   // outsb
            &[0x0f, 0x32],             // rdmsr
            &[0x0f, 0x22, 0xd8],       // mov cr3, rax
            &[0x0f, 0x01, 0x3c, 0x24], // invlpg [rsp]
            &[0x0f, 0x01, 0xf8],       // swapgs
            &[0x0f, 0x01, 0xd8],       // vmrun
            &[0x0f, 0x07],             // sysret
        ] {
            assert_eq!(why(code), Some(Why::Privileged), "{code:x?}");
        }
    }

    #[test]
    fn what_compilers_write_is_allowed() {
        for code in [
            &[0x0f, 0x05][..],               // syscall
            &[0x0f, 0x0b],                   // ud2
            &[0x0f, 0xae, 0xf0],             // mfence
            &[0x0f, 0xae, 0xf8],             // sfence
            &[0x0f, 0x18, 0x08],             // prefetcht0 [rax]
            &[0xf3, 0x90],                   // pause
            &[0xf3, 0xa4],                   // rep movsb
            &[0xb8, 0x0f, 0xa2, 0, 0],       // mov eax, 0xa20f: CPUID's bytes, but no CPUID
            &[0xf0, 0x48, 0x0f, 0xc7, 0x0e], // lock cmpxchg16b [rsi]
        ] {
            assert_eq!(why(code), None, "{code:x?}");
        }
    }

    #[test]
    fn the_place_and_the_instruction_are_named() {
        let found = forbidden(0x40_1000, &[0x90, 0x90, 0x0f, 0xa2]).unwrap();
        assert_eq!(
            (found.address, found.text.as_str(), found.why),
            (0x40_1002, "cpuid", Why::Processor)
        );
        let found = forbidden(0x40_1000, &[0x06]).unwrap();
        assert_eq!((found.address, found.why), (0x40_1000, Why::Undecodable));
    }
}
