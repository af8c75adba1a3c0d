//! What the guest sees of its system registers, and the exceptions that are intercepted because the CPU does not run with them as they are.

use atoll_core::run::Turn;
use atoll_core::vcpu::Stand;
use atoll_core::vcpu::vmcb::{Save, event, exit};
use atoll_protocol::effect::{Effect, Offer};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{Body, CpuidExit, LineChange};
use atoll_protocol::units::LineId;
use atoll_protocol::vcpu::{Exception, SystemRegister};

use crate::cast::{CPUID, IRQCHIP, MMU, MSR};
use crate::exits::{self, Exit};
use crate::script::ENTRY;
use crate::world::World;

const PE: u64 = 1;
const NE: u64 = 1 << 5;
const PG: u64 = 1 << 31;
const PAE: u64 = 1 << 5;
const LME: u64 = 1 << 8;
const TF: u64 = 1 << 8;
const IF: u64 = 1 << 9;
const RF: u64 = 1 << 16;
const EXCEPTION: u64 = event::VALID | event::EXCEPTION;
const PROTECTION: u64 = EXCEPTION | event::ERROR | 13;

fn save(world: &mut World) -> &mut Save {
    &mut world.kernel.state.vcpu.vmcb.save
}

fn set(world: &mut World, register: SystemRegister, value: u64) {
    world.on(
        MMU,
        &[Effect::System(register, Fixed(value)), Effect::Resume],
    );
    world.exit(Exit::Code(0x65));
    world.assert_no_fault();
}

/// The processor leaves the guest as it is now, with this exit.
fn left(world: &mut World, code: u32) {
    world.kernel.state.vcpu.vmcb.control.exit_code = u64::from(code);
    world.kernel.exited();
}

fn injected(world: &mut World) -> u64 {
    assert_eq!(world.pass(), Turn::Enter);
    exits::injected(&world.kernel.state.vcpu.vmcb)
}

#[test]
fn a_fault_is_pushed_with_rf_and_a_completed_instruction_clears_it() {
    let mut world = World::booted();
    world.on(MSR, &[Effect::Exception(Fixed(Exception::PROTECTION))]);
    world.exit(Exit::ReadMsr(0x1234));
    assert_eq!(
        (injected(&mut world), save(&mut world).rflags & RF),
        (PROTECTION, RF)
    );
    world.exit(Exit::Cpuid(0));
    assert_eq!(save(&mut world).rflags & RF, 0);
}

#[test]
fn a_guests_own_single_step_is_a_trap_and_its_breakpoint_a_fault() {
    // What the CPU has left in DR6; breakpoint 0 is for an instruction, breakpoint 1 for a write.
    for (status, rf) in [(1 << 14, 0), (1, RF), (2, 0)] {
        let mut world = World::booted();
        set(&mut world, SystemRegister::Dr7, 0b0101 | 0b0001_0000 << 16);
        save(&mut world).rflags = 2 | if status == 1 << 14 { TF } else { 0 };
        save(&mut world).dr6 = 0xffff_0ff0 | status;
        left(&mut world, exit::DEBUG);
        assert_eq!(
            (injected(&mut world), save(&mut world).rflags & RF),
            (EXCEPTION | 1, rf),
            "{status:#x}"
        );
        assert_eq!(save(&mut world).dr6, 0xffff_0ff0 | status);
    }
}

#[test]
fn a_debug_exception_behind_a_hidden_step_is_not_taken_for_the_steps_end() {
    let mut world = World::booted();
    world.on(
        IRQCHIP,
        &[
            Effect::Offer(Fixed(Offer {
                vector: 0x31,
                kind: Offer::FIXED,
                ..Offer::default()
            })),
            Effect::Done,
        ],
    );
    world.exit(Exit::Out(0x20, 1, 0));
    save(&mut world).rflags = 2 | IF;
    world.kernel.state.vcpu.vmcb.control.shadow = 1;
    world.kernel.state.vcpu.note_exit();
    assert_eq!(world.pass(), Turn::Enter);
    world.kernel.state.vcpu.vmcb.control.shadow = 0;
    // The step is broken off by the host; then the guest, out of the shadow, steps itself.
    left(&mut world, exit::INTR);
    world.pass();
    save(&mut world).rip = ENTRY + 0x100;
    left(&mut world, exit::INTR);
    world.pass();
    save(&mut world).rflags = 2 | TF;
    save(&mut world).dr6 |= 1 << 14;
    left(&mut world, exit::DEBUG);
    assert_eq!(
        (injected(&mut world) & 0xff, save(&mut world).dr6 & 1 << 14),
        (1, 1 << 14)
    );
}

#[test]
fn an_x87_exception_with_ne_clear_is_irq_13_and_waits_for_an_interrupt() {
    let mut world = World::booted();
    set(&mut world, SystemRegister::Cr0, PE);
    assert_ne!(
        save(&mut world).cr0 & NE,
        0,
        "the CPU itself never signals outside"
    );
    save(&mut world).rflags = 2 | IF;
    let rip = world.rip();
    left(&mut world, exit::X87);
    world.on(
        IRQCHIP,
        &[Effect::Offer(Fixed(Offer {
            vector: 0x75,
            kind: Offer::FIXED,
            ..Offer::default()
        }))],
    );
    assert_eq!(injected(&mut world), event::VALID | event::INTERRUPT | 0x75);
    assert_eq!(
        world.rip(),
        rip,
        "the instruction is run again behind the handler"
    );
    world.last(IRQCHIP, |message| {
        let Body::Line(change) = message.body else {
            panic!("no line")
        };
        assert_eq!(
            change,
            LineChange {
                line: LineId::nth(13),
                level: false,
                rose: true
            }
        );
    });
}

