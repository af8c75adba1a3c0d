//! The permission maps (APM vol. 2 §15.10.1, §15.11): every port exits; every MSR exits but those that VMRUN, VMLOAD and VMSAVE switch.

use super::enable::physical;

/// Two bits per MSR, read and write, for three ranges of 8,192.
#[repr(C, align(4096))]
struct MsrMap([u8; 0x2000]);

/// One bit per port, and three more for accesses that begin at the last.
#[repr(C, align(4096))]
struct PortMap([u8; 0x3000]);

/// MSRs that the guest reads and writes without an exit: they are in the VMCB's save area, or the host does not use them (TSC_AUX).
const DIRECT: [u32; 11] = [
    0x174,
    0x175,
    0x176, // SYSENTER_CS, _ESP, _EIP
    0xc000_0081,
    0xc000_0082,
    0xc000_0083,
    0xc000_0084, // STAR, LSTAR, CSTAR, SFMASK
    0xc000_0100,
    0xc000_0101,
    0xc000_0102, // FS.base, GS.base, KernelGSBase
    0xc000_0103, // TSC_AUX
];

static MSRS: MsrMap = MsrMap(msr_map());
static PORTS: PortMap = PortMap([0xff; 0x3000]);

const fn msr_map() -> [u8; 0x2000] {
    let mut map = [0xff; 0x2000];
    let mut next = 0;
    while next < DIRECT.len() {
        let msr = DIRECT[next];
        let base = if msr < 0x2000 { 0 } else { 0x800 };
        let place = base + (msr & 0x1fff) as usize / 4;
        map[place] &= !(3 << (msr % 4 * 2));
        next += 1;
    }
    map
}

/// Physical address of the MSR map.
pub(super) fn msrs() -> u64 {
    physical(&raw const MSRS)
}

/// Physical address of the port map.
pub(super) fn ports() -> u64 {
    physical(&raw const PORTS)
}
