//! Executing what ring 3 may not (AMD APM vol. 2 §8.2 for the vectors, §8.4.1 for the error code of a gate or a selector).

use atoll_protocol::fault::Reason;
use atoll_rogue::memory::STACK;

const fn exception(vector: u8, error: u32) -> Reason {
    Reason::Exception {
        vector,
        error,
        address: 0,
    }
}

const DIVIDE: Reason = exception(0, 0);
const DEBUG: Reason = exception(1, 0);
const UNDEFINED: Reason = exception(6, 0);
const NO_FPU: Reason = exception(7, 0);
const PROTECTION: Reason = exception(13, 0);

/// The gate of a vector is not for ring 3. QEMU's emulator counts in the size of a 64-bit gate where the processor counts in 8 bytes.
const fn gate(vector: u32) -> [Reason; 2] {
    [
        exception(13, vector * 8 + 2),
        exception(13, vector * 16 + 2),
    ]
}

/// The frame's selector is of ring 0. QEMU's emulator reads the frame as the kernel would, which SMAP refuses.
const RING_0: [Reason; 2] = [
    exception(13, 8),
    Reason::Exception {
        vector: 14,
        error: 1,
        address: STACK - 5 * 8,
    },
];

crate::rogue_tests! {
    Instruction {
        it_cannot_halt: Halt => PROTECTION, 0;
        it_cannot_disable_interrupts: DisableInterrupts => PROTECTION, 0;
        it_cannot_read_a_control_register: ReadControlRegister => PROTECTION, 0;
        it_cannot_write_a_control_register: WriteControlRegister => PROTECTION, 0;
        it_cannot_read_an_msr: ReadMsr => PROTECTION, 0;
        it_cannot_write_an_msr: WriteMsr => PROTECTION, 0;
        it_cannot_load_the_interrupt_table: LoadInterruptTable => PROTECTION, 0;
        it_cannot_invalidate_a_page: InvalidatePage => PROTECTION, 0;
        it_cannot_swap_gs: SwapGs => PROTECTION, 0;
        it_cannot_write_the_base_of_gs: WriteGsBase => UNDEFINED, 0;
        it_cannot_run_a_guest: RunGuest => PROTECTION, 0;
        it_cannot_clear_global_interrupts: ClearGlobalInterrupts => PROTECTION, 0;
        it_cannot_call_a_hypervisor: Hypercall => UNDEFINED, 0;
        it_cannot_forge_a_host_interrupt: ForgeInterrupt => gate(0x24), 0;
        it_cannot_stop_at_a_breakpoint: Breakpoint => gate(3), 0;
        it_cannot_return_to_ring_0: ReturnToRing0 => RING_0, 0;
        it_cannot_step_itself: SingleStep => DEBUG, 0;
        it_cannot_execute_what_is_no_instruction: Undefined => UNDEFINED, 0;
        it_cannot_divide_by_zero: DivideByZero => DIVIDE, 0;
        it_cannot_write_a_port: PortOut => PROTECTION, 0;
        it_cannot_read_a_port: PortIn => PROTECTION, 0;
        it_cannot_read_the_time_stamp_counter: ReadTimestamp => PROTECTION, 0;
        it_cannot_read_the_time_stamp_counter_and_the_processors_number: ReadTimestampAndProcessor => PROTECTION, 0;
        it_cannot_use_the_fpu: Fpu => NO_FPU, 0;
        it_cannot_use_sse: Sse => NO_FPU, 0;
    }
}

#[test]
fn its_image_is_refused_when_the_bundle_is_packed_unless_the_manifest_says_otherwise() {
    let error = crate::outcome::checked_machine(atoll_rogue::Instruction::Halt.into())
        .run()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("rogue: server 'rogue' may not have the instruction `")
            && !error.contains('\n'),
        "{error}"
    );
}