#[test]
fn an_x87_exception_waits_while_interrupts_are_off() {
    let mut world = World::booted();
    set(&mut world, SystemRegister::Cr0, PE);
    save(&mut world).rflags = 2;
    left(&mut world, exit::X87);
    assert_eq!(world.pass(), Turn::Idle);
    assert_eq!(world.kernel.state.vcpu.stand, Stand::Halted);
}

#[test]
fn an_x87_exception_with_ne_set_is_the_guests() {
    let mut world = World::booted();
    set(&mut world, SystemRegister::Cr0, PE | NE);
    left(&mut world, exit::X87);
    assert_eq!(injected(&mut world), EXCEPTION | 16);
}

#[test]
fn an_exit_of_a_mov_to_cr3_that_the_cpu_refuses_is_a_protection_fault() {
    let mut world = World::booted();
    world.poke(ENTRY, &[0x0f, 0x22, 0xd8]);
    save(&mut world).rip = ENTRY;
    left(&mut world, exit::INVALID);
    assert_eq!(injected(&mut world), PROTECTION);
    assert_eq!(world.rip(), ENTRY);
}

#[test]
fn a_state_that_the_cpu_refuses_ends_the_guest_and_shows_nothing_of_the_host() {
    for mov in [false, true] {
        let mut world = World::booted();
        // What QEMU leaves: the host's state, whose RIP may lead to any bytes of the guest's.
        world.poke(
            ENTRY,
            if mov {
                &[0x0f, 0x22, 0xd8]
            } else {
                &[0x90, 0x90, 0x90]
            },
        );
        world.kernel.state.vcpu.host_gdt = 0xffff_ffff_8012_3000;
        save(&mut world).gdtr.base = 0xffff_ffff_8012_3000;
        save(&mut world).rsp = 0xffff_ffff_8055_5000;
        left(&mut world, exit::INVALID);
        world.pass();
        assert_eq!(world.kernel.state.vcpu.stand, Stand::Stopped);
        let log = world.servers().log.join("\n");
        assert!(
            log.contains("the guest crashed") && !log.contains("ffff8055"),
            "{log}"
        );
    }
}

#[test]
fn in_64_bit_mode_an_instruction_is_found_whatever_the_base_of_cs() {
    let mut world = World::booted();
    // Four levels, all in one table, whose first entry leads to itself: linear 0 to 0xfff is the table's page, 0x1000 the code's.
    const TABLE: u64 = 0x4000;
    world.poke(TABLE, &(TABLE | 7).to_le_bytes());
    world.poke(TABLE + 8, &(ENTRY & !0xfff | 7).to_le_bytes());
    for base in [0, 0x1000, 0] {
        Exit::Cpuid(0).set(&mut world.kernel);
        let vcpu = &mut world.kernel.state.vcpu;
        vcpu.set_mode(PE | PG, PAE, LME);
        let save = &mut vcpu.vmcb.save;
        save.cr3 = TABLE;
        save.rip = 0x1000 | ENTRY & 0xfff;
        (save.segments[1].base, save.segments[1].attributes) = (base, 0x29b);
        let rip = save.rip;
        world.kernel.exited();
        assert_eq!(world.rip(), rip + 2, "base {base:#x}");
    }
}

#[test]
fn debug_registers_are_kept_and_told() {
    let mut world = World::booted();
    for (register, value) in [
        (SystemRegister::Dr0, 0x40_0000),
        (SystemRegister::Dr1, 1),
        (SystemRegister::Dr2, 2),
        (SystemRegister::Dr3, u64::MAX),
        (SystemRegister::Dr6, 0),
        (SystemRegister::Dr7, 0x1_0003),
    ] {
        set(&mut world, register, value);
    }
    let vcpu = &world.kernel.state.vcpu;
    assert_eq!(
        vcpu.registers().debug,
        [0x40_0000, 1, 2, u64::MAX, 0xffff_0ff0, 0x1_0403]
    );
    assert_eq!(vcpu.vmcb.save.dr7, 0x400, "armed at the entry, if at all");
    assert!(vcpu.system.debug.is_enabled());
}

#[test]
fn cpuid_hears_whether_the_local_apic_is_off() {
    let mut world = World::booted();
    for (enabled, off) in [(0, CpuidExit::APIC_OFF), (1, 0)] {
        let told = Effect::System(SystemRegister::ApicEnabled, Fixed(enabled));
        world.on(IRQCHIP, &[told, Effect::Done]);
        world.exit(Exit::WriteMsr(0x800, 0));
        world.exit(Exit::Cpuid(1));
        let heard = world.last(CPUID, |message| match message.body {
            Body::Cpuid(exit) => exit.0.cr4,
            other => panic!("{other:?}"),
        });
        assert_eq!(heard, off);
    }
    world.assert_no_fault();
}
