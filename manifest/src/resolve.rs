//! From the written form to the machine: names become numbers, rights are checked against roles, and nothing is granted twice.

use std::collections::BTreeMap;
use std::fmt::Display;

use atoll_protocol::grant::{Grant, Route};
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{HostIrq, LineId, ServerId};
use atoll_protocol::{LINES, SERVERS, layout};
use toml::Spanned;

use crate::error::Result;
use crate::limits::{limits, restart};
use crate::ranges::{Space, bytes, inclusive};
use crate::rights::{Right, unique};
use crate::source::Source;
use crate::text::{ManifestText, ServerText};
use crate::{Machine, Server};

/// The form that this tool reads.
const FORM: u32 = 1;
/// Guest memory comes in pieces of this size.
pub const MEMORY_UNIT: u64 = 2 << 20;
/// Least guest memory.
pub const MEMORY_LEAST: u64 = 32 << 20;
/// Hardware threads that the kernel runs.
const VCPUS: u8 = 1;

/// Room for images that come while the machine runs: three of the largest.
const RESERVE: usize = 2 << 20;
/// Most such room.
const RESERVE_MOST: usize = 64 << 20;

/// Resolves and checks.
pub(crate) fn resolve(source: &Source<'_>, text: ManifestText) -> Result<Machine> {
    if *text.manifest.get_ref() != FORM {
        return Err(source.error(
            text.manifest.span(),
            format!(
                "manifest = {}: expected {FORM}, the only form that this version reads",
                text.manifest.get_ref()
            ),
        ));
    }
    let memory = memory(source, &text.vm.memory)?;
    let vcpus = *text.vm.vcpus.get_ref();
    if vcpus == 0 || vcpus > VCPUS {
        return Err(source.error(
            text.vm.vcpus.span(),
            format!("vcpus = {vcpus}: expected {VCPUS}"),
        ));
    }
    let mut servers: Vec<(Spanned<String>, ServerText)> = text.server.into_iter().collect();
    servers.sort_by_key(|(name, _)| name.span().start);
    if servers.len() >= SERVERS {
        return Err(source.error(
            servers[SERVERS - 1].0.span(),
            format!("a machine has at most {} servers", SERVERS - 1),
        ));
    }
    let named = servers
        .iter()
        .zip(1..)
        .map(|((name, _), number)| (name.get_ref().clone(), number));
    let numbers = named
        .chain([(RoleKind::Supervisor.name().to_owned(), 0)])
        .collect();
    let mut resolver = Resolver {
        source,
        memory,
        numbers,
        spaces: Spaces::default(),
        roles: BTreeMap::new(),
    };
    let resolved = servers
        .iter()
        .map(|(name, server)| resolver.server(name, server))
        .collect::<Result<Vec<_>>>()?;
    if !resolved
        .iter()
        .any(|server| server.role == RoleKind::Loader)
    {
        return Err(source.error(
            0..0,
            "no server has the role 'loader', so nothing would load the guest",
        ));
    }
    let at = |spare: &Spanned<String>| (source.file.to_owned(), source.line(spare.span().start));
    let spares = text
        .vm
        .spares
        .iter()
        .map(|spare| (spare.get_ref().clone(), at(spare)))
        .collect();
    let reserve = reserve(source, text.vm.reserve.as_ref())?;
    Ok(Machine {
        memory,
        vcpus,
        keep: text.vm.keep,
        reserve,
        spares,
        servers: resolved,
    })
}

fn memory(source: &Source<'_>, text: &Spanned<String>) -> Result<u64> {
    match bytes(text.get_ref()) {
        Some(memory) if memory % MEMORY_UNIT == 0 && memory >= MEMORY_LEAST => Ok(memory),
        Some(memory) if memory < MEMORY_LEAST => Err(source.error(
            text.span(),
            format!(
                "memory = \"{}\" is too small: expected at least {}M",
                text.get_ref(),
                MEMORY_LEAST >> 20
            ),
        )),
        Some(_) => Err(source.error(
            text.span(),
            format!("memory = \"{}\": expected a multiple of 2M", text.get_ref()),
        )),
        None => Err(source.error(
            text.span(),
            format!(
                "memory = \"{}\" is not a size: expected a multiple of 2M, for example \"256M\"",
                text.get_ref()
            ),
        )),
    }
}

fn reserve(source: &Source<'_>, text: Option<&Spanned<String>>) -> Result<usize> {
    let Some(text) = text else { return Ok(RESERVE) };
    let size = bytes(text.get_ref())
        .and_then(|size| usize::try_from(size).ok())
        .filter(|size| *size <= RESERVE_MOST);
    size.ok_or_else(|| {
        let what = format!(
            "reserve = \"{}\": expected a size of at most {}M, for example \"2M\"",
            text.get_ref(),
            RESERVE_MOST >> 20
        );
        source.error(text.span(), what)
    })
}

#[derive(Default)]
struct Spaces {
    ports: Space,
    msrs: Space,
    memory: Space,
    lines: Space,
    host_ports: Space,
    host_irqs: Space,
}

