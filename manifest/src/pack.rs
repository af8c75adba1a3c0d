//! From the checked machine to the bundle's manifest: postcard, lists back to back (see [`atoll_protocol::manifest`]).

use atoll_protocol::manifest::{Manifest, ServerSpec, Setup};
use atoll_protocol::units::ServerId;
use atoll_protocol::{SCHEMA_HASH, VERSION};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::{Machine, Server};

impl Machine {
    /// The manifest's bytes.
    pub fn pack(&self) -> Result<Vec<u8>> {
        let mut specs = Vec::new();
        for server in &self.servers {
            specs.extend(server.pack()?);
        }
        let servers = u8::try_from(self.servers.len())
            .map_err(|_| Error::packing("it has more than 255 servers"))?;
        let (memory, vcpus) = (self.memory, self.vcpus);
        encode(&Manifest {
            version: VERSION,
            schema: SCHEMA_HASH,
            memory,
            vcpus,
            servers,
            specs: &specs,
        })
    }
}

impl Server {
    fn pack(&self) -> Result<Vec<u8>> {
        let peers = list(
            self.peers
                .iter()
                .map(|(name, number)| (name.as_str(), ServerId::nth(*number))),
        )?;
        let config = encode(&Setup {
            lines: &self.lines,
            peers: &peers,
            options: &self.options,
        })?;
        let (grants, routes) = (list(&self.grants)?, list(&self.routes)?);
        encode(&ServerSpec {
            name: &self.name,
            role: self.role,
            image: &self.image,
            limits: self.limits,
            grants: &grants,
            routes: &routes,
            config: &config,
            restart: self.restart,
            alternative: self.alternative.as_ref().map(|(image, _)| image.as_str()),
        })
    }
}

fn list<T: Serialize>(items: impl IntoIterator<Item = T>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for item in items {
        bytes.extend(encode(&item)?);
    }
    Ok(bytes)
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(Error::packing)
}

#[cfg(test)]
mod tests {
    use atoll_protocol::grant::{Grant, Route};
    use atoll_protocol::role::RoleKind;

    use super::*;

    #[test]
    fn what_is_packed_is_what_the_supervisor_reads() {
        let machine = Machine::linux().unwrap();
        let bytes = machine.pack().unwrap();
        let manifest: Manifest<'_> = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(
            (manifest.memory, usize::from(manifest.servers)),
            (256 << 20, machine.servers.len())
        );
        let specs: Vec<_> = manifest.servers().collect();
        assert_eq!(specs.len(), machine.servers.len());
        let place = |name: &str| specs.iter().position(|spec| spec.name == name).unwrap();
        let (uart, console) = (&specs[place("uart")], place("console"));
        assert_eq!(uart.role, RoleKind::Serial);
        let number = ServerId::nth(u8::try_from(console).unwrap() + 1);
        let setup: Setup<'_> = postcard::from_bytes(uart.config).unwrap();
        assert_eq!(setup.peer("console"), Some(number));
        assert!(
            uart.grants()
                .any(|grant| matches!(grant, Grant::Mail(to, _) if to == number))
        );
        assert!(
            uart.routes()
                .any(|route| route == Route::Ports(0x3f8, 0x3ff))
        );
    }
}
