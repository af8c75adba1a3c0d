//! All that the guest and the world can see, of two machines.

use atoll_core::vcpu::events::Events;
use atoll_protocol::units::{ServerId, Ticks, TimerId};
use zerocopy::IntoBytes;

use crate::Kernel;

/// Events, without whether the interrupt controller has heard of the last vector that was accepted: that rides on the next message to it,
/// of which a restart brings one more; and without the name by which the mmu server knows an access that the guest carries out, which is
/// that server's own.
fn events(events: &Events) -> String {
    ["accepted: ", "token: "]
        .into_iter()
        .fold(format!("{events:?}"), |text, field| {
            let (before, after) = text.split_once(field).unwrap_or((&text, ""));
            let rest = after.trim_start_matches(|letter: char| letter.is_ascii_hexdigit());
            format!("{before}{rest}")
        })
}

fn timers(kernel: &Kernel, vague: &[ServerId]) -> Vec<(ServerId, TimerId, Ticks)> {
    let mut timers: Vec<_> = kernel
        .state
        .timers
        .armed()
        .filter(|(server, ..)| !vague.contains(server))
        .collect();
    timers.sort_unstable();
    timers
}

/// What is seen on one machine and not on the other; nothing if they look alike. After an mmu server was exchanged its mappings are made
/// anew, which nobody sees; nor when those who are `vague` about their timers look whether there is something to do.
#[must_use]
pub fn difference(
    seen: &Kernel,
    wanted: &Kernel,
    remapped: bool,
    vague: &[ServerId],
) -> Option<String> {
    let mut parts = Vec::new();
    macro_rules! part {
        ($name:literal, $what:expr) => {
            let what = $what;
            let (one, other) = (what(seen), what(wanted));
            if one != other {
                parts.push(format!("{}: {one:x?} instead of {other:x?}", $name));
            }
        };
    }
    let (vcpu, other) = (&seen.state.vcpu, &wanted.state.vcpu);
    if vcpu.vmcb.save.as_bytes() != other.vmcb.save.as_bytes() {
        let bytes = vcpu
            .vmcb
            .save
            .as_bytes()
            .iter()
            .zip(other.vmcb.save.as_bytes())
            .enumerate();
        let places = bytes
            .filter(|(_, (one, other))| one != other)
            .map(|(place, (one, other))| (place, *one, *other));
        parts.push(format!("VMCB bytes {:x?}", places.collect::<Vec<_>>()));
    }
    if vcpu.events != other.events && events(&vcpu.events) != events(&other.events) {
        part!("events", |kernel: &Kernel| events(
            &kernel.state.vcpu.events
        ));
    }
    part!("registers", |kernel: &Kernel| kernel.state.vcpu.general);
    part!("stand", |kernel: &Kernel| kernel.state.vcpu.stand);
    part!("lines", |kernel: &Kernel| kernel.state.levels);
    part!("timers", |kernel| timers(kernel, vague));
    let (machine, other) = (&seen.state.machine, &wanted.state.machine);
    if machine.ports != other.ports {
        parts.push(format!(
            "ports: {:x?} instead of {:x?}",
            machine.ports, other.ports
        ));
    }
    if machine.written != other.written {
        parts.push(format!(
            "written: {:x?} instead of {:x?}",
            machine.written, other.written
        ));
    }
    if !remapped && machine.mapped != other.mapped {
        parts.push(format!(
            "mapped: {:x?} instead of {:x?}",
            machine.mapped, other.mapped
        ));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}
