//! One guest or section for each hole that there once was between a guest and the hypervisor, kept for ever.

use crate::topic::{agree, complete};

mod debug_registers {
    use super::*;

    #[test]
    fn of_the_guest_never_reach_the_kernel_or_a_server() {
        complete("debug");
        agree("debug", "sweeps");
    }

    #[test]
    fn keep_what_is_written_and_refuse_reserved_bits() {
        agree("debug", "registers");
    }

    #[test]
    fn break_before_an_instruction_once_also_where_it_exits() {
        agree("debug", "instruction breakpoints");
    }

    #[test]
    fn on_data_are_kept() {
        agree("debug", "data breakpoints");
    }

    #[test]
    fn guard_themselves() {
        agree("debug", "debug conditions");
    }
}

mod floating_point {
    use super::*;

    #[test]
    fn comes_to_its_end() {
        complete("ferr");
    }

    #[test]
    fn exceptions_are_mf_with_ne_set() {
        agree("ferr", "ne set");
    }

    #[test]
    fn ne_reads_as_the_guest_wrote_it() {
        agree("ferr", "ne in cr0");
    }

    #[test]
    fn exceptions_are_line_13_with_ne_clear() {
        agree("ferr", "line 13");
    }

    #[test]
    fn thousands_of_exceptions_with_ne_clear_leave_the_machine_alive() {
        agree("ferr", "many");
    }
}

mod reserved_bits {
    use super::*;

    #[test]
    fn come_to_their_end() {
        complete("reserved");
    }

    #[test]
    fn of_cr0_are_refused_and_nw_needs_cd_and_paging_stays_on_in_64_bit_mode() {
        agree("reserved", "cr0");
    }

    #[test]
    fn of_cr3_above_the_physical_addresses_are_refused() {
        agree("reserved", "cr3");
    }

    #[test]
    fn of_cr4_are_those_that_cpuid_does_not_offer() {
        agree("reserved", "cr4");
    }

    #[test]
    fn of_cr8_are_refused() {
        agree("reserved", "cr8");
    }

    #[test]
    fn of_efer_are_those_that_cpuid_does_not_offer() {
        agree("reserved", "efer");
    }

    #[test]
    fn of_xcr0_are_refused() {
        agree("reserved", "xcr0");
    }
}

mod frames {
    use super::*;

    #[test]
    fn come_to_their_end() {
        complete("frames");
    }

    #[test]
    fn of_faults_that_the_hypervisor_raises_have_the_resume_flag() {
        agree("frames", "resume flag");
    }

    #[test]
    fn exits_in_a_64_bit_code_segment_with_a_base_go_on_behind_the_instruction() {
        agree("frames", "64-bit code segment with a base");
    }
}

/// Guests that lose themselves: whatever becomes of them, the machine answers, and no server is at fault.
mod astray {
    use atoll::control::Line;
    use atoll::control::listing::listing;
    use atoll::run::End;
    use atoll::testing::Boot;

    use crate::topic::unharmed;

    /// How often the machine is asked.
    const TIMES: usize = 3;

    fn lost(way: u32) {
        let boot = Boot::guest("astray").icount().append(&format!("way={way}"));
        let (booted, answered) = boot
            .visit(|machine| {
                assert!(
                    machine.wait_for(&format!("way {way}\n")) || machine.wait_for("way"),
                    "the guest has not begun"
                );
                let ask = || listing(&mut Line::at("astray", machine)?, true);
                (0..TIMES).filter(|_| ask().is_ok()).count()
            })
            .unwrap();
        unharmed(&booted);
        assert!(
            booted.ended.end == End::GuestCrash || answered == TIMES,
            "{answered} answers, then {:?}\n{}",
            booted.ended.end,
            booted.log
        );
    }

    macro_rules! ways {
        ($($name:ident: $way:literal;)+) => {
            $(
                #[test]
                fn $name() {
                    lost($way);
                }
            )+
        };
    }

    ways! {
        a_debug_exception_whose_delivery_raises_the_next_holds_nobody_else: 1;
        an_interrupt_stack_in_the_local_apic: 2;
        an_interrupt_stack_where_nothing_is: 3;
        a_task_state_segment_in_the_local_apic: 4;
        a_task_state_segment_where_nothing_is: 5;
        pushes_and_calls_with_the_stack_in_the_local_apic: 6;
        code_in_the_local_apic: 7;
        code_where_nothing_is: 8;
        an_interrupt_table_in_the_local_apic: 9;
        an_interrupt_table_where_nothing_is: 10;
        a_descriptor_table_in_the_local_apic: 11;
        a_descriptor_table_where_nothing_is: 12;
        page_tables_in_the_local_apic: 13;
        page_tables_where_nothing_is: 14;
        page_tables_beyond_all_memory: 15;
    }
}
