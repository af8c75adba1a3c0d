//! What a machine keeps of a server's last fault, for people and as JSON (docs/control.md tells the keys).

use std::fmt::Write as _;

use atoll_protocol::control::{Ask, DumpPart, REGISTER_NAMES, REGISTERS, ServerRecord, Tell};
use atoll_protocol::fault::{FaultReport, Reason};
use atoll_protocol::message::Message;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Line;
use super::orders::{Found, among, find};
use crate::error::{Error, Result};
use crate::run::log;

/// A server's last fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dump {
    /// The machine's name.
    pub machine: String,
    /// Which server.
    #[serde(flatten)]
    pub found: Found,
    /// Its generation at the fault.
    pub generation: u32,
    /// The rule that it broke.
    pub reason: Reason,
    /// `server` if the fault is its own, `asked for` if somebody killed it, `injected` if a fault was injected.
    pub origin: &'static str,
    /// Which effect of the answer was wrong, where one was.
    pub effect: u8,
    /// When, in ticks of the host's time-stamp counter.
    pub at: u64,
    /// Messages that its slot had handled to their end.
    pub handled: u64,
    /// Registers by name, if it was stopped while it ran.
    pub registers: Option<Map<String, Value>>,
    /// The message that it was handling; `null` if it was between two.
    pub message: Option<String>,
    /// The last messages, oldest first.
    pub history: Vec<Past>,
}

/// One message that was delivered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Past {
    /// When, in ticks.
    pub at: u64,
    /// Its kind.
    pub kind: &'static str,
    /// What tells it from others of its kind: a leaf, a port, an address.
    pub number: u64,
}

/// Asks for the dump of the server with this name or role.
pub fn dump(line: &mut Line, server: &str) -> Result<Dump> {
    let found = find(line, server)?;
    let mut parts = Parts::default();
    line.list(Ask::Dump(found.id.number()), |tell| {
        let Tell::Dump(part) = tell else { return None };
        parts.take(part);
        Some(())
    })?;
    parts.dump(&line.name, found)
}

/// The dump of the server with this name or role that a machine left, which has ended: from its log.
pub fn left(machine: &str, log: &str, server: &str) -> Result<Dump> {
    let mut all: Vec<(Found, Parts)> = Vec::new();
    for (what, bytes) in log::totals(log) {
        match what {
            "server" => {
                let record = postcard::from_bytes::<ServerRecord<'_>>(&bytes).ok();
                if let Some(found) = record.as_ref().and_then(Found::of) {
                    all.push((found, Parts::default()));
                }
            }
            "dump" => {
                if let (Some((_, parts)), Ok(part)) = (all.last_mut(), postcard::from_bytes(&bytes))
                {
                    parts.take(&part);
                }
            }
            _ => {}
        }
    }
    if all.is_empty() {
        return Err(Error::missing(format_args!(
            "the machine '{machine}' was ended from outside, before its kernel could tell what it knew of its servers; `atoll log` has what it had said by then"
        )));
    }
    let servers: Vec<Found> = all.iter().map(|(found, _)| found.clone()).collect();
    let found = among(&servers, server)?;
    let parts = all.into_iter().find(|(one, _)| *one == found);
    parts
        .map(|(_, parts)| parts)
        .unwrap_or_default()
        .dump(machine, found)
}

impl Parts {
    fn dump(self, machine: &str, found: Found) -> Result<Dump> {
        let parts = self;
        let none = || {
            Error::missing(format_args!(
                "the server '{}' has not been faulted: there is no dump of it",
                found.server
            ))
        };
        let fault = parts.fault.ok_or_else(none)?;
        let origin = match fault.reason {
            _ if fault.injected => "injected",
            Reason::Killed => "asked for",
            _ => "server",
        };
        Ok(Dump {
            machine: machine.to_owned(),
            found,
            generation: fault.generation,
            reason: fault.reason,
            origin,
            effect: fault.effect,
            at: fault.at.0,
            handled: fault.handled,
            registers: parts.registers(),
            message: parts.message(),
            history: parts.history,
        })
    }
}

#[derive(Default)]
struct Parts {
    fault: Option<FaultReport>,
    registers: Option<[u64; REGISTERS]>,
    message: Vec<u8>,
    history: Vec<Past>,
}

