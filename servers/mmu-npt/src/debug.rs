//! MOV to and from debug registers (APM vol. 2 §13.1). The kernel keeps their values, and arms what can be armed while the guest runs.

use atoll_protocol::role::{Mmu, MmuEffect};
use atoll_protocol::vcpu::{Context, Exception, Registers, SystemRegister};
use atoll_sdk::Effects;

use crate::mode::CR4_DE;

const DR6: u8 = 6;
const DR7: u8 = 7;
/// DR6: an access to a debug register while DR7 detects them.
const BD: u64 = 1 << 13;
/// DR7: the next access to a debug register is #DB.
const GD: u64 = 1 << 13;
/// #DB.
const DEBUG: Exception = Exception {
    error: 0,
    vector: 1,
    has_error: 0,
    reserved: 0,
    address: 0,
};

/// What a read gives.
pub(crate) fn read(
    effects: &mut Effects<'_, Mmu>,
    context: &Context,
    registers: &Registers,
    number: u8,
) -> Result<u64, Exception> {
    let [dr0, dr1, dr2, dr3, dr6, dr7] = registers.debug;
    Ok(match access(effects, context, registers, number)? {
        0 => dr0,
        1 => dr1,
        2 => dr2,
        3 => dr3,
        DR6 => dr6,
        _ => dr7,
    })
}

/// Writes `value`.
pub(crate) fn write(
    effects: &mut Effects<'_, Mmu>,
    context: &Context,
    registers: &Registers,
    number: u8,
    value: u64,
) -> Result<(), Exception> {
    let register = match access(effects, context, registers, number)? {
        0 => SystemRegister::Dr0,
        1 => SystemRegister::Dr1,
        2 => SystemRegister::Dr2,
        3 => SystemRegister::Dr3,
        _ if value >> 32 != 0 => return Err(Exception::PROTECTION),
        DR6 => SystemRegister::Dr6,
        _ => SystemRegister::Dr7,
    };
    effects.emit(MmuEffect::System(register, value));
    Ok(())
}

/// The register that is meant: DR4 and DR5 are DR6 and DR7 unless CR4.DE forbids it.
fn access(
    effects: &mut Effects<'_, Mmu>,
    context: &Context,
    registers: &Registers,
    number: u8,
) -> Result<u8, Exception> {
    let number = match number {
        0..=3 | DR6 | DR7 => number,
        4 | 5 if context.cr4 & CR4_DE == 0 => number + 2,
        _ => return Err(Exception::UNDEFINED),
    };
    let [.., dr6, dr7] = registers.debug;
    if dr7 & GD != 0 {
        // The handler may use them.
        effects.emit(MmuEffect::System(SystemRegister::Dr7, dr7 & !GD));
        effects.emit(MmuEffect::System(SystemRegister::Dr6, dr6 | BD));
        return Err(DEBUG);
    }
    Ok(number)
}
