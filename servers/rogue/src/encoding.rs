//! Answers that do not decode, or that are none.

use atoll_protocol::effect::Effect;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::units::ServerId;
use atoll_protocol::{EFFECTS, PAGE, PANICKED};

use crate::answer::Answer;
use crate::ring3::{answer, answer_in_disorder, page};
use crate::server::RogueState;

misdeeds! {
    /// Answering with what does not decode.
    Encoding {
        /// An effect that does not exist.
        UnknownEffect,
        /// A number of more bytes than a number has.
        EndlessNumber,
        /// A block of a length that it does not have.
        BlockOfWrongLength,
        /// An answer that ends within an effect.
        Truncated,
        /// Text that is no UTF-8.
        TextThatIsNone,
        /// A count of 2^64 - 1 bytes.
        LargestCount,
        /// A count of 2^64, which no number can hold.
        CountOf2To64,
        /// A length of one byte more than the page.
        LengthBeyondPage,
        /// A length of 2^64 - 1.
        LargestLength,
        /// A panic with more text than the page.
        PanicBeyondPage,
        /// A panic whose text is none.
        PanicWithoutText,
        /// More effects than an answer has.
        TooManyEffects,
        /// A page of ones, with registers, flags and the stack pointer as bad as can be.
        InDisorder,
    }
}

/// A varint of 2^64 - 1; with another last byte, of more.
const LARGEST: [u8; 10] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
/// 2^64.
const BEYOND_LARGEST: [u8; 10] = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02];

impl Encoding {
    pub(crate) fn commit(self, state: &RogueState) -> ! {
        let mail = Effect::Mail(ServerId::nth(state.console), &[]);
        let mut built = Answer::granted(page(), state);
        match self {
            Encoding::UnknownEffect => built.bytes(&[0x7f]),
            Encoding::EndlessNumber => built.bytes(&[0xff; 16]),
            Encoding::BlockOfWrongLength => {
                built.put(&Effect::Value(Fixed(0)));
                built.cut(9);
                built.bytes(&[7, 0, 0, 0, 0, 0, 0, 0]);
            }
            Encoding::Truncated => {
                built.put(&Effect::Value(Fixed(0)));
                built.cut(1);
            }
            Encoding::TextThatIsNone => {
                built.put(&Effect::Log("x"));
                built.cut(1);
                built.bytes(&[0xff]);
                built.put(&Effect::Done);
            }
            Encoding::LargestCount | Encoding::CountOf2To64 => {
                built.put(&mail);
                built.cut(1);
                built.bytes(if self == Encoding::LargestCount {
                    &LARGEST
                } else {
                    &BEYOND_LARGEST
                });
                built.put(&Effect::Done);
            }
            Encoding::TooManyEffects => {
                (0..EFFECTS).for_each(|_| built.put(&Effect::Save(0, 1)));
                built.put(&Effect::Done);
            }
            Encoding::LengthBeyondPage => answer(PAGE as u64 + 1),
            Encoding::LargestLength => answer(u64::MAX),
            Encoding::PanicBeyondPage => answer(PANICKED + PAGE as u64 + 1),
            Encoding::PanicWithoutText | Encoding::InDisorder => {
                page().fill(0xff);
                if self == Encoding::InDisorder {
                    answer_in_disorder(PAGE as u64);
                }
                answer(PANICKED + 16)
            }
        }
        built.send()
    }
}
