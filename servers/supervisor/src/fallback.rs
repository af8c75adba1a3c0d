//! What becomes of a server that its restarts do not help: the image that its manifest names as the alternative takes its place.
//!
//! ```text
//! attempts used up ─► restart it once more, only to export its state; the alternative goes on from there
//!                     it fails again ─► the alternative begins as at a first start
//!                                       it fails again ─► quarantine or a stop, as if there were no alternative
//! ```
//!
//! Each arrow is a fault over the same message, so the next step begins where a fault is told; a step that fails without one (the
//! alternative refuses, or takes too long) lets the server go on, which meets its message again. How a swap is carried out and rolled back is
//! in [`swap`].

use atoll_protocol::SCHEMA_HASH;
use atoll_protocol::effect::{Supervise, Terms};
use atoll_protocol::role::{Supervisor, SupervisorEffect};
use atoll_protocol::units::ServerId;
use atoll_sdk::{Effects, Vault};

use crate::image::Image;
use crate::plan::Plan;
use crate::watch::Stage;
use crate::{SupervisorServer, report, supply, swap, watch};

/// Does the next step for a server, at once if the scratch slot is free; false if there is none.
pub(crate) fn step(
    vault: &mut Vault<'_, SupervisorServer>,
    id: ServerId,
    free: bool,
    effects: &mut Effects<'_, Supervisor>,
) -> bool {
    let Ok(plan) = Plan::read(effects.bundle()) else {
        return false;
    };
    let Ok(spec) = plan.server(id.number()) else {
        return false;
    };
    let Some(name) = spec.alternative else {
        return false;
    };
    let Some(file) = plan.bundle.find_in("image", name).ok().flatten() else {
        return false;
    };
    let Ok(image) = Image::read(&file) else {
        return false;
    };
    if image.note.schema != SCHEMA_HASH || image.note.role != spec.role as u32 {
        return false;
    }
    let moves = image.note.succeeds(&swap::noted(vault, id));
    let (terms, next) = match watch::stage(vault, id) {
        Stage::OWN if moves => (Terms::Force, Stage::WITH_STATE),
        Stage::OWN | Stage::WITH_STATE => (Terms::Reset, Stage::RESET),
        _ => return false,
    };
    if !free || swap::is_under_way(vault) {
        watch::wait(vault, id, effects);
        return true;
    }
    let cost = supply::cost_of(&plan, &spec, &image);
    // There is room for each image of the bundle, unless the machine was too small for that from the beginning.
    if supply::allows(vault, id, cost).is_err() {
        return false;
    }
    effects.log(report::Fallback {
        server: spec.name,
        image: name,
        terms,
    });
    effects.emit(SupervisorEffect::Supervise(Supervise::Restart(id)));
    swap::prepare(vault, id, &spec, &image, cost, terms, effects);
    watch::reach(vault, id, next);
    true
}
