//! Which template a crate is made from: a server that stands alone, or one around a server of Atoll's.

use crate::error::{Error, Result};

const AROUND: &str = include_str!("../../templates/around/lib.rs.in");
const AROUND_TESTS: &str = include_str!("../../templates/around/tests.rs.in");

/// A server of Atoll's own, which others may be around.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) image: &'static str,
    pub(super) role: &'static str,
    /// Its type, in its crate.
    pub(super) server: &'static str,
}

/// Atoll's own servers whose state can move; the first of a role is the usual one.
pub(super) const OWN: [Own; 15] = [
    Own {
        image: "cpuid",
        role: "cpuid",
        server: "atoll_cpuid::CpuidServer",
    },
    Own {
        image: "cpuid-strict",
        role: "cpuid",
        server: "atoll_cpuid_strict::StrictServer",
    },
    Own {
        image: "msr",
        role: "msr",
        server: "atoll_msr::MsrServer",
    },
    Own {
        image: "msr-trace",
        role: "msr",
        server: "atoll_msr_trace::TraceServer",
    },
    Own {
        image: "hypercall",
        role: "hypercall",
        server: "atoll_hypercall::HypercallServer",
    },
    Own {
        image: "mmu-npt",
        role: "mmu",
        server: "atoll_mmu_npt::MmuNpt",
    },
    Own {
        image: "irqchip",
        role: "irqchip",
        server: "atoll_irqchip::IrqchipServer",
    },
    Own {
        image: "irqchip-flat",
        role: "irqchip",
        server: "atoll_irqchip_flat::FlatServer",
    },
    Own {
        image: "pit",
        role: "timer",
        server: "atoll_pit::PitServer",
    },
    Own {
        image: "rtc",
        role: "clock",
        server: "atoll_rtc::RtcServer",
    },
    Own {
        image: "pm",
        role: "power",
        server: "atoll_pm::PmServer",
    },
    Own {
        image: "uart",
        role: "serial",
        server: "atoll_uart::UartServer",
    },
    Own {
        image: "uart-ring",
        role: "serial",
        server: "atoll_uart_ring::RingServer",
    },
    Own {
        image: "console",
        role: "console",
        server: "atoll_console::ConsoleServer",
    },
    Own {
        image: "control",
        role: "control",
        server: "atoll_control::ControlServer",
    },
];

/// A server that does without any of Atoll's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone {
    role: &'static str,
    server: &'static str,
    tests: &'static str,
}

macro_rules! alone {
    ($role:literal) => {
        Alone {
            role: $role,
            server: include_str!(concat!("../../templates/", $role, "/lib.rs")),
            tests: include_str!(concat!("../../templates/", $role, "/tests.rs")),
        }
    };
}

const ALONE: [Alone; 4] = [
    alone!("cpuid"),
    alone!("msr"),
    alone!("mmu"),
    alone!("power"),
];

/// A template.
pub(super) enum Made {
    Alone(Alone),
    Around(Own),
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    /// The server's role.
    pub role: &'w str,
    /// The crate's name.
    pub name: &'w str,
    /// The image of Atoll's that it is to be around; without it, a server that stands alone if there is such a template, else one around the
    /// role's usual image.
    pub around: Option<&'w str>,
}

/// The roles for which there is a template.
pub fn roles() -> impl Iterator<Item = &'static str> {
    let first = |at: usize, own: &Own| OWN.iter().take(at).all(|before| before.role != own.role);
    OWN.iter()
        .enumerate()
        .filter(move |(at, own)| first(*at, own))
        .map(|(_, own)| own.role)
}

impl Wanted<'_> {
    /// The template.
    pub(super) fn choose(&self) -> Result<Made> {
        let &Wanted { role, name, around } = self;
        if !is_a_name(name) {
            let what = format!(
                "'{name}' is no name for a crate: use at most 40 small letters, digits and '-', a letter first"
            );
            return Err(Error::Usage { what });
        }
        if !OWN.iter().any(|own| own.role == role) {
            let roles: Vec<_> = roles().collect();
            let what = format!(
                "there is no template for the role '{role}' (there are: {})",
                roles.join(", ")
            );
            return Err(Error::Usage { what });
        }
        if around.is_none()
            && let Some(alone) = ALONE.iter().find(|alone| alone.role == role)
        {
            return Ok(Made::Alone(*alone));
        }
        let own = OWN.iter().filter(|own| own.role == role);
        match own
            .clone()
            .find(|own| around.is_none_or(|image| own.image == image))
        {
            Some(own) => Ok(Made::Around(*own)),
            None => {
                let images: Vec<_> = own.map(|own| own.image).collect();
                let what = format!(
                    "Atoll has no server '{}' of the role '{role}' (it has: {})",
                    around.unwrap_or_default(),
                    images.join(", ")
                );
                Err(Error::Usage { what })
            }
        }
    }
}

/// What goes into a crate.
pub(super) struct Source {
    /// src/lib.rs.
    pub(super) server: String,
    /// src/tests.rs.
    pub(super) tests: String,
    /// Lines for its manifest, beside what all have.
    pub(super) dependencies: String,
    /// The same for its tests.
    pub(super) dev_dependencies: &'static str,
}

impl Made {
    /// What goes into the crate.
    pub(super) fn source(self) -> Source {
        let own = match self {
            Made::Alone(Alone { server, tests, .. }) => {
                let (server, tests) = (server.to_owned(), tests.to_owned());
                return Source {
                    server,
                    tests,
                    dependencies: String::new(),
                    dev_dependencies: "",
                };
            }
            Made::Around(own) => own,
        };
        let traffic = match own.role {
            "serial" | "console" => format!("traffic::{}(PEER)", own.role),
            role => format!("traffic::{role}()"),
        };
        Source {
            server: AROUND
                .replace("{{image}}", own.image)
                .replace("{{inner}}", own.server),
            tests: AROUND_TESTS.replace("{{traffic}}", &traffic),
            dependencies: format!(
                "atoll-{0} = {{ path = \"{{{{servers}}}}/{0}\" }}\n",
                own.image
            ),
            dev_dependencies: "proptest = \"1\"\n",
        }
    }
}

fn is_a_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= 40
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(plain)
}