impl Parts {
    fn take(&mut self, part: &DumpPart<'_>) {
        match *part {
            DumpPart::Fault(fault) => self.fault = Some(fault),
            DumpPart::Registers(registers) => {
                self.registers = Some(registers).filter(|all| all.iter().any(|value| *value != 0))
            }
            DumpPart::Message(piece) => self.message.extend_from_slice(piece),
            DumpPart::Past(at, what, number) => self.history.push(Past {
                at: at.0,
                kind: what.name(),
                number,
            }),
        }
    }

    fn registers(&self) -> Option<Map<String, Value>> {
        let registers = self.registers?;
        let named =
            |(name, value): (&&str, u64)| ((*name).to_owned(), Value::from(format!("{value:#x}")));
        Some(REGISTER_NAMES.iter().zip(registers).map(named).collect())
    }

    /// What lies behind the message in its page is left out by decoding it; a longer one than is kept is told by its first bytes.
    fn message(&self) -> Option<String> {
        if self.message.iter().all(|byte| *byte == 0) {
            return None;
        }
        let decoded = postcard::take_from_bytes::<Message<'_>>(&self.message);
        Some(decoded.map_or_else(
            |_| format!("(does not decode) {:02x?}", self.message),
            |(message, _)| format!("{message:?}"),
        ))
    }
}

impl Dump {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let Found { id, server, role } = &self.found;
        let mut text = format!(
            "server {id} '{server}', role {role}, generation {}: {:?} ({})\nat {} ticks, after {} messages handled; effect {}\n",
            self.generation, self.reason, self.origin, self.at, self.handled, self.effect
        );
        match &self.registers {
            Some(registers) => {
                let cells: Vec<String> = registers
                    .iter()
                    .map(|(name, value)| {
                        format!("{name:>6} {:<18}", value.as_str().unwrap_or_default())
                    })
                    .collect();
                let _ = writeln!(text, "registers:");
                cells
                    .chunks(4)
                    .for_each(|row| _ = writeln!(text, "  {}", row.concat().trim_end()));
            }
            None => text.push_str(
                "registers: none, it ended its activation itself or was between two messages\n",
            ),
        }
        let _ = writeln!(
            text,
            "message: {}",
            self.message
                .as_deref()
                .unwrap_or("none, it was between two")
        );
        let _ = writeln!(
            text,
            "its last {} messages, oldest first:",
            self.history.len()
        );
        self.history.iter().for_each(|past| {
            _ = writeln!(
                text,
                "  {:>16} {:<14} {:#x}",
                past.at, past.kind, past.number
            )
        });
        text
    }
}

#[cfg(test)]
mod tests {
    use atoll_protocol::cause::What;
    use atoll_protocol::control::DUMP_MESSAGE;
    use atoll_protocol::fixed::Fixed;
    use atoll_protocol::message::{Body, CpuidExit, Header};
    use atoll_protocol::units::Ticks;

    use super::*;

    #[test]
    fn a_message_is_told_without_what_lay_behind_it_in_its_page() {
        let exit = CpuidExit {
            leaf: 7,
            ..CpuidExit::default()
        };
        let message = Message {
            header: Fixed(Header::default()),
            body: Body::Cpuid(Fixed(exit)),
        };
        let mut page = postcard::to_stdvec(&message).unwrap();
        page.resize(DUMP_MESSAGE, 0x55);
        let mut parts = Parts::default();
        page.chunks(128)
            .for_each(|piece| parts.take(&DumpPart::Message(piece)));
        let told = parts.message().unwrap();
        assert!(told.contains("leaf: 7") && !told.contains("55"), "{told}");
    }

    #[test]
    fn a_fault_between_two_messages_has_neither_message_nor_registers() {
        let mut parts = Parts::default();
        parts.take(&DumpPart::Registers([0; REGISTERS]));
        parts.take(&DumpPart::Message(&[0; 128]));
        assert_eq!((parts.registers(), parts.message()), (None, None));
    }

    #[test]
    fn registers_have_their_names() {
        let mut parts = Parts::default();
        parts.take(&DumpPart::Registers(std::array::from_fn(|index| {
            index as u64
        })));
        let registers = parts.registers().unwrap();
        assert_eq!(
            (registers.len(), &registers["r15"], &registers["cr2"]),
            (REGISTERS, &"0x0".into(), &"0x16".into())
        );
        parts.take(&DumpPart::Past(Ticks(3), What::PortOut, 0x3f8));
        assert_eq!(
            parts.history,
            [Past {
                at: 3,
                kind: "out",
                number: 0x3f8
            }]
        );
    }
}
