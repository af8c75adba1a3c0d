//! The registers as a guest finds them.

extern crate std;

use std::vec::Vec;

use atoll_protocol::effect::Effect;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::Body;
use atoll_protocol::units::{Gpa, Ticks};
use atoll_protocol::vcpu::Exception;
use atoll_sdk::harness::{Answer, Harness, MACHINE};
use proptest::prelude::*;
use zerocopy::FromBytes;

use super::*;
use crate::kvmclock::{TimeInfo, WallClock};

fn start(machine: &Machine) -> Harness<MsrServer> {
    Harness::start(machine, &Setup::default()).0
}

fn read(server: &mut Harness<MsrServer>, index: u32) -> Answer {
    server.deliver(Body::MsrRead(Fixed(MsrExit {
        index,
        ..MsrExit::default()
    })))
}

fn write(server: &mut Harness<MsrServer>, index: u32, value: u64) -> Answer {
    server.deliver(Body::MsrWrite(Fixed(MsrExit {
        index,
        value,
        ..MsrExit::default()
    })))
}

fn is_refused(answer: &Answer) -> bool {
    answer.effects().last() == Some(&Effect::Exception(Fixed(Exception::PROTECTION)))
}

fn written<T: FromBytes>(answer: &Answer, gpa: u64) -> T {
    match answer.effects()[..] {
        [Effect::GuestWrite(Fixed(at), bytes), Effect::Done] if at == Gpa(gpa) => {
            T::read_from_bytes(bytes).unwrap()
        }
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_kernel_holds_is_read_and_set_there() {
    let mut server = start(&MACHINE);
    let held = |index, held| {
        Body::MsrRead(Fixed(MsrExit {
            index,
            held,
            ..MsrExit::default()
        }))
    };
    assert_eq!(
        server.deliver(held(index::EFER, 0x1501)).value(),
        0x501,
        "SVME is the kernel's"
    );
    assert_eq!(server.deliver(held(index::PAT, 77)).value(), 77);
    assert_eq!(server.deliver(held(index::TSC, 78)).value(), 78);
    let pat = 0x0007_0406_0007_0406;
    let set = Effect::System(SystemRegister::Pat, Fixed(pat));
    assert_eq!(
        write(&mut server, index::PAT, pat).effects(),
        [set, Effect::Done]
    );
    assert!(is_refused(&write(&mut server, index::PAT, 2)));
    let set = Effect::System(SystemRegister::Efer, Fixed(0x900));
    assert_eq!(
        write(&mut server, index::EFER, 0x900).effects(),
        [set, Effect::Done]
    );
    assert!(is_refused(&write(&mut server, index::EFER, 1 << 12)));
}

#[test]
fn unknown_registers_are_refused_and_logged_but_not_too_often() {
    let mut server = start(&MACHINE);
    let mut lines = Vec::new();
    for count in 1..=600 {
        let answer = read(&mut server, 0xdead);
        assert!(is_refused(&answer));
        if let [Effect::Log(line), _] = answer.effects()[..] {
            lines.push((count, std::string::String::from(line)));
        }
    }
    let counts: Vec<_> = lines.iter().map(|(count, _)| *count).collect();
    assert_eq!(counts, (1..=16).chain([256, 512]).collect::<Vec<_>>());
    assert_eq!(lines[0].1, "unknown MSR 0xdead: read refused");
    let answer = write(&mut start(&MACHINE), 0xffff_fffe, u64::MAX);
    let Effect::Log(line) = answer.effects()[0] else {
        panic!()
    };
    assert_eq!(
        line,
        "unknown MSR 0xfffffffe: write of 0xffffffffffffffff refused"
    );
}

#[test]
fn boot_time_registers_read_zero_and_ignore_writes() {
    let mut server = start(&MACHINE);
    for index in [
        0x17,
        0x179,
        0xc001_0000,
        0xc001_0010,
        0xce,
        0x140,
        0x34,
        0x3a,
    ] {
        assert_eq!(
            write(&mut server, index, 5).effects(),
            [Effect::Done],
            "{index:#x}"
        );
        assert_eq!(read(&mut server, index).value(), 0, "{index:#x}");
    }
    assert_eq!(read(&mut server, index::DE_CFG).value(), 2);
    assert_eq!(
        write(&mut server, index::DE_CFG, 2).effects(),
        [Effect::Done]
    );
    assert_eq!(
        write(&mut server, index::MISC_ENABLE, 9).effects(),
        [Effect::Done]
    );
    assert_eq!(read(&mut server, index::MISC_ENABLE).value(), 9);
}

#[test]
fn speculation_and_svm_registers_are_refused_as_cpuid_does_not_show_them() {
    let mut server = start(&MACHINE);
    for index in [0x48, 0x49, 0x10a, 0x122, 0xc000_0104, 0xc001_0117, 0xda0] {
        assert!(is_refused(&read(&mut server, index)), "{index:#x}");
    }
}

#[test]
fn memory_types_begin_write_back_with_an_uncached_gap() {
    let mut server = start(&MACHINE);
    assert_eq!(read(&mut server, 0xfe).value(), 0x508);
    assert_eq!(read(&mut server, 0x2ff).value(), 0xc06);
    assert_eq!(read(&mut server, 0x200).value(), 0xc000_0000);
    assert_eq!(read(&mut server, 0x201).value(), 0xff_c000_0800);
    assert_eq!(read(&mut server, 0x259).value(), 0);
    assert_eq!(read(&mut server, 0x26f).value(), 0x0606_0606_0606_0606);
}

#[test]
fn memory_types_are_stored_but_not_reserved_values() {
    let mut server = start(&MACHINE);
    assert_eq!(
        write(&mut server, 0x20f, 0xff_ffff_f800).effects(),
        [Effect::Done]
    );
    assert_eq!(read(&mut server, 0x20f).value(), 0xff_ffff_f800);
    assert_eq!(
        write(&mut server, 0x268, 0x0505_0505_0505_0505).effects(),
        [Effect::Done]
    );
    assert_eq!(read(&mut server, 0x268).value(), 0x0505_0505_0505_0505);
    for (index, value) in [
        (0x200, 0x1_00ff_0000_0000),
        (0x200, 2),
        (0x2ff, 7),
        (0x2ff, 1 << 9),
        (0x250, 3),
        (0xfe, 0),
    ] {
        assert!(
            is_refused(&write(&mut server, index, value)),
            "{index:#x} {value:#x}"
        );
    }
    assert!(is_refused(&read(&mut server, 0x210)));
}

#[test]
fn the_wall_clock_is_that_of_system_time_zero() {
    let mut server = start(&MACHINE);
    server.advance(Ticks(5_000_000_000));
    let wall: WallClock = written(&write(&mut server, index::KVM_WALL_CLOCK, 0x1004), 0x1004);
    assert_eq!(
        (wall.version % 2, wall.seconds, wall.nanoseconds),
        (0, 1_577_836_800, 0)
    );
    assert_eq!(read(&mut server, index::KVM_WALL_CLOCK_OLD).value(), 0x1004);
}

#[test]
fn clock_pages_outside_ram_or_misaligned_are_refused() {
    let mut server = start(&MACHINE);
    for value in [
        MACHINE.memory | 1,
        MACHINE.memory - 28 + 1,
        3,
        u64::MAX,
        0xc000_0001,
    ] {
        assert!(
            is_refused(&write(&mut server, index::KVM_SYSTEM_TIME, value)),
            "{value:#x}"
        );
    }
    assert!(is_refused(&write(&mut server, index::KVM_WALL_CLOCK, 2)));
    assert_eq!(
        write(&mut server, index::KVM_SYSTEM_TIME, 0).effects(),
        [Effect::Done],
        "switched off"
    );
}

#[test]
fn a_second_page_and_a_new_tsc_tell_the_same_time() {
    let mut server = start(&MACHINE);
    server.advance(Ticks(1000));
    let first: TimeInfo = written(&write(&mut server, index::KVM_SYSTEM_TIME, 0x2001), 0x2000);
    server.advance(Ticks(777));
    let second: TimeInfo = written(
        &write(&mut server, index::KVM_SYSTEM_TIME_OLD, 0x3001),
        0x3000,
    );
    assert_eq!(
        TimeInfo {
            version: first.version,
            ..second
        },
        first
    );
    assert!(second.version > first.version);
    let answer = write(&mut server, index::TSC, 0);
    let [
        Effect::System(SystemRegister::Tsc, Fixed(0)),
        Effect::GuestWrite(Fixed(Gpa(0x3000)), bytes),
        Effect::Done,
    ] = answer.effects()[..]
    else {
        panic!("{:?}", answer.effects())
    };
    let third = TimeInfo::read_from_bytes(bytes).unwrap();
    assert_eq!(time(&third, 0), time(&second, 1777));
}

/// What a guest computes.
fn time(info: &TimeInfo, tsc: u64) -> u64 {
    let delta = tsc.wrapping_sub(info.tsc_timestamp);
    let delta = if info.tsc_shift >= 0 {
        delta << info.tsc_shift
    } else {
        delta >> info.tsc_shift.unsigned_abs()
    };
    info.system_time + ((u128::from(delta) * u128::from(info.tsc_to_system_mul)) >> 32) as u64
}

proptest! {
    #[test]
    fn the_guests_clock_agrees_with_exact_arithmetic(tsc_khz in 1_000_u64..20_000_000, ticks in 0_u64..1 << 50) {
        let machine = Machine { tsc_khz, ..MACHINE };
        let mut server = start(&machine);
        let info: TimeInfo = written(&write(&mut server, index::KVM_SYSTEM_TIME, 0x1001), 0x1000);
        let exact = u128::from(ticks) * 1_000_000 / u128::from(tsc_khz);
        // One part in 2^31, and the low bits that a shift to the right drops.
        let allowed = (exact >> 31) + 16;
        prop_assert!(u128::from(time(&info, ticks)).abs_diff(exact) <= allowed);
        prop_assert!(info.tsc_to_system_mul >> 31 == 1 && info.flags == 1);
    }

    #[test]
    fn no_access_panics(index: u32, value: u64, held: u64, cr0: u64) {
        let mut server = start(&MACHINE);
        for index in [index, index & 0x3ff, 0xc001_0000 | index & 0x1fff, 0x4b56_4d00 | index & 7] {
            let exit = MsrExit { index, value, held, cr0, reserved: 0 };
            server.deliver(Body::MsrRead(Fixed(exit)));
            server.deliver(Body::MsrWrite(Fixed(exit)));
        }
    }
}

#[test]
fn the_counter_and_its_adjustment_follow_one_another() {
    let mut server = start(&MACHINE);
    assert_eq!(read(&mut server, index::TSC_ADJUST).value(), 0);
    server.header.now = Ticks(1000);
    write(&mut server, index::TSC, 1500);
    assert_eq!(read(&mut server, index::TSC_ADJUST).value(), 500);
    server.header.now = Ticks(2000);
    let answer = write(&mut server, index::TSC_ADJUST, 10_u64.wrapping_neg());
    let set = Effect::System(SystemRegister::Tsc, Fixed(1990));
    assert!(answer.effects().contains(&set), "{:?}", answer.effects());
    assert_eq!(
        read(&mut server, index::TSC_ADJUST).value(),
        10_u64.wrapping_neg()
    );
}

#[test]
fn the_machine_check_architecture_has_no_banks() {
    let mut server = start(&MACHINE);
    assert_eq!(read(&mut server, 0x179).value(), 0);
    assert_eq!(read(&mut server, 0x17a).value(), 0);
}
