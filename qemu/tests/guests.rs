//! The test guests: what instructions do that exit is the same on Atoll as directly in QEMU, and as the manuals say.
#![forbid(unsafe_code)]

#[path = "guests/topic.rs"]
mod topic;

use topic::{agree, complete};

mod exits {
    use super::*;

    #[test]
    fn come_to_their_end() {
        complete("exits");
    }

    #[test]
    fn cpuid_fills_four_registers_and_clears_their_upper_halves() {
        agree("exits", "cpuid");
    }

    #[test]
    fn msrs_keep_what_is_written() {
        agree("exits", "msrs");
    }

    #[test]
    fn unknown_msrs_are_protection_faults_that_leave_everything_as_it_was() {
        agree("exits", "unknown msrs");
    }

    #[test]
    fn ports_of_all_widths_change_just_their_part_of_rax() {
        agree("exits", "ports");
    }

    #[test]
    fn hlt_ends_with_an_interrupt_and_at_once_if_one_is_pending() {
        agree("exits", "hlt");
    }

    #[test]
    fn control_registers_keep_what_is_written_and_refuse_reserved_bits() {
        agree("exits", "control registers");
    }

    #[test]
    fn xsetbv_takes_what_the_cpu_has() {
        agree("exits", "xsetbv");
    }

    #[test]
    fn caches_can_be_flushed() {
        agree("exits", "caches");
    }

    #[test]
    fn instructions_that_cpuid_does_not_offer_are_undefined() {
        agree("exits", "absent instructions");
    }

    #[test]
    fn an_unknown_hypercall_is_refused() {
        agree("exits", "hypercall");
    }
}

mod prefixes {
    use super::*;

    #[test]
    fn come_to_their_end() {
        complete("prefixes");
    }

    #[test]
    fn cpuid_is_skipped_with_its_prefixes_within_at_the_end_of_and_across_pages() {
        agree("prefixes", "cpuid");
    }

    #[test]
    fn rdmsr_is_skipped_with_its_prefixes_within_at_the_end_of_and_across_pages() {
        agree("prefixes", "rdmsr");
    }

    #[test]
    fn wrmsr_is_skipped_with_its_prefixes_within_at_the_end_of_and_across_pages() {
        agree("prefixes", "wrmsr");
    }

    #[test]
    fn hlt_is_skipped_with_its_prefixes_within_at_the_end_of_and_across_pages() {
        agree("prefixes", "hlt");
    }

    #[test]
    fn vmmcall_is_skipped_with_its_prefixes() {
        agree("prefixes", "vmmcall");
    }
}
