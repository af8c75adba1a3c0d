//! The permission maps (APM vol. 2 §15.10.1, §15.11): every port exits; every MSR exits but those that VMRUN, VMLOAD and VMSAVE switch.

use atoll_core::quirks::Quirks;
use atoll_protocol::layout::MSR_MAPS;
use atoll_protocol::units::Hpa;

use crate::memory::direct;
use crate::memory::layout::image_address;

/// Two bits per MSR, read and write, for three ranges of 8,192.
#[repr(C, align(4096))]
struct MsrMap([u8; 0x2000]);

/// One bit per port, and three more for accesses that begin at the last.
#[repr(C, align(4096))]
pub(super) struct PortMap([u8; 0x3000]);

/// MSRs that the guest reads and writes without an exit: they are in the VMCB's save area, or the host does not use them (TSC_AUX).
const DIRECT: [(u32, u32); 3] = [
    (0x174, 0x176),             // SYSENTER_CS, _ESP, _EIP
    (0xc000_0081, 0xc000_0084), // STAR, LSTAR, CSTAR, SFMASK
    (0xc000_0100, 0xc000_0103), // FS.base, GS.base, KernelGSBase, TSC_AUX
];

/// Of MSRs.
static MSRS: MsrMap = MsrMap(msr_map());
/// Of ports.
pub(super) static PORTS: PortMap = PortMap([0xff; 0x3000]);

/// Where the map of MSRs is. TCG looks an MSR of the first range up 1, 2 or 3 GiB further on where bits 33 and 32 of RCX say so, which a
/// processor ignores: so it finds the same there. The host's tool sees to it that there is memory.
pub(super) fn msrs(quirks: Quirks) -> Hpa {
    if quirks.looks_up_wide_msrs {
        if MSR_MAPS.into_iter().all(|at| copy(Hpa(at))) {
            return Hpa(MSR_MAPS[0]);
        }
        crate::log!(
            "warning: no memory at {:#x}: RCX above 32 bits leads past the permission map of MSRs",
            MSR_MAPS[0]
        );
    }
    image_address(&raw const MSRS)
}

/// Makes one more map; false if there is no memory.
fn copy(to: Hpa) -> bool {
    let map = direct::pointer::<MsrMap>(to);
    // SAFETY: under TCG the direct map covers the address; memory that is there is for this alone, and without any a write is lost.
    unsafe { map.write_volatile(MsrMap(MSRS.0)) };
    // SAFETY: as above; without memory zeros are read.
    unsafe { map.read_volatile() }.0 == MSRS.0
}

const fn msr_map() -> [u8; 0x2000] {
    let mut map = [0xff; 0x2000];
    let mut range = 0;
    while range < DIRECT.len() {
        let (mut msr, last) = DIRECT[range];
        while msr <= last {
            let base = if msr < 0x2000 { 0 } else { 0x800 };
            map[base + (msr & 0x1fff) as usize / 4] &= !(3 << (msr % 4 * 2));
            msr += 1;
        }
        range += 1;
    }
    map
}
