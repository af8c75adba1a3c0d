//! The images. In the bundle each is one page, and what is in it does not matter: a server's code is that of the page which its segment
//! was filled from.

use atoll_console::ConsoleServer;
use atoll_control::ControlServer;
use atoll_cpuid::CpuidServer;
use atoll_hypercall::HypercallServer;
use atoll_irqchip::IrqchipServer;
use atoll_mmu_npt::MmuNpt;
use atoll_msr::MsrServer;
use atoll_pit::PitServer;
use atoll_pm::PmServer;
use atoll_protocol::PAGE;
use atoll_protocol::effect::Segment;
use atoll_protocol::layout::IMAGE;
use atoll_rtc::RtcServer;
use atoll_supervisor::SupervisorServer;
use atoll_uart::UartServer;

use crate::island::{Island, Of};

type Make = fn() -> Box<dyn Island>;

/// By name. The supervisor's and the loader's pages make no island: they follow a script.
const IMAGES: [(&str, Option<Make>); 13] = [
    ("supervisor", None),
    ("loader", None),
    ("cpuid", Some(Of::<CpuidServer>::boxed)),
    ("msr", Some(Of::<MsrServer>::boxed)),
    ("hypercall", Some(Of::<HypercallServer>::boxed)),
    ("mmu-npt", Some(Of::<MmuNpt>::boxed)),
    ("irqchip", Some(Of::<IrqchipServer>::boxed)),
    ("pit", Some(Of::<PitServer>::boxed)),
    ("rtc", Some(Of::<RtcServer>::boxed)),
    ("pm", Some(Of::<PmServer>::boxed)),
    ("uart", Some(Of::<UartServer>::boxed)),
    ("console", Some(Of::<ConsoleServer>::boxed)),
    ("control", Some(Of::<ControlServer>::boxed)),
];

/// Bytes of the bundle.
pub const SIZE: u64 = (IMAGES.len() * PAGE) as u64;

/// The segment of an image; nothing if there is no such image on the host.
#[must_use]
pub fn segment(image: &str) -> Option<Segment> {
    let place = IMAGES.iter().position(|(name, _)| *name == image)?;
    let page = PAGE as u64;
    Some(Segment {
        address: IMAGE,
        offset: place as u64 * page,
        file: page,
        memory: page,
        access: Segment::EXECUTE,
    })
}

/// The island of the image at an offset of the bundle.
pub(crate) fn island(offset: u64) -> Option<Box<dyn Island>> {
    let (_, make) = IMAGES.get(offset as usize / PAGE)?;
    make.map(|make| make())
}

/// The island of this image; the supervisor's is its real one.
pub(crate) fn made(image: &str) -> Option<Box<dyn Island>> {
    if image == "supervisor" {
        return Some(Of::<SupervisorServer>::boxed());
    }
    let (_, make) = IMAGES.iter().find(|(name, _)| *name == image)?;
    make.map(|make| make())
}

/// An image's name, if it is one.
pub(crate) fn name(image: &str) -> Option<&'static str> {
    IMAGES
        .iter()
        .map(|(name, _)| *name)
        .find(|name| *name == image)
}
