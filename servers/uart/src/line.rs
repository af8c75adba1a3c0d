//! The interrupt line: driven only when its level changes, and not a thousand times by one string instruction: then it follows later.

use atoll_protocol::effect::Signal;
use atoll_protocol::role::{Serial, SerialEffect};
use atoll_protocol::units::LineId;
use atoll_sdk::{Effects, Vault};

use crate::{UartServer, transmit};

/// Brings the line to the level that the registers ask for.
pub(crate) fn update(vault: &mut Vault<'_, UartServer>, effects: &mut Effects<'_, Serial>) {
    let level = vault.level();
    if level == vault.out.raised {
        return;
    }
    if effects.is_crowded() {
        transmit::flush_later(vault, effects);
    } else {
        vault.at(|s| &mut s.out).raised = level;
        let signal = if level != 0 {
            Signal::Raise
        } else {
            Signal::Lower
        };
        effects.emit(SerialEffect::Line(LineId::nth(vault.set.line), signal));
    }
}