struct Resolver<'s, 't> {
    source: &'s Source<'t>,
    memory: u64,
    numbers: BTreeMap<String, u8>,
    spaces: Spaces,
    roles: BTreeMap<&'static str, String>,
}

impl Resolver<'_, '_> {
    fn server(&mut self, name: &Spanned<String>, text: &ServerText) -> Result<Server> {
        let source = self.source;
        let owner = name.get_ref().as_str();
        if owner == RoleKind::Supervisor.name() {
            return Err(source.error(
                name.span(),
                "every machine has a supervisor without being told: remove this section",
            ));
        }
        let role = self.role(owner, &text.role)?;
        let (restart, alternative) = restart(source, role, text)?;
        let mut server = Server {
            name: owner.to_owned(),
            role,
            image: text.image.get_ref().clone(),
            own: None,
            unchecked: text.unchecked,
            image_at: (source.file.to_owned(), source.line(text.image.span().start)),
            limits: limits(source, role, text)?,
            grants: Vec::new(),
            routes: Vec::new(),
            lines: text.raises.iter().map(|line| *line.get_ref()).collect(),
            peers: Vec::new(),
            options: options(source, text)?,
            restart,
            alternative,
        };
        self.routes(&mut server, text)?;
        self.host(&mut server, text)?;
        self.lines(&mut server, text)?;
        self.mail(&mut server, text)?;
        guest_memory(source, &mut server, text)?;
        Ok(server)
    }

    fn role(&mut self, owner: &str, text: &Spanned<String>) -> Result<RoleKind> {
        let named = RoleKind::ALL
            .iter()
            .find(|(kind, name)| name == text.get_ref() && *kind != RoleKind::Supervisor);
        let Some((role, name)) = named else {
            let names: Vec<&str> = RoleKind::ALL
                .iter()
                .skip(1)
                .map(|(_, name)| *name)
                .collect();
            return Err(self.source.error(
                text.span(),
                format!(
                    "unknown role '{}' (there are: {})",
                    text.get_ref(),
                    names.join(", ")
                ),
            ));
        };
        if unique(*role)
            && let Some(other) = self.roles.insert(name, owner.to_owned())
        {
            return Err(self.source.error(
                text.span(),
                format!(
                    "duplicate role: server '{other}' already has it, and a machine has one {name}"
                ),
            ));
        }
        Ok(*role)
    }

    fn routes(&mut self, server: &mut Server, text: &ServerText) -> Result<()> {
        let source = self.source;
        for exit in &text.exits {
            let Some(right) = Right::exit(exit.get_ref()) else {
                let what = format!(
                    "unknown exits '{}' (there are: cpuid, hypercall, msrs, mmu, lines)",
                    exit.get_ref()
                );
                return Err(source.error(exit.span(), what));
            };
            fits(
                source,
                right,
                server,
                exit,
                &format!("the route exits = \"{}\"", exit.get_ref()),
            )?;
            server.routes.push(match right {
                Right::ExitCpuid => Route::Cpuid,
                Right::ExitHypercall => Route::Hypercall,
                Right::ExitMsrs => Route::OtherMsrs,
                Right::ExitMmu => Route::Mmu,
                _ => Route::Lines,
            });
        }
        for text in &text.ports {
            fits(source, Right::Ports, server, text, "a route for ports")?;
            let (first, last) = range::<u16>(source, text, "ports")?;
            self.spaces.ports.claim(
                source,
                text.span(),
                "port",
                (first.into(), last.into()),
                &server.name,
            )?;
            server.routes.push(Route::Ports(first, last));
        }
        for text in &text.msrs {
            fits(source, Right::Msrs, server, text, "a route for MSRs")?;
            let (first, last) = range::<u32>(source, text, "MSRs")?;
            self.spaces.msrs.claim(
                source,
                text.span(),
                "MSR",
                (first.into(), last.into()),
                &server.name,
            )?;
            server.routes.push(Route::Msrs(first, last));
        }
        for text in &text.memory {
            fits(
                source,
                Right::Memory,
                server,
                text,
                "a route for device memory",
            )?;
            let (first, last) = range::<u64>(source, text, "addresses")?;
            if layout::ram_offset(self.memory, first).is_some()
                || layout::ram_offset(self.memory, last).is_some()
            {
                return Err(source.error(
                    text.span(),
                    format!("device memory {} lies in the guest's RAM", text.get_ref()),
                ));
            }
            self.spaces.memory.claim(
                source,
                text.span(),
                "address",
                (first, last),
                &server.name,
            )?;
            server.routes.push(Route::Memory(first, last));
        }
        Ok(())
    }

    fn host(&mut self, server: &mut Server, text: &ServerText) -> Result<()> {
        let source = self.source;
        for text in &text.host_ports {
            fits(source, Right::Host, server, text, "a grant of host ports")?;
            let (first, last) = range::<u16>(source, text, "ports")?;
            self.spaces.host_ports.claim(
                source,
                text.span(),
                "host port",
                (first.into(), last.into()),
                &server.name,
            )?;
            server.grants.push(Grant::HostPorts(first, last));
        }
        for line in &text.host_irqs {
            fits(
                source,
                Right::Host,
                server,
                line,
                "a grant of host interrupts",
            )?;
            let number = *line.get_ref();
            let Some(irq) = HostIrq::new(number) else {
                return Err(source.error(
                    line.span(),
                    format!("host interrupt {number}: expected 0 to 15"),
                ));
            };
            self.spaces.host_irqs.claim(
                source,
                line.span(),
                "host interrupt",
                (number.into(), number.into()),
                &server.name,
            )?;
            server.grants.push(Grant::HostIrq(irq));
        }
        Ok(())
    }

