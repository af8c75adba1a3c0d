//! One server for another while the guest runs.
//!
//! ```text
//! Swap ─► make the successor in the scratch slot ─ServerStarted─► exchange, destroy what is left over, answer
//!         any fault of either, or Released ─► destroy the successor: the kernel lets the other go on; answer
//! ```
//!
//! What can be found out before is: whether there is such an image, of this role, whether the two have a version of the state in common, and
//! whether there is memory for it ([`supply`]).

use atoll_protocol::effect::{Supervise, Terms};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::grant::Grant;
use atoll_protocol::interchange::Note;
use atoll_protocol::manifest::ServerSpec;
use atoll_protocol::order::Outcome;
use atoll_protocol::role::{Supervisor, SupervisorEffect};
use atoll_protocol::units::{ServerId, TicketId, Ticks};
use atoll_protocol::{SCHEMA_HASH, SERVERS};
use atoll_sdk::{Effects, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::image::Image;
use crate::plan::Plan;
use crate::{Progress, SupervisorServer, order, supply, upload, watch};

/// Where successors are made.
pub(crate) const SCRATCH: ServerId = ServerId::nth(SERVERS as u8 - 1);
/// How long whoever ordered a swap waits for its outcome, in milliseconds: far longer than the kernel lets it take.
const PATIENCE: u64 = 5_000;

/// The swap that is under way, and which versions of their roles' states the servers know.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Swap {
    /// Until when the order's ticket can be answered; 0 if nobody ordered it.
    until: u64,
    /// The order's ticket.
    ticket: u32,
    /// Whose place is to be taken; 0 if no swap is under way.
    of: u8,
    /// Not used; zero.
    reserved: [u8; 3],
    /// The successor's versions.
    next: Versions,
    /// Not used; zero.
    filler: u32,
    /// When it began.
    begun: u64,
    /// Not used; zero.
    rest: [u32; 8],
    /// By server.
    versions: [Versions; SERVERS],
}

/// The version of the state that a server writes, and the oldest that it reads.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Versions {
    writes: u16,
    oldest: u16,
}

/// Remembers what the image in a slot says.
pub(crate) fn note(vault: &mut Vault<'_, SupervisorServer>, slot: u8, note: &Note) {
    if let Some(versions) = vault
        .at(|state| &mut state.swap.versions)
        .get_mut(usize::from(slot))
    {
        *versions = Versions {
            writes: note.version,
            oldest: note.oldest,
        };
    }
}

/// Whether a swap that is under way concerns this server.
pub(crate) fn concerns(vault: &Vault<'_, SupervisorServer>, id: ServerId) -> bool {
    vault.swap.of != 0 && (vault.swap.of == id.number() || id == SCRATCH)
}

/// What the image in a slot says of versions.
pub(crate) fn noted(vault: &Vault<'_, SupervisorServer>, id: ServerId) -> Note {
    let Versions { writes, oldest } = vault
        .swap
        .versions
        .get(id.index())
        .copied()
        .unwrap_or_default();
    Note {
        version: writes,
        oldest,
        ..Note::default()
    }
}

/// Whether a swap is under way.
pub(crate) fn is_under_way(vault: &Vault<'_, SupervisorServer>) -> bool {
    vault.swap.of != 0
}

/// Makes a successor, which costs so much: that must be allowed.
pub(crate) fn prepare(
    vault: &mut Vault<'_, SupervisorServer>,
    id: ServerId,
    spec: &ServerSpec<'_>,
    image: &Image,
    cost: u64,
    terms: Terms,
    effects: &mut Effects<'_, Supervisor>,
) {
    let mut supervise = |step: Supervise<'_>| effects.emit(SupervisorEffect::Supervise(step));
    supervise(Supervise::Create(
        SCRATCH,
        spec.role,
        spec.limits,
        spec.name,
        image.name.text(),
    ));
    // What is mapped goes with the memory; all other rights stay with the slot.
    let mapped = spec
        .grants()
        .filter(|grant| matches!(grant, Grant::GuestRead | Grant::Bundle));
    mapped.for_each(|grant| supervise(Supervise::Grant(SCRATCH, grant)));
    image
        .segments
        .iter()
        .for_each(|segment| supervise(Supervise::Segment(SCRATCH, Fixed(*segment))));
    supervise(Supervise::Succeed(
        SCRATCH,
        id,
        Fixed(image.entry),
        terms,
        spec.config,
    ));
    supply::take(vault, cost);
    let swap = vault.at(|state| &mut state.swap);
    (swap.of, swap.ticket, swap.until, swap.begun) = (id.number(), 0, 0, effects.now().0);
    swap.next = Versions {
        writes: image.note.version,
        oldest: image.note.oldest,
    };
}

