//! The test guests: what instructions do that exit is the same on Atoll as directly in QEMU, and as the manuals say.
#![forbid(unsafe_code)]

#[path = "guests/attacks.rs"]
mod attacks;
#[path = "guests/deviations.rs"]
mod deviations;
#[path = "guests/fuzz.rs"]
mod fuzz;
#[path = "guests/kernel.rs"]
mod kernel;
#[path = "guests/mmio.rs"]
mod mmio;
#[path = "guests/modes.rs"]
mod modes;
#[path = "guests/topic.rs"]
mod topic;

use atoll::run::End;
use atoll::testing::Boot;
use topic::{agree, complete, same_after};

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

mod msrmap {
    use super::*;

    #[test]
    fn comes_to_its_end() {
        complete("msrmap");
    }

    #[test]
    fn the_upper_half_of_rcx_does_not_lead_past_the_permission_map() {
        agree("msrmap", "same");
    }

    #[test]
    fn the_upper_half_of_rcx_does_not_make_an_unknown_msr_one_of_the_hosts() {
        agree("msrmap", "unknown");
    }

    #[test]
    fn the_host_keeps_its_interrupt_controller_whatever_the_guest_does_to_its_own() {
        agree("msrmap", "apic base");
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

mod strings {
    use super::*;

    #[test]
    fn come_to_their_end() {
        complete("strings");
    }

    #[test]
    fn ins_of_every_width_stores_what_in_reads() {
        agree("strings", "ins");
    }

    #[test]
    fn outs_of_every_width_writes_what_is_there() {
        agree("strings", "outs");
    }

    #[test]
    fn prefixes_change_address_size_segment_and_repetition() {
        agree("strings", "prefixes");
    }

    #[test]
    fn bytes_go_through_the_port_once_and_in_order_in_both_directions() {
        agree("strings", "order");
    }

    #[test]
    fn the_count_is_what_is_moved() {
        agree("strings", "counts");
    }

    #[test]
    fn memory_may_lie_in_pages_that_do_not_follow_each_other() {
        agree("strings", "pages");
    }

    #[test]
    fn an_interrupt_in_the_middle_loses_nothing() {
        agree("strings", "interrupted");
    }

    #[test]
    fn ins_that_faults_in_the_middle_has_exact_registers_and_goes_on() {
        agree("strings", "faults of ins");
    }

    #[test]
    fn outs_that_faults_in_the_middle_has_exact_registers_and_goes_on() {
        agree("strings", "faults of outs");
    }

    #[test]
    fn accessed_and_dirty_bits_are_set() {
        agree("strings", "accessed and dirty");
    }
}

mod windows {
    use super::*;

    #[test]
    fn come_to_their_end() {
        complete("windows");
    }

    #[test]
    fn sti_opens_the_window_behind_the_next_instruction() {
        agree("windows", "sti");
    }

    #[test]
    fn popf_and_iret_cast_no_shadow() {
        agree("windows", "no shadow");
    }

    #[test]
    fn loading_the_stack_segment_holds_interrupts_for_one_instruction() {
        agree("windows", "mov ss");
    }

    #[test]
    fn hlt_behind_sti_ends_with_the_interrupt_that_is_pending() {
        agree("windows", "hlt");
    }

    #[test]
    fn an_instruction_that_exits_ends_the_shadow() {
        agree("windows", "exits in the shadow");
    }

    #[test]
    fn an_exit_that_the_guest_does_not_see_does_not_end_the_shadow() {
        agree("windows", "hidden exits in the shadow");
    }

    #[test]
    fn no_interrupt_is_lost_between_cli_and_hlt() {
        agree("windows", "lost");
    }

    #[test]
    fn priorities_hold_interrupts_and_let_them_go_at_the_right_instruction() {
        agree("windows", "priorities");
    }

    #[test]
    fn a_timer_that_ends_in_a_handler_does_not_raise_that_handlers_interrupt_again() {
        agree("windows", "long handlers");
    }

    #[test]
    fn the_8259s_interrupts_come_through_the_same_window() {
        agree("windows", "8259");
    }
}

mod nmi {
    use super::*;

    #[test]
    fn comes_to_its_end() {
        complete("nmi");
    }

    #[test]
    fn it_comes_behind_the_instruction_that_raises_it_whatever_if_is() {
        agree("nmi", "delivery");
    }

    #[test]
    fn it_is_blocked_until_iret_and_one_is_latched() {
        agree("nmi", "blocked until iret");
    }

    #[test]
    fn it_comes_before_interrupts() {
        agree("nmi", "before interrupts");
    }

    #[test]
    fn it_ends_hlt_with_interrupts_off() {
        agree("nmi", "hlt");
    }

    #[test]
    fn an_exception_in_its_handler_unblocks_it() {
        agree("nmi", "faults inside");
    }
}

mod stepping {
    use super::*;

    #[test]
    fn comes_to_its_end() {
        complete("stepping");
    }

    #[test]
    fn a_debug_exception_comes_behind_each_instruction_whoever_executed_it() {
        agree("stepping", "steps");
    }

    #[test]
    fn the_hypervisors_own_steps_leave_no_trap_flag_on_the_stack() {
        agree("stepping", "hidden steps");
    }
}

mod delivery {
    use super::*;

    #[test]
    fn comes_to_its_end() {
        complete("delivery");
    }

    #[test]
    fn onto_a_stack_that_the_hypervisor_has_not_backed_yet_it_happens_once() {
        agree("delivery", "stacks not backed yet");
    }

    #[test]
    fn onto_a_stack_that_the_guest_has_not_mapped_it_is_a_page_fault() {
        agree("delivery", "stacks that are not there");
    }

    #[test]
    fn through_a_gate_in_a_page_that_is_not_mapped_it_is_a_page_fault() {
        agree("delivery", "gates that are not there");
    }

    #[test]
    fn through_a_gate_that_is_not_present_it_is_a_fault_with_the_gates_number() {
        agree("delivery", "absent gates");
    }

    #[test]
    fn of_an_exception_that_faults_again_is_a_double_fault() {
        agree("delivery", "double faults");
    }
}

#[test]
fn a_triple_fault_ends_the_guest_with_status_126_and_a_report() {
    let booted = Boot::guest("triple").run().unwrap();
    assert_eq!(
        (booted.status, &booted.ended.end),
        (126, &End::GuestCrash),
        "{}",
        booted.log
    );
    assert_eq!(booted.console, "before the fault\n");
    assert!(booted.log.contains("triple fault"), "{}", booted.log);
    let direct = Boot::guest("triple").direct().run().unwrap();
    assert_eq!(direct.console, booted.console, "directly in QEMU");
}

mod user {
    use super::*;

    #[test]
    fn comes_to_its_end() {
        complete("user");
    }

    #[test]
    fn an_interrupt_that_waits_for_cpl_3_comes_before_its_first_instruction() {
        agree("user", "windows");
    }

    #[test]
    fn privileged_instructions_at_cpl_3_are_protection_faults() {
        agree("user", "privileges");
    }

    #[test]
    fn exits_from_cpl_3_obey_its_rights() {
        agree("user", "exits");
    }

    #[test]
    fn devices_that_cpl_3_may_reach_are_reached_with_its_rights() {
        agree("user", "devices");
    }
}

mod compatible {
    use super::*;

    #[test]
    fn comes_to_its_end() {
        complete("compatible");
    }

    #[test]
    fn exits_of_32_bit_code_are_skipped_by_its_encodings() {
        agree("compatible", "exits");
    }

    #[test]
    fn devices_are_reached_by_32_bit_instructions() {
        agree("compatible", "devices");
    }

    #[test]
    fn string_io_has_addresses_of_16_and_32_bits() {
        agree("compatible", "strings");
    }

    #[test]
    fn windows_open_in_32_bit_code() {
        agree("compatible", "windows");
    }
}

mod legacy {
    use super::*;

    #[test]
    fn comes_to_its_end() {
        complete("legacy");
    }

    #[test]
    fn exits_are_handled_through_page_tables_of_32_bits() {
        agree("legacy", "32 bits");
    }

    #[test]
    fn exits_are_handled_through_page_tables_with_pae() {
        agree("legacy", "pae");
    }
}

/// In pages of 4 KiB: there are more faults of the hypervisor's own, and one delivery or one operand meets several.
mod in_small_pages {
    use super::*;

    const MMU: &str = "image = \"mmu-npt\"";
    const SMALL: &str = "image = \"mmu-npt\"\noptions = { pages = \"4K\" }";

    #[test]
    fn deliveries_are_the_same() {
        same_after("delivery", MMU, SMALL);
    }

    #[test]
    fn windows_are_the_same() {
        same_after("windows", MMU, SMALL);
    }

    #[test]
    fn nmis_are_the_same() {
        same_after("nmi", MMU, SMALL);
    }

    #[test]
    fn strings_are_the_same() {
        same_after("strings", MMU, SMALL);
    }

    #[test]
    fn prefixed_instructions_are_the_same() {
        same_after("prefixes", MMU, SMALL);
    }
}

mod task_priority {
    use super::*;

    #[test]
    fn comes_to_its_end() {
        complete("cr8");
    }

    #[test]
    fn is_kept_and_shown_in_the_apic() {
        agree("cr8", "values");
    }

    #[test]
    fn holds_interrupts_and_lets_them_go_at_the_instruction_that_lowers_it() {
        agree("cr8", "holding");
    }
}