    fn lines(&mut self, server: &mut Server, text: &ServerText) -> Result<()> {
        for line in &text.raises {
            fits(
                self.source,
                Right::Raises,
                server,
                line,
                "a grant of interrupt lines",
            )?;
            let number = *line.get_ref();
            let Some(id) = LineId::new(number) else {
                return Err(self.source.error(
                    line.span(),
                    format!("interrupt line {number}: expected 0 to {}", LINES - 1),
                ));
            };
            self.spaces.lines.claim(
                self.source,
                line.span(),
                "interrupt line",
                (number.into(), number.into()),
                &server.name,
            )?;
            server.grants.push(Grant::Line(id));
        }
        Ok(())
    }

    fn mail(&self, server: &mut Server, text: &ServerText) -> Result<()> {
        let mut mail: Vec<_> = text.mail.iter().collect();
        mail.sort_by_key(|(peer, _)| peer.span().start);
        for (peer, credit) in mail {
            fits(self.source, Right::Mail, server, peer, "a grant of mail")?;
            let Some(&number) = self.numbers.get(peer.get_ref()) else {
                return Err(self.source.error(
                    peer.span(),
                    format!(
                        "unknown server '{}' (there are: {})",
                        peer.get_ref(),
                        self.numbers.keys().cloned().collect::<Vec<_>>().join(", ")
                    ),
                ));
            };
            if *credit.get_ref() == 0 {
                return Err(self.source.error(
                    credit.span(),
                    "a credit of 0 allows no mail: leave this entry out",
                ));
            }
            server
                .grants
                .push(Grant::Mail(ServerId::nth(number), *credit.get_ref()));
            server.peers.push((peer.get_ref().clone(), number));
        }
        Ok(())
    }
}

fn guest_memory(source: &Source<'_>, server: &mut Server, text: &ServerText) -> Result<()> {
    if let Some(access) = &text.guest_memory {
        let (right, grants): (Right, &[Grant]) = match access.get_ref().as_str() {
            "none" => return bundle(source, server, text),
            "read" => (Right::GuestRead, &[Grant::GuestRead]),
            "write" => (Right::GuestWrite, &[Grant::GuestRead, Grant::GuestWrite]),
            other => {
                return Err(source.error(
                    access.span(),
                    format!("guest_memory = \"{other}\": expected \"none\", \"read\" or \"write\""),
                ));
            }
        };
        fits(
            source,
            right,
            server,
            access,
            &format!("guest_memory = \"{}\"", access.get_ref()),
        )?;
        server.grants.extend(grants);
    }
    bundle(source, server, text)
}

fn bundle(source: &Source<'_>, server: &mut Server, text: &ServerText) -> Result<()> {
    if let Some(bundle) = text.bundle.as_ref().filter(|bundle| *bundle.get_ref()) {
        fits(source, Right::Bundle, server, bundle, "the bundle")?;
        server.grants.push(Grant::Bundle);
    }
    Ok(())
}

fn fits<T>(
    source: &Source<'_>,
    right: Right,
    server: &Server,
    at: &Spanned<T>,
    what: &str,
) -> Result<()> {
    if right.fits(server.role) {
        return Ok(());
    }
    Err(source.error(
        at.span(),
        format!(
            "server '{}': a server of the role '{}' may not have {what}",
            server.name,
            server.role.name()
        ),
    ))
}

fn range<T: TryFrom<u64>>(
    source: &Source<'_>,
    text: &Spanned<String>,
    what: &str,
) -> Result<(T, T)> {
    let wrong = || {
        source.error(
            text.span(),
            format!(
                "\"{}\" is not a range of {what}: expected one like \"0x20..=0x21\", or a single number",
                text.get_ref()
            ),
        )
    };
    let (first, last) = inclusive(text.get_ref()).ok_or_else(wrong)?;
    Ok((
        T::try_from(first).map_err(|_| wrong())?,
        T::try_from(last).map_err(|_| wrong())?,
    ))
}

fn options(source: &Source<'_>, text: &ServerText) -> Result<String> {
    let line = |key: &str, value: &dyn Display| format!("{key}={value}\n");
    let lines = text
        .options
        .iter()
        .map(|(key, value)| match value.get_ref() {
            toml::Value::String(string) if !string.contains('\n') => Ok(line(key, string)),
            toml::Value::Integer(number) => Ok(line(key, number)),
            toml::Value::Boolean(truth) => Ok(line(key, truth)),
            _ => Err(source.error(
                value.span(),
                format!(
                    "option '{key}': expected a string of one line, an integer, or true or false"
                ),
            )),
        });
    lines.collect()
}
