//! The walk through the modes: exits of every kind, in every mode, with every control bit toggled alone and every pair.

use crate::topic::{agree, complete};

#[test]
fn come_to_their_end() {
    complete("modes");
}

macro_rules! modes {
    ($($name:ident: $section:literal;)+) => {
        $(
            #[test]
            fn $name() {
                agree("modes", $section);
            }
        )+
    };
}

modes! {
    exits_in_real_mode_are_those_of_a_pc: "real mode";
    exits_in_protected_mode_of_16_bits_are_those_of_a_pc: "protected mode, 16 bits";
    exits_in_protected_mode_of_32_bits_are_those_of_a_pc: "protected mode, 32 bits";
    exits_under_two_levels_of_tables_with_32_bits_are_those_of_a_pc: "two levels of tables, 32 bits";
    exits_under_two_levels_of_tables_with_16_bits_are_those_of_a_pc: "two levels of tables, 16 bits";
    exits_under_pae_with_32_bits_are_those_of_a_pc: "pae, 32 bits";
    exits_under_pae_with_16_bits_are_those_of_a_pc: "pae, 16 bits";
    exits_in_compatibility_mode_of_32_bits_are_those_of_a_pc: "compatibility mode, 32 bits";
    exits_in_compatibility_mode_of_16_bits_are_those_of_a_pc: "compatibility mode, 16 bits";
    exits_in_64_bit_mode_are_those_of_a_pc: "64-bit mode";
}
