//! Who is on the machine: the servers of a manifest, with its rights. Supervisor and loader follow a script: the one is in
//! [`supervisor`](crate::supervisor), the other gives the guest a flat 32-bit segment to run in.

use std::sync::Arc;

use atoll_protocol::effect::{Effect, GuestCopy, Supervise};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::grant::{Grant, Limits};
use atoll_protocol::layout::IMAGE;
use atoll_protocol::manifest::Manifest;
use atoll_protocol::message::{Body, Message};
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{Gpa, ServerId};
use atoll_protocol::vcpu::{InitialState, Segment};
use zerocopy::IntoBytes;

use crate::bundle;

/// Where the guest's instruction is.
pub const ENTRY: u64 = 0x1000;
/// Bytes of guest memory.
pub const MEMORY: u64 = 8 << 20;

/// A server of the manifest.
pub struct Part {
    /// Its role.
    pub role: RoleKind,
    /// Its image.
    pub image: String,
    pub(crate) limits: Limits,
    pub(crate) config: Vec<u8>,
    pub(crate) reads_guest: bool,
}

/// The servers, and what the supervisor does until the guest runs.
pub struct Cast {
    script: Vec<Vec<u8>>,
    parts: Vec<Part>,
}

/// Effects, as the bytes of an answer.
fn encode(effects: &[Effect<'_>]) -> Vec<u8> {
    let (mut answer, mut used) = (vec![0; 4096], 0);
    for effect in effects {
        used += effect
            .write(&mut answer[used..])
            .expect("an answer that fits");
    }
    answer.truncate(used);
    answer
}

impl Cast {
    /// The servers of a manifest, packed as the supervisor gets it.
    ///
    /// # Errors
    /// It does not decode, or names an image that there is none of on the host.
    pub fn new(packed: &[u8]) -> Result<Arc<Self>, String> {
        let manifest: Manifest<'_> =
            postcard::from_bytes(packed).map_err(|error| format!("the manifest: {error}"))?;
        let (mut script, mut parts) = (Vec::new(), Vec::new());
        let mut loader = ServerId::SUPERVISOR;
        for (number, spec) in (1..).zip(manifest.servers()) {
            let id = ServerId::nth(number);
            if spec.role == RoleKind::Loader {
                loader = id;
            }
            let segment = bundle::segment(spec.image)
                .ok_or_else(|| format!("there is no server '{}' on the host", spec.image))?;
            let mut effects = Vec::new();
            if number == 1 {
                effects.push(Supervise::CreateMachine(Fixed(MEMORY), 1, Fixed(u64::MAX)));
            }
            effects.push(Supervise::Create(
                id,
                spec.role,
                spec.limits,
                spec.name,
                spec.image,
            ));
            effects.push(Supervise::Segment(id, Fixed(segment)));
            effects.extend(spec.grants().map(|grant| Supervise::Grant(id, grant)));
            effects.push(Supervise::Start(id, Fixed(IMAGE), spec.config));
            effects.extend(spec.routes().map(|route| Supervise::Route(id, route)));
            script.push(encode(
                &effects
                    .iter()
                    .map(|effect| Effect::Supervise(*effect))
                    .collect::<Vec<_>>(),
            ));
            parts.push(Part {
                role: spec.role,
                image: spec.image.to_owned(),
                limits: spec.limits,
                config: spec.config.to_vec(),
                reads_guest: spec.grants().any(|grant| matches!(grant, Grant::GuestRead)),
            });
        }
        script.push(encode(&[Effect::Supervise(Supervise::Load(loader))]));
        script.push(encode(
            &[Supervise::Destroy(loader), Supervise::Run].map(Effect::Supervise),
        ));
        Ok(Arc::new(Self { script, parts }))
    }

    pub(crate) fn script(&self) -> &[Vec<u8>] {
        &self.script
    }

    /// The server with this number; the supervisor is none of them.
    #[must_use]
    pub fn part(&self, id: ServerId) -> Option<&Part> {
        self.parts.get(id.index().checked_sub(1)?)
    }

    /// The first server of a role.
    #[must_use]
    pub fn with_role(&self, role: RoleKind) -> Option<ServerId> {
        let place = self.parts.iter().position(|part| part.role == role)?;
        Some(ServerId::nth(place as u8 + 1))
    }

    pub(crate) fn console(&self) -> Option<ServerId> {
        self.with_role(RoleKind::Console)
    }

    /// Whether this is one of the servers that stay.
    pub(crate) fn stays(&self, id: ServerId) -> bool {
        self.servers().any(|server| server == id)
    }

    /// The servers that stay, the supervisor aside.
    pub fn servers(&self) -> impl Iterator<Item = ServerId> {
        ServerId::all()
            .skip(1)
            .zip(&self.parts)
            .filter(|(_, part)| part.role != RoleKind::Loader)
            .map(|(id, _)| id)
    }
}

/// The loader's one answer.
pub(crate) fn load(message: &[u8], answer: &mut [u8]) -> u64 {
    let Ok(Message {
        body: Body::Load, ..
    }) = Message::read(message)
    else {
        return 0;
    };
    let copy = GuestCopy {
        gpa: Gpa(ENTRY),
        offset: 0,
        length: 0x1000,
    };
    let state = flat();
    let bytes = encode(&[
        Effect::GuestCopy(Fixed(copy)),
        Effect::Initial(0, state.as_bytes()),
        Effect::Done,
    ]);
    answer[..bytes.len()].copy_from_slice(&bytes);
    bytes.len() as u64
}

/// Protected mode without paging: every address is what it says.
fn flat() -> InitialState {
    let data = Segment {
        selector: 0x10,
        attributes: 0xc93,
        limit: u32::MAX,
        base: 0,
    };
    let code = Segment {
        selector: 8,
        attributes: 0xc9b,
        ..data
    };
    let segments = [data, code, data, data, data, data];
    InitialState {
        rip: ENTRY,
        rflags: 0x202,
        cr0: 1,
        segments,
        ..InitialState::default()
    }
}
