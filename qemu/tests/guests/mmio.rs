//! Instructions with an operand in a device's memory.

use super::topic::{agree, complete};

#[test]
fn comes_to_its_end() {
    complete("mmio");
}

#[test]
fn mov_loads_and_stores_every_width() {
    agree("mmio", "mov");
}

#[test]
fn movzx_and_movsx_extend_from_every_width_to_every_width() {
    agree("mmio", "movzx and movsx");
}

#[test]
fn every_way_to_form_an_address_finds_the_register() {
    agree("mmio", "addressing");
}

#[test]
fn add_and_sub_change_memory_registers_and_flags_as_on_ram() {
    agree("mmio", "add and sub");
}

#[test]
fn adc_and_sbb_take_the_carry() {
    agree("mmio", "adc and sbb");
}

#[test]
fn or_and_xor_change_memory_registers_and_flags_as_on_ram() {
    agree("mmio", "or, and, xor");
}

#[test]
fn test_changes_flags_only() {
    agree("mmio", "test");
}

#[test]
fn cmp_changes_flags_only() {
    agree("mmio", "cmp");
}

#[test]
fn inc_dec_neg_and_not_change_memory_and_their_own_flags() {
    agree("mmio", "inc, dec, neg, not");
}

#[test]
fn a_lock_prefix_changes_nothing_else() {
    agree("mmio", "lock");
}

#[test]
fn xchg_swaps() {
    agree("mmio", "xchg");
}

#[test]
fn xadd_and_cmpxchg_leave_the_old_value() {
    agree("mmio", "xadd and cmpxchg");
}

#[test]
fn bit_tests_reach_beyond_the_operand() {
    agree("mmio", "bt, bts, btr, btc");
}

#[test]
fn stos_and_lods_count_and_move() {
    agree("mmio", "stos and lods");
}

#[test]
fn scas_and_cmps_stop_where_they_should() {
    agree("mmio", "scas and cmps");
}

#[test]
fn movs_and_cmps_have_the_device_on_either_side() {
    agree("mmio", "movs and cmps");
}

#[test]
fn operands_and_instructions_cross_pages_and_fault_exactly() {
    agree("mmio", "pages");
}

#[test]
fn registers_keep_what_is_written() {
    agree("mmio", "registers");
}

#[test]
fn what_is_nobodys_reads_as_all_ones_and_ignores_writes() {
    agree("mmio", "nobody's memory");
}

#[test]
fn push_pop_and_segment_registers_move_a_devices_memory() {
    agree("mmio", "push, pop, call, xlat");
}

#[test]
fn shifts_and_rotations_are_as_on_ram() {
    agree("mmio", "shifts and rotations");
}

#[test]
fn products_and_quotients_are_as_on_ram_and_so_is_the_exception() {
    agree("mmio", "mul and div");
}

#[test]
fn conditions_store_and_load() {
    agree("mmio", "setcc and cmovcc");
}

#[test]
fn bits_are_found_bytes_swapped_and_eight_bytes_exchanged() {
    agree("mmio", "bit scans, movbe, cmpxchg8b");
}

#[test]
fn the_x87_unit_loads_and_stores() {
    agree("mmio", "x87");
}

#[test]
fn vector_registers_load_and_store_a_devices_memory() {
    agree("mmio", "mmx and sse");
}

#[test]
fn any_instruction_may_touch_what_is_nobodys() {
    agree("mmio", "what the cpu does where nobody is");
}
