//! The first server, and the loop around everything.

use core::ops::Range;

use atoll_core::Kernel;
use atoll_core::machine::Log as _;
use atoll_core::quirks::Quirks;
use atoll_core::run::{HostEvent, Turn};
use atoll_core::vcpu::vmcb::Vmcb;
use atoll_protocol::SUPERVISOR_BUDGET_US;
use atoll_protocol::effect::Segment;
use atoll_protocol::grant::{Grant, Limits};
use atoll_protocol::manifest::ImageHeader;
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{HostIrq, Hpa, ServerId};
use x86_64::instructions::tables::sgdt;
use zerocopy::FromBytes;

use super::conversation::Conversation;
use super::hardware::Hardware;
use crate::cpu::core_id::CoreId;
use crate::cpu::interrupts;
use crate::cpu::per_core::Core;
use crate::host::exit;
use crate::memory::frames::Frames;
use crate::memory::physical::Physical;
use crate::svm::{asid, enable, probe, world};

const SUPERVISOR: ServerId = ServerId::SUPERVISOR;
/// The supervisor loads images and copies nothing itself; its budget is generous because the machine waits for it.
const SUPERVISOR_LIMITS: Limits = Limits {
    vault_lines: 64,
    stack_pages: 16,
    budget_us: SUPERVISOR_BUDGET_US,
    period_us: 0xffff_ffff,
    timers: 1,
};
/// Bytes of the archive's first header: the supervisor's image follows.
const HEADER: usize = 512;
/// Most segments of the supervisor's image.
const SEGMENTS: usize = 8;

/// The kernel's state. Its first page is a VMCB whose address may stand in DR7: see [`world`].
#[repr(align(65536))]
struct Aligned(Kernel<Hardware>);

/// A static, since it is far too large for a stack.
static KERNEL: Physical<Aligned> = Physical::new(Aligned(Kernel::new(
    Hardware::NONE,
    Conversation,
    Vmcb::ZERO,
)));

/// Runs the machine that the bundle describes.
pub(crate) fn run(id: CoreId, known: Quirks, bundle: Range<Hpa>, frames: Frames) -> ! {
    enable::start(id);
    // SAFETY: this is the only reference to the kernel's state, and it is made once, by the first core.
    let Aligned(kernel) = unsafe { &mut *KERNEL.get() };
    world::save_host(id, &mut kernel.state.vcpu);
    let quirks = Quirks {
        loses_shadow: probe::loses_shadow(id, &mut kernel.state.vcpu),
        ..known
    };
    crate::log!("processor: {quirks:?}");
    kernel.state.vcpu.quirks = quirks;
    let nested = kernel.state.machine.start(frames, &bundle);
    enable::control(&mut kernel.state.vcpu.vmcb.control, quirks, nested);
    asid::assign(id, &mut kernel.state.vcpu.vmcb.control);
    kernel.state.vcpu.host_gdt = sgdt().base.as_u64();
    if let Err(what) = load_supervisor(kernel) {
        crate::log!("the bundle holds no supervisor that can be run: {what}");
        exit::exit(exit::HYPERVISOR_FAULT);
    }
    let core = Core::current();
    loop {
        match kernel.pass() {
            Turn::Enter => {
                world::enter(&mut kernel.state.vcpu);
                if kernel.exited() {
                    interrupts::drain();
                }
            }
            Turn::Again => note_events(kernel, core),
            Turn::Idle => interrupts::idle(),
            Turn::Leave(code) => {
                kernel
                    .state
                    .machine
                    .log_digests("at the end", &kernel.state.vcpu);
                kernel.state.tell_totals();
                #[cfg(feature = "fault-injection")]
                kernel.tell_counts();
                exit::exit(code)
            }
        }
    }
}

/// Tells the kernel what happened on the host.
#[cold]
fn note_events(kernel: &mut Kernel<Hardware>, core: &Core) {
    let events = core.take_events();
    if events.timer() {
        kernel.state.machine.timer_fired();
        kernel.host_event(HostEvent::Timer);
    }
    #[cfg(feature = "fault-injection")]
    kernel.look_at_the_plan();
    for irq in HostIrq::all().filter(|irq| events.irqs() & 1 << irq.number() != 0) {
        kernel.host_event(HostEvent::Irq(irq));
    }
}

/// Makes the supervisor of the bundle's first file. Its image is flat, so that the kernel need not know ELF.
fn load_supervisor(kernel: &mut Kernel<Hardware>) -> Result<(), &'static str> {
    let bundle = kernel.state.machine.bundle();
    let image = bundle.get(HEADER..).ok_or("it is empty")?;
    let (header, rest) =
        ImageHeader::read_from_prefix(image).map_err(|_| "its first file is too short")?;
    if header.magic != ImageHeader::MAGIC {
        return Err("its first file is no image");
    }
    if (header.version, header.schema) != (atoll_protocol::VERSION, atoll_protocol::SCHEMA_HASH) {
        return Err("its first file speaks another version of the protocol");
    }
    kernel.state.make_server(
        SUPERVISOR,
        RoleKind::Supervisor,
        SUPERVISOR_LIMITS,
        "supervisor",
        "supervisor",
    );
    kernel.state.give(SUPERVISOR, Grant::Bundle);
    for server in ServerId::all().skip(1) {
        kernel.state.give(SUPERVISOR, Grant::Mail(server, 1));
    }
    let mut rest = rest;
    for _ in 0..(header.segments as usize).min(SEGMENTS) {
        let (mut segment, after) =
            Segment::read_from_prefix(rest).map_err(|_| "its segments are cut short")?;
        segment.offset = segment.offset.saturating_add(HEADER as u64);
        kernel.state.fill_first(SUPERVISOR, &segment)?;
        rest = after;
    }
    kernel.state.start_first(SUPERVISOR, header.entry);
    Ok(())
}
