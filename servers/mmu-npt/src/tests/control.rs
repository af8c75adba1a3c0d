//! Control registers, XCR0, and instructions that the guest does not have.

use atoll_protocol::vcpu::{Exception, SystemRegister};

use super::machine::{CODE, Guest};

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
    // No PAE in long mode, VMXE, LA57, PCIDE, UMIP, a reserved bit, an upper bit.
    for value in [0, 1 << 13 | 0x20, 1 << 12 | 0x20, 1 << 17 | 0x20, 1 << 11 | 0x20, 1 << 15 | 0x20, 1 << 63 | 0x20] {
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
    for value in [0x8000_0000, 0x2000_0001 | 0x8000_0000, 1 << 32 | 0x8000_0011, 0x11] {
        assert_eq!(write(mov, CR0, value).1.exception, Some(Exception::PROTECTION), "{value:#x}");
    }
}

#[test]
fn paging_with_lme_makes_long_mode_active() {
    let mut guest = Guest::flat32(&[0x0f, 0x22, 0xc0]);
    guest.context.efer = 0x100;
    guest.context.cr4 = 0x20;
    guest.registers.general[0] = 0x8000_0011;
    let said = guest.instruction(CR0);
    assert_eq!(said.system(SystemRegister::Efer), Some(0x500));
    assert_eq!(said.system(SystemRegister::Cr0), Some(0x8000_0011));
    guest.context.rip = CODE;
    guest.context.cr4 = 0;
    assert_eq!(guest.instruction(CR0).exception, Some(Exception::PROTECTION), "no PAE");
}

#[test]
fn clts_and_lmsw_change_the_low_bits() {
    let mut guest = Guest::new(&[0x0f, 0x06]);
    guest.context.cr0 |= 8;
    let said = guest.instruction(CR0);
    assert_eq!(said.system(SystemRegister::Cr0), Some(0x8001_0033));
    let (guest, said) = write(&[0x0f, 0x01, 0xf0], CR0, 0xfff8);
    assert_eq!(said.system(SystemRegister::Cr0), Some(0x8001_0039), "PE stays");
    assert_eq!(guest.context.rip, CODE + 3);
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
    for (index, value, cpl) in [(0, 6, 0), (0, 5, 0), (1, 7, 0), (0, 7, 3), (0, 0xe7, 0), (0, 0x203, 0), (0, 0, 0)] {
        assert_eq!(set(index, value, cpl), (None, Some(Exception::PROTECTION)), "{value:#x}");
    }
    assert_eq!(Guest::new(&[0x0f, 0x01, 0xd1]).instruction(XSETBV).exception, Some(Exception::UNDEFINED), "no OSXSAVE");
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
    for code in [0x80, 0x82, 0x83, 0x84, 0x85, 0x86, 0x7a, 0x73, 0x8a, 0x8b, 0x3ff] {
        assert_eq!(Guest::new(&[0x90]).instruction(code).exception, Some(Exception::UNDEFINED), "{code:#x}");
    }
    assert_eq!(Guest::new(&[0x0f, 0x33]).instruction(0x6f).exception, Some(Exception::PROTECTION), "RDPMC");
}
