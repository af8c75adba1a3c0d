//! The machine's memory, as the supervisor keeps account of it: it is told once how much there is, everything has a price that the kernel
//! charges, too ([`frames`]), and so nothing is ever asked for that is not there. A shortage is an answer to whoever ordered something.
//!
//! ```text
//! free = room for one successor + what each place may still grow by + what is nobody's
//! ```
//!
//! Each place may grow to what the largest image of the bundle takes there, and there is always room to make that one beside what is in the
//! place. So swaps and fallbacks within the bundle work as long as the machine does. An image that comes from outside has what is left.

use atoll_protocol::effect::Segment;
use atoll_protocol::frames;
use atoll_protocol::grant::Grant;
use atoll_protocol::manifest::ServerSpec;
use atoll_protocol::order::Outcome;
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::ServerId;
use atoll_protocol::{PAGE, SCHEMA_HASH, SERVERS};
use atoll_sdk::Vault;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::SupervisorServer;
use crate::image::Image;
use crate::plan::Plan;
use crate::swap::SCRATCH;
use crate::trouble::Trouble;

/// The accounts, in frames.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Supply {
    /// Frames that nobody has.
    free: u64,
    /// Not used; zero.
    rest: [u64; 7],
    /// What is in each slot.
    used: [u32; SERVERS],
    /// What the largest image of the bundle takes in each place.
    due: [u32; SERVERS],
}

impl Supply {
    /// So much is there.
    pub(crate) fn of(free: u64) -> Self {
        Self {
            free,
            ..Self::new_zeroed()
        }
    }

    /// What a place may still grow by: within what it is due, or, with an image from outside, not at all.
    fn pledged(&self) -> u64 {
        let left = self
            .due
            .iter()
            .zip(&self.used)
            .map(|(due, used)| u64::from(due.saturating_sub(*used)));
        left.sum()
    }

    /// How much an image in this place may take.
    fn most(&self, slot: ServerId) -> u64 {
        let of = |all: &[u32; SERVERS]| u64::from(all.get(slot.index()).copied().unwrap_or(0));
        let (due, used) = (of(&self.due), of(&self.used));
        let reserve = self.due.iter().copied().max().unwrap_or(0);
        let spare = self
            .free
            .saturating_sub(self.pledged())
            .saturating_sub(u64::from(reserve));
        // What is there now stays until its successor has taken its place.
        self.free.min(spare.saturating_add(due.max(used)))
    }
}

/// What a server costs, with this image and the windows that its rights open.
fn cost<'s>(
    spec: &ServerSpec<'_>,
    segments: impl IntoIterator<Item = &'s Segment>,
    memory: u64,
    bundle: u64,
) -> u64 {
    let windows: u64 = spec
        .grants()
        .map(|grant: Grant| frames::of_grant(grant, memory, bundle))
        .sum();
    frames::of_server(&spec.limits)
        .saturating_add(frames::of_image(segments))
        .saturating_add(windows)
}

/// The same, of a machine's server.
pub(crate) fn cost_of(plan: &Plan<'_>, spec: &ServerSpec<'_>, image: &Image) -> u64 {
    cost(
        spec,
        &image.segments,
        plan.memory().0,
        plan.bundle.bytes().len() as u64,
    )
}

const KIB: u64 = PAGE as u64 / 1024;

/// Takes what the guest's memory costs, and finds out what each place is due.
pub(crate) fn begin<'b>(
    vault: &mut Vault<'_, SupervisorServer>,
    plan: &Plan<'b>,
) -> Result<(), Trouble<'b>> {
    let memory = plan.memory().0;
    take_from(
        vault,
        "the guest",
        frames::of_memory(memory).saturating_add(frames::of_nested(memory)),
    )?;
    let images = plan
        .bundle
        .entries()
        .filter_map(Result::ok)
        .filter(|file| file.name.starts_with("image/"));
    for image in images
        .filter_map(|file| Image::read(&file).ok())
        .filter(|image| image.note.schema == SCHEMA_HASH)
    {
        for (slot, spec) in (1..)
            .zip(plan.servers())
            .filter(|(_, spec)| spec.role as u32 == image.note.role)
        {
            // The loader has no successor.
            if spec.role != RoleKind::Loader {
                due(vault, slot, cost_of(plan, &spec, &image));
            }
        }
    }
    Ok(())
}

fn due(vault: &mut Vault<'_, SupervisorServer>, slot: usize, frames: u64) {
    if let Some(due) = vault.at(|state| &mut state.supply.due).get_mut(slot) {
        *due = (*due).max(u32::try_from(frames).unwrap_or(u32::MAX));
    }
}

/// Takes frames for what is there from the beginning, in the name of whom it is for.
fn take_from<'b>(
    vault: &mut Vault<'_, SupervisorServer>,
    whom: &'b str,
    frames: u64,
) -> Result<(), Trouble<'b>> {
    let free = vault.supply.free;
    let left = free.checked_sub(frames).ok_or(Trouble::NoMemory(
        whom,
        frames.saturating_mul(KIB),
        free * KIB,
    ))?;
    *vault.at(|state| &mut state.supply.free) = left;
    Ok(())
}

/// A server of the machine is made, in its own place.
pub(crate) fn build<'b>(
    vault: &mut Vault<'_, SupervisorServer>,
    slot: u8,
    name: &'b str,
    cost: u64,
) -> Result<(), Trouble<'b>> {
    take_from(vault, name, cost)?;
    set(vault, ServerId::nth(slot), cost);
    Ok(())
}

/// Whether a successor in this server's place may cost so much.
pub(crate) fn allows(
    vault: &Vault<'_, SupervisorServer>,
    of: ServerId,
    cost: u64,
) -> Result<(), Outcome> {
    let most = vault.supply.most(of);
    if cost <= most {
        Ok(())
    } else {
        Err(Outcome::NoMemory(
            cost.saturating_mul(KIB),
            most.saturating_mul(KIB),
        ))
    }
}

/// A successor is made, which was allowed.
pub(crate) fn take(vault: &mut Vault<'_, SupervisorServer>, cost: u64) {
    let free = vault.at(|state| &mut state.supply.free);
    *free = free.saturating_sub(cost);
    set(vault, SCRATCH, cost);
}

/// The successor is in this place now, and what was there is in the scratch slot.
pub(crate) fn replaced(vault: &mut Vault<'_, SupervisorServer>, of: ServerId) {
    let [place, scratch] = [of, SCRATCH].map(|id| id.index());
    let before = vault.supply.used[place];
    let successor = vault.supply.used[scratch];
    *vault.at(|state| &mut state.supply.used[place]) = successor;
    *vault.at(|state| &mut state.supply.used[scratch]) = before;
}

/// What is in a slot is destroyed.
pub(crate) fn give_back(vault: &mut Vault<'_, SupervisorServer>, slot: ServerId) {
    let used = core::mem::take(vault.at(|state| &mut state.supply.used[slot.index()]));
    let free = vault.at(|state| &mut state.supply.free);
    *free = free.saturating_add(u64::from(used));
}

fn set(vault: &mut Vault<'_, SupervisorServer>, slot: ServerId, cost: u64) {
    // No machine has as many.
    let cost = u32::try_from(cost).unwrap_or(u32::MAX);
    *vault.at(|state| &mut state.supply.used[slot.index()]) = cost;
}
