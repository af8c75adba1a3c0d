//! Control registers, XCR0, and instructions that the guest does not have.

use atoll_protocol::vcpu::{Exception, SystemRegister};

use super::machine::{CODE, Guest};

const CR0_READ: u64 = 0;
const DR_READ: u64 = 0x20;
const DR_WRITE: u64 = 0x30;
const CR0: u64 = 0x10;
const CR4: u64 = 0x14;
const CR8: u64 = 0x18;
const XSETBV: u64 = 0x8d;

fn write(code: &[u8], exit: u64, value: u64) -> (Guest, super::machine::Said) {
    let mut guest = Guest::new(code);
    guest.registers.general[0] = value;
    let said = guest.instruction(exit);
    (guest, said)
}

#[test]
fn a_good_cr4_is_set_and_the_guest_goes_on_behind_the_instruction() {
    let (guest, said) = write(&[0x0f, 0x22, 0xe0], CR4, 0x6a0);
    assert_eq!(said.system(SystemRegister::Cr4), Some(0x6a0));
    assert!(said.resumed);
    assert_eq!(guest.context.rip, CODE + 3);
}

#[test]
fn a_cr4_that_the_cpu_would_refuse_is_a_protection_fault() {
    // No PAE in long mode, VMXE, LA57, PCIDE, PKE, a reserved bit, an upper bit.
    for value in [
        0,
        1 << 13 | 0x20,
        1 << 12 | 0x20,
        1 << 17 | 0x20,
        1 << 22 | 0x20,
        1 << 15 | 0x20,
        1 << 63 | 0x20,
    ] {
        let (guest, said) = write(&[0x0f, 0x22, 0xe0], CR4, value);
        assert_eq!(said.exception, Some(Exception::PROTECTION), "{value:#x}");
        assert_eq!(guest.context.rip, CODE);
    }
}

#[test]
fn cr8_takes_four_bits() {
    let mov = &[0x44, 0x0f, 0x22, 0xc0];
    let (guest, said) = write(mov, CR8, 9);
    assert_eq!(said.system(SystemRegister::TaskPriority), Some(9));
    assert_eq!(guest.context.rip, CODE + 4);
    assert_eq!(write(mov, CR8, 16).1.exception, Some(Exception::PROTECTION));
}

#[test]
fn cr0_follows_the_manuals_rules() {
    let mov = &[0x0f, 0x22, 0xc0];
    let (_, said) = write(mov, CR0, 0x8005_0033);
    assert_eq!(said.system(SystemRegister::Cr0), Some(0x8005_0033));
    for value in [
        0x8000_0000,
        0x2000_0001 | 0x8000_0000,
        1 << 32 | 0x8000_0011,
        0x11,
    ] {
        assert_eq!(
            write(mov, CR0, value).1.exception,
            Some(Exception::PROTECTION),
            "{value:#x}"
        );
    }
}

#[test]
fn paging_with_lme_wants_pae() {
    let mut guest = Guest::flat32(&[0x0f, 0x22, 0xc0]);
    guest.context.efer = 0x100;
    guest.context.cr4 = 0x20;
    guest.registers.general[0] = 0x8000_0011;
    let said = guest.instruction(CR0);
    assert_eq!(said.system(SystemRegister::Cr0), Some(0x8000_0011));
    assert_eq!(
        said.system(SystemRegister::Efer),
        None,
        "LMA is the kernel's to derive"
    );
    guest.context.rip = CODE;
    guest.context.cr4 = 0;
    assert_eq!(
        guest.instruction(CR0).exception,
        Some(Exception::PROTECTION),
        "no PAE"
    );
}

#[test]
fn clts_and_lmsw_change_the_low_bits() {
    let mut guest = Guest::new(&[0x0f, 0x06]);
    guest.context.cr0 |= 8;
    let said = guest.instruction(CR0);
    assert_eq!(said.system(SystemRegister::Cr0), Some(0x8001_0033));
    let (guest, said) = write(&[0x0f, 0x01, 0xf0], CR0, 0xfff8);
    assert_eq!(
        said.system(SystemRegister::Cr0),
        Some(0x8001_0039),
        "PE stays"
    );
    assert_eq!(guest.context.rip, CODE + 3);
}

#[test]
fn reads_give_the_register_that_the_instruction_names_whatever_the_exit_says() {
    let mut guest = Guest::new(&[0x0f, 0x20, 0xd3]);
    guest.registers.cr2 = 0x1234_5678_9abc;
    guest.context.tpr = 7;
    assert_eq!(
        guest.instruction(CR0_READ).registers,
        [(3, 0x1234_5678_9abc)],
        "MOV RBX, CR2"
    );
    for (code, value) in [
        (&[0x0f, 0x20, 0xc3][..], 0x8001_0033),
        (&[0x0f, 0x20, 0xe3], 0x20),
        (&[0x44, 0x0f, 0x20, 0xc3], 7),
    ] {
        let mut guest = Guest {
            context: guest.context,
            registers: guest.registers,
            ..Guest::new(code)
        };
        guest.context.rip = CODE;
        assert_eq!(
            guest.instruction(CR0_READ).registers,
            [(3, value)],
            "{code:x?}"
        );
        assert_eq!(guest.context.rip, CODE + code.len() as u64);
    }
}

#[test]
fn smsw_shows_the_guests_cr0_at_any_privilege() {
    for (code, value) in [
        (&[0x66, 0x0f, 0x01, 0xe3][..], 0xaaaa_0033),
        (&[0x0f, 0x01, 0xe3], 0x8001_0033),
    ] {
        let mut guest = Guest::new(code);
        guest.registers.general[3] = 0xaaaa_bbbb;
        guest.context.cpl = 3;
        assert_eq!(guest.instruction(CR0_READ).registers, [(3, value)]);
        assert_eq!(guest.context.rip, CODE + code.len() as u64);
    }
}