/// Begins a swap; until when its outcome comes.
pub(crate) fn begin(
    vault: &mut Vault<'_, SupervisorServer>,
    id: ServerId,
    force: bool,
    name: Option<&str>,
    ticket: TicketId,
    effects: &mut Effects<'_, Supervisor>,
) -> Result<Ticks, Outcome> {
    if id.number() == 0 || !order::exists(vault, id) {
        return Err(Outcome::NoSuchServer);
    }
    if vault.swap.of != 0
        || vault.progress.phase != Progress::RUNNING
        || !watch::is_in_service(vault, id)
    {
        return Err(Outcome::NotNow);
    }
    let plan = Plan::read(effects.bundle()).map_err(|_| Outcome::NoSuchImage)?;
    let spec = plan
        .server(id.number())
        .map_err(|_| Outcome::NoSuchServer)?;
    let file = match name {
        Some(name) => plan
            .bundle
            .find_in("image", name)
            .ok()
            .flatten()
            .ok_or(Outcome::NoSuchImage)?,
        None => upload::image(vault, effects.bundle())?,
    };
    let bad = if name.is_some() {
        Outcome::NoSuchImage
    } else {
        Outcome::BadImage
    };
    let image = Image::read(&file).map_err(|_| bad)?;
    if image.note.schema != SCHEMA_HASH || image.note.role != spec.role as u32 {
        return Err(Outcome::WrongImage);
    }
    if !image.note.succeeds(&noted(vault, id)) {
        return Err(Outcome::NoCommonVersion);
    }
    let cost = supply::cost_of(&plan, &spec, &image);
    supply::allows(vault, id, cost)?;
    prepare(
        vault,
        id,
        &spec,
        &image,
        cost,
        if force { Terms::Force } else { Terms::Gentle },
        effects,
    );
    upload::take(vault, name.is_none());
    let until = effects
        .now()
        .after(Ticks(vault.progress.millisecond.saturating_mul(PATIENCE)));
    let swap = vault.at(|state| &mut state.swap);
    (swap.ticket, swap.until) = (ticket.0, until.0);
    Ok(until)
}

/// A server has started: if it is the successor, it takes its place.
pub(crate) fn started(
    vault: &mut Vault<'_, SupervisorServer>,
    id: ServerId,
    generation: u32,
    effects: &mut Effects<'_, Supervisor>,
) -> bool {
    if id != SCRATCH {
        return false;
    }
    let of = ServerId::nth(vault.swap.of);
    if of.number() != 0 {
        effects.emit(SupervisorEffect::Supervise(Supervise::Exchange(
            SCRATCH, of, generation,
        )));
        effects.log("a successor has taken its place");
        let next = vault.swap.next;
        *vault.at(|state| &mut state.swap.versions[of.index()]) = next;
        upload::moved(vault, of);
        supply::replaced(vault, of);
        watch::replaced(vault, of, vault.swap.until != 0);
        let held = effects.now().since(Ticks(vault.swap.begun));
        end(vault, Outcome::Swapped(held.0), effects);
    }
    true
}

/// One of the two was faulted, or it took too long: everything is as it was. Whether there was such a swap.
pub(crate) fn failed(
    vault: &mut Vault<'_, SupervisorServer>,
    id: ServerId,
    effects: &mut Effects<'_, Supervisor>,
) -> bool {
    let failed = concerns(vault, id);
    if failed {
        effects.log("a succession has failed and is rolled back");
        end(vault, Outcome::RolledBack, effects);
    }
    failed
}

/// What is in the scratch slot goes, and who ordered the swap is told.
fn end(
    vault: &mut Vault<'_, SupervisorServer>,
    outcome: Outcome,
    effects: &mut Effects<'_, Supervisor>,
) {
    effects.emit(SupervisorEffect::Supervise(Supervise::Destroy(SCRATCH)));
    // The kernel gives the order up at that time.
    if effects.now().0 < vault.swap.until {
        order::answer(TicketId(vault.swap.ticket), outcome, effects);
    }
    vault.at(|state| &mut state.swap).of = 0;
    upload::leave(vault);
    supply::give_back(vault, SCRATCH);
}
