//! One server: its slot, its rights, its routes, its image, its start.

use atoll_protocol::effect::{Effect, Segment, Supervise};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::interchange::Note;
use atoll_protocol::manifest::{Restart, ServerSpec};
use atoll_protocol::role::{Supervisor, SupervisorEffect};
use atoll_protocol::units::ServerId;
use atoll_protocol::{EFFECTS, PAGE};
use atoll_sdk::{Effects, Vault};

use crate::image::{Image, SEGMENTS};
use crate::plan::Plan;
use crate::trouble::Trouble;
use crate::{SupervisorServer, supply};

/// Effects that may stand beside a server's own: the machine, the vault's lines, a line of the log, an exit.
const OTHERS: usize = 4;
/// Bytes that those may take.
const OTHER_BYTES: usize = 320;

/// Creates and starts a server, by its number: what its image is, and how it is restarted.
pub(crate) fn server<'b>(
    vault: &mut Vault<'_, SupervisorServer>,
    plan: &Plan<'b>,
    number: u8,
    effects: &mut Effects<'_, Supervisor>,
) -> Result<(Note, Restart), Trouble<'b>> {
    let spec = plan.server(number)?;
    let file = plan
        .bundle
        .find_in("image", spec.image)?
        .ok_or(Trouble::NoImage(spec.name, spec.image))?;
    let image = Image::read(&file).map_err(|bad| Trouble::Image(spec.name, bad))?;
    if !fits(number, &spec, &image) {
        return Err(Trouble::TooMuch(spec.name));
    }
    supply::build(
        vault,
        number,
        spec.name,
        supply::cost_of(plan, &spec, &image),
    )?;
    steps(number, &spec, &image).for_each(|step| effects.emit(SupervisorEffect::Supervise(step)));
    Ok((image.note, spec.restart))
}

/// All that is done for one server, in order.
fn steps<'i>(
    number: u8,
    spec: &ServerSpec<'i>,
    image: &'i Image,
) -> impl Iterator<Item = Supervise<'i>> {
    let id = ServerId::nth(number);
    let create = core::iter::once(Supervise::Create(
        id,
        spec.role,
        spec.limits,
        spec.name,
        image.name.text(),
    ));
    let grants = spec.grants().map(move |grant| Supervise::Grant(id, grant));
    let routes = spec.routes().map(move |route| Supervise::Route(id, route));
    let segments: heapless::Vec<Segment, SEGMENTS> = image.segments.clone();
    let segments = segments
        .into_iter()
        .map(move |segment| Supervise::Segment(id, Fixed(segment)));
    let start = core::iter::once(Supervise::Start(id, Fixed(image.entry), spec.config));
    create
        .chain(grants)
        .chain(segments)
        .chain(start)
        .chain(routes)
}

/// Whether all of it fits one answer: found out before the first effect, since an answer that is full is a fault.
fn fits(number: u8, spec: &ServerSpec<'_>, image: &Image) -> bool {
    let mut count = OTHERS;
    let mut bytes = OTHER_BYTES;
    let mut page = [0; PAGE];
    for step in steps(number, spec, image) {
        let Ok(encoded) = postcard::to_slice(&Effect::Supervise(step), &mut page) else {
            return false;
        };
        count += 1;
        bytes += encoded.len();
    }
    count <= EFFECTS && bytes <= PAGE
}
