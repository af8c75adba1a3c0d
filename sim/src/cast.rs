//! Who is on the machine: the servers of the manifest that boots Linux, with its rights. The supervisor and the loader follow a script:
//! the one makes the others and restarts whoever is faulted, the other gives the guest a flat 32-bit segment to run in.

use atoll::machine::Machine as Manifest;
use atoll_console::ConsoleServer;
use atoll_control::ControlServer;
use atoll_cpuid::CpuidServer;
use atoll_hypercall::HypercallServer;
use atoll_irqchip::IrqchipServer;
use atoll_mmu_npt::MmuNpt;
use atoll_msr::MsrServer;
use atoll_pit::PitServer;
use atoll_pm::PmServer;
use atoll_protocol::effect::{Effect, Segment as Image, Supervise};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::layout::IMAGE;
use atoll_protocol::manifest::Manifest as Packed;
use atoll_protocol::message::{Body, Message};
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::ServerId;
use atoll_protocol::vcpu::{InitialState, Segment};
use atoll_rtc::RtcServer;
use atoll_uart::UartServer;
use zerocopy::IntoBytes;

use crate::island::{Island, Of};

/// Where the guest's instruction is.
pub const ENTRY: u64 = 0x1000;
/// Bytes of guest memory.
pub const MEMORY: u64 = 8 << 20;
/// A page of code; what is in it does not matter here.
pub const TEXT: Image = Image { address: IMAGE, offset: 0, file: 0x1000, memory: 0x1000, access: Image::EXECUTE };

/// What the supervisor and the loader answer, and what the servers are.
pub struct Cast {
    /// The supervisor's answers until the guest runs.
    script: Vec<Vec<u8>>,
    next: usize,
    loader: ServerId,
}

fn put(answer: &mut [u8], used: &mut usize, effect: &Effect<'_>) {
    *used += effect.write(&mut answer[*used..]).expect("an answer that fits");
}

fn island(image: &str) -> Option<Box<dyn Island>> {
    Some(match image {
        "cpuid" => Of::<CpuidServer>::boxed(),
        "msr" => Of::<MsrServer>::boxed(),
        "hypercall" => Of::<HypercallServer>::boxed(),
        "mmu-npt" => Of::<MmuNpt>::boxed(),
        "irqchip" => Of::<IrqchipServer>::boxed(),
        "pit" => Of::<PitServer>::boxed(),
        "rtc" => Of::<RtcServer>::boxed(),
        "pm" => Of::<PmServer>::boxed(),
        "uart" => Of::<UartServer>::boxed(),
        "console" => Of::<ConsoleServer>::boxed(),
        "control" => Of::<ControlServer>::boxed(),
        _ => return None,
    })
}

impl Cast {
    /// The script, and the servers by number.
    ///
    /// # Panics
    /// The manifest in this repository is wrong.
    #[must_use]
    pub fn new() -> (Self, Vec<Option<Box<dyn Island>>>) {
        let packed = Manifest::linux().and_then(|machine| machine.pack()).expect("the manifest packs");
        let manifest: Packed<'_> = postcard::from_bytes(&packed).expect("the manifest decodes");
        let (mut script, mut islands) = (Vec::new(), vec![None]);
        let mut loader = ServerId(0);
        for (number, spec) in (1..).zip(manifest.servers()) {
            let id = ServerId(number);
            if spec.role == RoleKind::Loader {
                loader = id;
            }
            let image = island(spec.image);
            assert!(image.is_some() || spec.role == RoleKind::Loader, "no server '{}' on the host", spec.image);
            islands.push(image);
            let mut effects = Vec::new();
            if number == 1 {
                effects.push(Supervise::CreateMachine(Fixed(MEMORY), 1, Fixed(u64::MAX)));
            }
            effects.push(Supervise::Create(id, spec.role, spec.limits, spec.name));
            effects.push(Supervise::Segment(id, Fixed(TEXT)));
            effects.extend(spec.grants().map(|grant| Supervise::Grant(id, grant)));
            effects.push(Supervise::Start(id, Fixed(IMAGE), spec.config));
            effects.extend(spec.routes().map(|route| Supervise::Route(id, route)));
            let (mut answer, mut used) = (vec![0; 4096], 0);
            effects.iter().for_each(|effect| put(&mut answer, &mut used, &Effect::Supervise(*effect)));
            answer.truncate(used);
            script.push(answer);
        }
        for last in [Supervise::Load(loader), Supervise::Run] {
            let (mut answer, mut used) = (vec![0; 64], 0);
            put(&mut answer, &mut used, &Effect::Supervise(last));
            answer.truncate(used);
            script.push(answer);
        }
        (Self { script, next: 0, loader }, islands)
    }

    /// Whether the guest runs.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.next >= self.script.len()
    }

    /// The scripted answer to a message.
    pub fn answer(&mut self, to: ServerId, message: &[u8], answer: &mut [u8]) -> u64 {
        let Ok(Message { body, .. }) = Message::read(message) else { return 0 };
        let mut used = 0;
        match body {
            Body::Load => {
                put(answer, &mut used, &Effect::Initial(0, flat().as_bytes()));
                put(answer, &mut used, &Effect::Done);
            }
            Body::ServerFaulted(report) if to.0 == 0 => {
                put(answer, &mut used, &Effect::Supervise(Supervise::Restart(report.server)));
            }
            // To the supervisor: one step for each message until all is done.
            Body::Start(..) | Body::ServerStarted(_) | Body::Loaded if to.0 == 0 => {
                if let Some(next) = self.script.get(self.next) {
                    answer[..next.len()].copy_from_slice(next);
                    used = next.len();
                    self.next += 1;
                }
            }
            _ => {}
        }
        used as u64
    }

    /// The loader.
    #[must_use]
    pub fn loader(&self) -> ServerId {
        self.loader
    }
}

/// Protected mode without paging: every address is what it says.
fn flat() -> InitialState {
    let data = Segment { selector: 0x10, attributes: 0xc93, limit: u32::MAX, base: 0 };
    let code = Segment { selector: 8, attributes: 0xc9b, ..data };
    let segments = [data, code, data, data, data, data];
    InitialState { rip: ENTRY, rflags: 0x202, cr0: 1, segments, ..InitialState::default() }
}
