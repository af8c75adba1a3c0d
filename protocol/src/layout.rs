//! A server's address space, as the kernel lays it out and the SDK relies on it.
//!
//! Everything below 2 GiB fits a sign-extended 32-bit immediate, so that reaching a page costs no extra instruction. Pages that are not
//! named here are not mapped: the stack, the vault and the two pages of the conversation each have unmapped neighbours.

/// Where images are linked.
pub const IMAGE: u64 = 0x0040_0000;
/// End (exclusive) of what a segment may cover.
pub const IMAGE_END: u64 = 0x4000_0000;
/// The message page: read-only to the server.
pub const MESSAGE: u64 = 0x7000_0000;
/// The answer page: read-write.
pub const ANSWER: u64 = 0x7000_2000;
/// The code of an injected fault, read-execute: only in a kernel that was built to inject faults.
pub const SABOTAGE: u64 = 0x7000_4000;
/// The vault's working copy: read-write.
pub const VAULT: u64 = 0x7010_0000;
/// Most bytes of a vault.
pub const VAULT_MAX: u64 = 0x4_0000;
/// First byte above the stack, which grows down; below it is a guard page.
pub const STACK_TOP: u64 = 0x7020_0000;
/// Most pages of a stack.
pub const STACK_MAX_PAGES: u64 = 64;
/// The bundle, read-only, for those who have the grant.
pub const BUNDLE: u64 = 0x1000_0000_0000;
/// Guest memory, read-only, for those who have the grant: [`ram_offset`] says where an address is in it.
pub const GUEST: u64 = 0x2000_0000_0000;

/// Where QEMU has four small modules of memory beside the host's: QEMU adds bits 33 and 32 of RCX, as so many GiB, to the address at which
/// it looks an MSR up in the permission map. So there is a map in each.
pub const MSR_MAPS: [u64; 4] = [
    0x40_0000_0000,
    0x40_4000_0000,
    0x40_8000_0000,
    0x40_c000_0000,
];
/// Bytes of each.
pub const MSR_MAP_SIZE: u64 = 2 << 20;

/// Guest RAM above this guest-physical address continues at 4 GiB: the gap belongs to devices.
pub const GAP_START: u64 = 0xc000_0000;
/// End of the devices' gap.
pub const GAP_END: u64 = 0x1_0000_0000;
/// RAM, and with it the gap, begins and ends at multiples of this: the largest page that a mapping has.
pub const RAM_UNIT: u64 = 2 << 20;
const _: () = assert!(GAP_START.is_multiple_of(RAM_UNIT) && GAP_END.is_multiple_of(RAM_UNIT));

/// Where `gpa` lies in a guest's RAM of `memory` bytes, if it is RAM at all.
#[inline(always)]
#[must_use]
pub const fn ram_offset(memory: u64, gpa: u64) -> Option<u64> {
    if gpa < GAP_START {
        if gpa < memory { Some(gpa) } else { None }
    } else if gpa >= GAP_END {
        let offset = gpa - GAP_END + GAP_START;
        if offset >= GAP_START && offset < memory {
            Some(offset)
        } else {
            None
        }
    } else {
        None
    }
}
