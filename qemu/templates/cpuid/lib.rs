//! A small CPU: what a 64-bit Linux needs, and nothing else.
#![no_std]
#![forbid(unsafe_code)]
use atoll_sdk::protocol::manifest::Setup;
use atoll_sdk::protocol::message::{Leaf, Machine};
use atoll_sdk::protocol::role::{Cpuid, CpuidRequest};
use atoll_sdk::{Effects, Refuse, Server, Vault};
#[cfg(test)]
mod tests;
/// The server.
pub struct MyServer;
impl Server for MyServer {
    type Role = Cpuid;
    type State = ();
    type Cache = ();
    atoll_sdk::forgetful!();
    fn start(_: &Machine, _: &Setup<'_>) -> Result<(), Refuse> {
        Ok(())
    }
    fn handle(_: &mut Vault<'_, Self>, request: &CpuidRequest, _: &mut Effects<'_, Cpuid>) -> Leaf {
        let CpuidRequest { leaf, host, .. } = *request;
        match leaf {
            0 => Leaf { eax: 1, ..host },
            1 => Leaf { eax: host.eax, ebx: 0x1_0800, ecx: host.ecx & 0x2000 | 1 << 31, edx: host.edx & 0x078b_bb7f },
            0x8000_0000 => Leaf { eax: 0x8000_0001, ..host },
            0x8000_0001 => Leaf { ecx: host.ecx & 1, edx: host.edx & 0x2010_0800, ..Leaf::default() },
            _ => Leaf::default(),
        }
    }
}
