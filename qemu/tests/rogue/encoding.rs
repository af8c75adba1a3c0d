//! Answers that do not decode. Before the bytes that are wrong stand one granted effect of each kind, of which none may be committed.

use atoll_protocol::EFFECTS;
use atoll_protocol::fault::Reason;
use atoll_rogue::GRANTED;

crate::rogue_tests! {
    Encoding {
        an_effect_that_does_not_exist_is_malformed: UnknownEffect => Reason::Malformed, GRANTED;
        a_number_without_end_is_malformed: EndlessNumber => Reason::Malformed, GRANTED;
        a_block_of_the_wrong_length_is_malformed: BlockOfWrongLength => Reason::Malformed, GRANTED;
        an_answer_that_ends_within_an_effect_is_malformed: Truncated => Reason::Malformed, GRANTED;
        a_text_that_is_no_text_is_malformed: TextThatIsNone => Reason::Malformed, GRANTED;
        a_count_of_2_to_64_minus_1_is_malformed: LargestCount => Reason::Malformed, GRANTED;
        a_count_of_2_to_64_is_malformed: CountOf2To64 => Reason::Malformed, GRANTED;
        an_answer_longer_than_the_page_is_oversized: LengthBeyondPage => Reason::Oversized, 0;
        an_answer_of_2_to_64_minus_1_bytes_is_oversized: LargestLength => Reason::Oversized, 0;
        a_panic_longer_than_the_page_is_oversized: PanicBeyondPage => Reason::Oversized, 0;
        a_panic_whose_text_is_no_text_is_a_panic: PanicWithoutText => Reason::Panicked, 0;
        more_effects_than_an_answer_has_are_too_many: TooManyEffects => Reason::TooManyEffects, EFFECTS;
        bad_registers_do_not_help_a_bad_answer: InDisorder => Reason::Malformed, 0;
    }
}
