//! What the guest gets, and the log says, about an instruction that nobody carries out. A guest can make as many as it likes: the log
//! has the first few, and then ever fewer.

use core::fmt;

use atoll_protocol::role::{Mmu, MmuReply};
use atoll_protocol::vcpu::{Context, Exception};
use atoll_sdk::{Effects, Vault};

use crate::MmuNpt;
use crate::decode::LONGEST;
use crate::execute::Execution;
use crate::fetch::{NoPlan, fetch};

/// All of the first so many are logged; after that, those whose number is a power of two.
const LOGGED: u64 = 8;
/// The line.
struct Refused<'r> {
    rip: u64,
    what: &'r str,
    bytes: &'r [u8],
}

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the instruction at {:016x} {}:", self.rip, self.what)?;
        self.bytes
            .iter()
            .try_for_each(|byte| write!(f, " {byte:02x}"))
    }
}

/// Answers a request for a plan that there is none of.
#[cold]
#[inline(never)]
pub(crate) fn no_plan(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    context: &Context,
    why: NoPlan,
) -> MmuReply {
    match why {
        NoPlan::Unmapped => MmuReply::Resume,
        NoPlan::NotRam => refuse(
            vault,
            effects,
            context,
            "executes outside RAM",
            Exception::PROTECTION,
        ),
        NoPlan::Invalid => refuse(
            vault,
            effects,
            context,
            "cannot be decoded",
            Exception::UNDEFINED,
        ),
    }
}

/// The instruction is none that this server carries out: #UD.
#[cold]
#[inline(never)]
pub(crate) fn unsupported(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    context: &Context,
) -> MmuReply {
    refuse(
        vault,
        effects,
        context,
        "cannot be emulated",
        Exception::UNDEFINED,
    )
}

/// Counts and logs the instruction at RIP, and gives the guest an exception.
#[cold]
#[inline(never)]
pub(crate) fn refuse(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    context: &Context,
    what: &str,
    exception: Exception,
) -> MmuReply {
    let refused = vault.at(|state| &mut state.refused);
    *refused = refused.saturating_add(1);
    if *refused <= LOGGED || refused.is_power_of_two() {
        let mut bytes = [0; LONGEST];
        let fetched = fetch(context, effects.guest(), vault.physical_bits, &mut bytes)
            .map_or(0, |fetched| fetched.length);
        effects.log(Refused {
            rip: context.rip,
            what,
            bytes: bytes.get(..fetched).unwrap_or(&[]),
        });
    }
    // It has come to an end: what was fetched for it is none of the next one's.
    if vault.execution != Execution::default() {
        *vault.at(|state| &mut state.execution) = Execution::default();
    }
    MmuReply::Exception(exception)
}