#[test]
fn debug_registers_are_read_and_written() {
    for number in [0, 1, 2, 3, 6, 7_u8] {
        let mut guest = Guest::new(&[0x0f, 0x23, 0xc0 | number << 3]);
        guest.registers.general[0] = 0x40_1000;
        let said = guest.instruction(DR_WRITE + u64::from(number));
        assert_eq!(said.system(register(number)), Some(0x40_1000), "{number}");
        let mut guest = Guest::new(&[0x0f, 0x21, 0xc0 | number << 3]);
        guest.registers.debug = [10, 11, 12, 13, 16, 17];
        assert_eq!(
            guest.instruction(DR_READ).registers,
            [(0, 10 + u64::from(number))],
            "{number}"
        );
        assert_eq!(guest.context.rip, CODE + 3);
    }
}

fn register(number: u8) -> SystemRegister {
    match number {
        0 => SystemRegister::Dr0,
        1 => SystemRegister::Dr1,
        2 => SystemRegister::Dr2,
        3 => SystemRegister::Dr3,
        6 => SystemRegister::Dr6,
        _ => SystemRegister::Dr7,
    }
}

#[test]
fn dr4_and_dr5_are_dr6_and_dr7_unless_cr4_forbids_it() {
    let mut guest = Guest::new(&[0x0f, 0x21, 0xe8]);
    guest.registers.debug = [0, 0, 0, 0, 16, 17];
    assert_eq!(guest.instruction(DR_READ).registers, [(0, 17)]);
    guest.context.rip = CODE;
    guest.context.cr4 |= 1 << 3;
    assert_eq!(
        guest.instruction(DR_READ).exception,
        Some(Exception::UNDEFINED)
    );
}

#[test]
fn the_upper_half_of_dr6_and_dr7_is_reserved() {
    for (number, refused) in [
        (3, None),
        (6, Some(Exception::PROTECTION)),
        (7, Some(Exception::PROTECTION)),
    ] {
        let mut guest = Guest::new(&[0x0f, 0x23, 0xc0 | number << 3]);
        guest.registers.general[0] = 1 << 32;
        assert_eq!(guest.instruction(DR_WRITE).exception, refused, "{number}");
    }
}

#[test]
fn general_detect_is_a_debug_exception_once() {
    let mut guest = Guest::new(&[0x0f, 0x21, 0xc0]);
    guest.registers.debug = [0, 0, 0, 0, 0xffff_0ff0, 0x2400];
    let said = guest.instruction(DR_READ);
    assert_eq!(said.exception.map(|exception| exception.vector), Some(1));
    assert_eq!(said.system(SystemRegister::Dr7), Some(0x400));
    assert_eq!(said.system(SystemRegister::Dr6), Some(0xffff_2ff0));
    assert_eq!(guest.context.rip, CODE, "a fault");
}

#[test]
fn xsetbv_takes_only_sensible_combinations() {
    let set = |index: u64, value: u64, cpl: u8| {
        let mut guest = Guest::new(&[0x0f, 0x01, 0xd1]);
        guest.context.cr4 |= 1 << 18;
        guest.context.cpl = cpl;
        guest.registers.general[0] = value | 0xdead << 32;
        guest.registers.general[1] = index;
        let said = guest.instruction(XSETBV);
        (said.system(SystemRegister::Xcr0), said.exception)
    };
    assert_eq!(set(0, 7, 0), (Some(7), None));
    assert_eq!(set(0, 3, 0), (Some(3), None));
    for (index, value, cpl) in [
        (0, 6, 0),
        (0, 5, 0),
        (1, 7, 0),
        (0, 7, 3),
        (0, 0xe7, 0),
        (0, 0x203, 0),
        (0, 0, 0),
    ] {
        assert_eq!(
            set(index, value, cpl),
            (None, Some(Exception::PROTECTION)),
            "{value:#x}"
        );
    }
    assert_eq!(
        Guest::new(&[0x0f, 0x01, 0xd1])
            .instruction(XSETBV)
            .exception,
        Some(Exception::UNDEFINED),
        "no OSXSAVE"
    );
}

#[test]
fn wbinvd_with_a_prefix_is_skipped_whole() {
    let mut guest = Guest::new(&[0xf3, 0x0f, 0x09]);
    assert!(guest.instruction(0x89).resumed);
    assert_eq!(guest.context.rip, CODE + 3);
    let mut guest = Guest::new(&[0x0f, 0x08]);
    assert!(guest.instruction(0x76).resumed);
    assert_eq!(guest.context.rip, CODE + 2);
}

#[test]
fn what_the_guest_does_not_have_is_undefined() {
    // VMRUN, VMLOAD, VMSAVE, STGI, CLGI, SKINIT, INVLPGA, RSM, MONITOR, MWAIT, and a code that nobody knows.
    for code in [
        0x80, 0x82, 0x83, 0x84, 0x85, 0x86, 0x7a, 0x73, 0x8a, 0x8b, 0x3ff,
    ] {
        assert_eq!(
            Guest::new(&[0x90]).instruction(code).exception,
            Some(Exception::UNDEFINED),
            "{code:#x}"
        );
    }
    assert_eq!(
        Guest::new(&[0x0f, 0x33]).instruction(0x6f).exception,
        Some(Exception::PROTECTION),
        "RDPMC"
    );
}
