//! What the guest gets, and the log says, about an instruction that nobody carries out. A guest can make as many as it likes: the log
//! has the first few, and then ever fewer.

use atoll_protocol::role::{Mmu, MmuEffect, MmuReply};
use atoll_protocol::vcpu::{Context, Exception};
use atoll_sdk::{Effects, Vault};

use crate::MmuNpt;
use crate::decode::LONGEST;
use crate::fetch::{NoPlan, fetch};

/// All of the first so many are logged; after that, those whose number is a power of two.
const LOGGED: u64 = 8;
/// Bytes of a line.
const LINE: usize = 128;

struct Line {
    text: [u8; LINE],
    used: usize,
}

impl Line {
    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.used) {
            *place = byte;
            self.used += 1;
        }
    }

    fn text(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.byte(byte));
    }

    fn hexadecimal(&mut self, value: u64, digits: u32) {
        for digit in (0..digits).rev() {
            self.byte(b"0123456789abcdef"[(value >> (digit * 4) & 0xf) as usize]);
        }
    }
}

/// Answers a request for a plan that there is none of.
#[cold]
#[inline(never)]
pub(crate) fn no_plan(vault: &mut Vault<'_, MmuNpt>, effects: &mut Effects<'_, Mmu>, context: &Context, why: NoPlan) -> MmuReply {
    match why {
        NoPlan::Unmapped => MmuReply::Resume,
        NoPlan::NotRam => refuse(vault, effects, context, "executes outside RAM", Exception::PROTECTION),
        NoPlan::Invalid => refuse(vault, effects, context, "cannot be decoded", Exception::UNDEFINED),
    }
}

/// The instruction is none that this server carries out: #UD.
#[cold]
#[inline(never)]
pub(crate) fn unsupported(vault: &mut Vault<'_, MmuNpt>, effects: &mut Effects<'_, Mmu>, context: &Context) -> MmuReply {
    refuse(vault, effects, context, "cannot be emulated", Exception::UNDEFINED)
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
        let mut line = Line { text: [0; LINE], used: 0 };
        line.text("the instruction at ");
        line.hexadecimal(context.rip, 16);
        line.byte(b' ');
        line.text(what);
        line.byte(b':');
        let mut bytes = [0; LONGEST];
        let fetched = fetch(context, effects.guest(), vault.physical_bits, &mut bytes).map_or(0, |fetched| fetched.length);
        for byte in bytes.iter().take(fetched) {
            line.byte(b' ');
            line.hexadecimal(u64::from(*byte), 2);
        }
        let text = line.text.get(..line.used).and_then(|text| core::str::from_utf8(text).ok());
        effects.emit(MmuEffect::Log(text.unwrap_or(what)));
    }
    MmuReply::Exception(exception)
}
