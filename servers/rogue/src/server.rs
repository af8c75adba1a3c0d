//! What the rogue is until it misbehaves: a serial port with two registers.

use atoll_protocol::manifest::Setup;
use atoll_protocol::message::Machine;
use atoll_protocol::role::{PortRequest, Serial};
use atoll_sdk::{Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Misdeed;

/// Port, by its lowest four bits: what is written is added to the count, which is what is read.
pub const COUNT: u16 = 0;
/// Port, by its lowest four bits: a write makes it misbehave.
pub const MISBEHAVE: u16 = 1;

/// Its state: one line of the vault.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RogueState {
    /// The count.
    pub count: u64,
    /// The console's number: whom it may mail.
    pub console: u8,
    /// The line that it may drive.
    pub line: u8,
    /// Not used once it has started: what was committed before a misdeed does not depend on the misdeed.
    misdeed: u8,
    /// Not used; zero.
    reserved: [u8; 5],
}

/// The server. Needs one line and mail to `console`; the option `misdeed` is the misdeed's number.
#[derive(Debug)]
pub struct RogueServer;

impl Server for RogueServer {
    type Role = Serial;
    type State = RogueState;
    /// The misdeed's number. A cache that changes an answer is against the rules, too.
    type Cache = u8;

    fn start(_: &Machine, setup: &Setup<'_>) -> Result<RogueState, Refuse> {
        let misdeed = setup
            .option("misdeed")
            .and_then(|text| text.parse().ok())
            .ok_or(Refuse::BadOption("misdeed"))?;
        let console = setup
            .peer("console")
            .ok_or(Refuse::MissingPeer("console"))?
            .number();
        let line = setup.line(0).ok_or(Refuse::MissingLine)?.number();
        Ok(RogueState {
            console,
            line,
            misdeed,
            ..RogueState::default()
        })
    }

    atoll_sdk::immovable!();

    fn started(vault: &mut Vault<'_, Self>, _: &mut Effects<'_, Serial>) {
        *vault.cache = core::mem::take(vault.at(|state| &mut state.misdeed));
    }

    fn handle(
        vault: &mut Vault<'_, Self>,
        request: PortRequest,
        _: &mut Effects<'_, Serial>,
    ) -> u32 {
        match (request.port & 0xf, request.write) {
            (COUNT, Some(value)) => {
                let count = vault.at(|state| &mut state.count);
                *count = count.wrapping_add(u64::from(value));
            }
            (COUNT, None) => return vault.count as u32,
            (MISBEHAVE, Some(_)) => {
                let before = **vault;
                // In the working copy only: unless the answer is committed, this never was.
                *vault.at(|state| &mut state.count) = u64::MAX;
                if let Some(misdeed) = Misdeed::all().nth(usize::from(*vault.cache)) {
                    misdeed.commit(&before);
                }
            }
            _ => return request.all_ones(),
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use atoll_protocol::fixed::Fixed;
    use atoll_protocol::message::{Body, PortExit};
    use atoll_protocol::units::ServerId;
    use atoll_sdk::harness::{Harness, MACHINE};

    use super::*;

    #[test]
    fn it_counts_like_an_honest_server_and_its_state_does_not_tell_what_it_is_up_to() {
        let mut peers = [0; 16];
        let peers = postcard::to_slice(&("console", ServerId::nth(7)), &mut peers).unwrap();
        let state_of = |options| {
            let (mut rogue, _) = Harness::<RogueServer>::start(
                &MACHINE,
                &Setup {
                    lines: &[5],
                    peers,
                    options,
                },
            );
            let exit = PortExit {
                port: 0x5e0,
                size: 1,
                count: 1,
                value: 40,
                ..PortExit::default()
            };
            rogue.deliver(Body::PortWrite(Fixed(exit)));
            rogue.deliver(Body::PortWrite(Fixed(PortExit { value: 2, ..exit })));
            assert_eq!(rogue.deliver(Body::PortRead(Fixed(exit))).value(), 42);
            let mut bytes = [0; size_of::<RogueState>()];
            bytes.copy_from_slice(rogue.state().as_bytes());
            bytes
        };
        assert_eq!(state_of("misdeed=000\n"), state_of("misdeed=055\n"));
    }
}
