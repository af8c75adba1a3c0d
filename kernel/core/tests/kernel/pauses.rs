//! What one commit may do while interrupts wait is bounded: an answer that asks for more is refused whole.

use atoll_core::run::HostEvent;
use atoll_protocol::effect::{Effect, GuestCopy};
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::layout::IMAGE;
use atoll_protocol::units::{Gpa, HostIrq};
use atoll_protocol::{COPY_BYTES, MAIL_BYTES};

use crate::cast::{CONSOLE, LOADER};
use crate::machine::Act;
use crate::rights::FIFO;
use crate::world::World;

#[test]
fn an_answer_copies_no_more_from_the_bundle_than_the_kernel_can_copy_without_a_pause() {
    for (lengths, reason) in [
        (&[COPY_BYTES][..], None),
        (&[COPY_BYTES - 4096, 4096], None),
        (&[COPY_BYTES + 1], Some(Reason::TooManyEffects)),
        (&[COPY_BYTES, 1], Some(Reason::TooManyEffects)),
        (&[4096; 20], None),
    ] {
        let mut world = World::booted();
        world.kernel.state.machine.bundle = 2 * COPY_BYTES;
        let copy = |length: &u64| {
            Effect::GuestCopy(Fixed(GuestCopy {
                gpa: Gpa(0),
                offset: 0,
                length: *length,
            }))
        };
        let effects: Vec<Effect<'_>> = lengths.iter().map(copy).collect();
        world.on(LOADER, &effects);
        world.kernel.state.start_first(LOADER, IMAGE);
        assert_eq!(
            world.fault(LOADER).map(|report| report.reason),
            reason,
            "{lengths:?}"
        );
        let copied = world
            .kernel
            .state
            .machine
            .journal
            .iter()
            .filter(|act| matches!(act, Act::Copy(..)))
            .count();
        assert_eq!(
            copied,
            if reason.is_none() { lengths.len() } else { 0 },
            "all of it or nothing"
        );
    }
}

#[test]
fn an_answer_accesses_no_more_ports_than_the_kernel_can_without_a_pause() {
    let full = [0; MAIL_BYTES * 6];
    let (fill, drain) = (
        Effect::Fill(FIFO, &full),
        Effect::Drain(FIFO, MAIL_BYTES as u16),
    );
    for (effects, reason) in [
        (vec![drain; 8], None),
        (vec![drain, drain, fill], None),
        (
            vec![drain, drain, drain, fill],
            Some(Reason::TooManyEffects),
        ),
    ] {
        let mut world = World::booted();
        world.on(CONSOLE, &effects);
        world.kernel.host_event(HostEvent::Irq(HostIrq::nth(4)));
        assert_eq!(world.fault(CONSOLE).map(|report| report.reason), reason);
        let accessed = world
            .kernel
            .state
            .machine
            .journal
            .iter()
            .any(|act| matches!(act, Act::PortIn(..)));
        assert_eq!(accessed, reason.is_none(), "all of it or nothing");
    }
}
