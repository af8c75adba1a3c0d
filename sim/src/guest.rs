//! What the guest and the outside world do.

use atoll_core::vcpu::Stand;
use atoll_core::vcpu::vmcb::exit;
use atoll_protocol::units::HostIrq;

use crate::cast::ENTRY;
use crate::dice::Dice;
use crate::lockstep::Kernel;

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The guest takes an exit: code, information, and the instruction's bytes.
    Exit {
        /// The exit code.
        code: u32,
        /// EXITINFO1 and EXITINFO2.
        info: [u64; 2],
        /// RAX, RCX, RDX.
        registers: [u64; 3],
        /// The instruction.
        bytes: Vec<u8>,
    },
    /// Time passes; the timer fires if it is due.
    Time(u64),
    /// Bytes arrive at a serial port of the host.
    Input(usize, Vec<u8>),
}

/// Ports that the guest uses, each with values that make a difference.
const WRITES: [(u16, u32); 24] = [
    (0x3f8, 0x41),
    (0x3f8, 0x42),
    (0x3f9, 0x0f),
    (0x3f9, 0x01),
    (0x3fa, 0x07),
    (0x3fb, 0x03),
    (0x3fc, 0x0b),
    (0x3ff, 0x55),
    (0x43, 0x34),
    (0x40, 0xa9),
    (0x40, 0x04),
    (0x43, 0x00),
    (0x61, 0x01),
    (0x20, 0x20),
    (0x21, 0x00),
    (0x21, 0xff),
    (0xa0, 0x20),
    (0xa1, 0x00),
    (0x70, 0x0a),
    (0x70, 0x0b),
    (0x71, 0x42),
    (0x71, 0x02),
    (0x600, 0x01),
    (0x602, 0x01),
];
const READS: [u16; 12] = [0x3f8, 0x3fa, 0x3fd, 0x3fe, 0x40, 0x61, 0x20, 0x21, 0xa1, 0x71, 0x608, 0x600];
const MSRS: [u32; 10] = [0x10, 0x1b, 0x277, 0x6e0, 0x802, 0x808, 0x80b, 0xc000_0080, 0x4b56_4d01, 0x2ff];
/// Device addresses: the local APIC's registers, and the IOAPIC's.
const DEVICES: [u32; 10] = [
    0xfee0_0020,
    0xfee0_0080,
    0xfee0_00b0,
    0xfee0_00f0,
    0xfee0_0320,
    0xfee0_0380,
    0xfee0_0390,
    0xfee0_03e0,
    0xfec0_0000,
    0xfec0_0010,
];

/// The next thing to happen.
pub fn next(dice: &mut Dice) -> Happening {
    let value = dice.any();
    let port = |number: u16, read: bool| u64::from(number) << 16 | 1 << 4 | u64::from(read);
    let exit = |code: u32, info: [u64; 2], registers: [u64; 3], bytes: &[u8]| Happening::Exit {
        code,
        info,
        registers,
        bytes: bytes.to_vec(),
    };
    match dice.below(20) {
        0 => exit(exit::CPUID, [0; 2], [dice.pick(&[0, 1, 7, 0xd, 0x4000_0000, 0x8000_0001]), 0, 0], &[0x0f, 0xa2]),
        1 | 2 => exit(exit::MSR, [0; 2], [0, u64::from(dice.pick(&MSRS)), 0], &[0x0f, 0x32]),
        3 | 4 => {
            let (index, value) = dice.pick(&[
                (0x6e0, value % 50_000_000),
                (0x277, 0x0007_0406_0007_0406),
                (0x80b, 0),
                (0x808, value % 256),
                (0x4b56_4d01, 0x8001),
                (0x10, value % 1_000_000),
                (0xc000_0080, 0x100),
                (0x2ff, 0xc00),
            ]);
            exit(exit::MSR, [1, 0], [value & 0xffff_ffff, index, value >> 32], &[0x0f, 0x30])
        }
        5..8 => {
            let (number, value) = dice.pick(&WRITES);
            exit(exit::IOIO, [port(number, false), ENTRY + 1], [u64::from(value), 0, u64::from(number)], &[0xee])
        }
        8 | 9 => {
            let number = dice.pick(&READS);
            exit(exit::IOIO, [port(number, true), ENTRY + 1], [0, 0, u64::from(number)], &[0xec])
        }
        10 => exit(exit::VMMCALL, [0; 2], [dice.below(12), 0, 0], &[0x0f, 0x01, 0xd9]),
        11 => exit(exit::NESTED_FAULT, [6, value % (8 << 20)], [0; 3], &[0x90]),
        // mov eax, [address] and mov [address], eax, and read-modify-write.
        12..15 => {
            let address = dice.pick(&DEVICES);
            let (opcode, error): (&[u8], u64) = dice.pick(&[(&[0xa1], 4), (&[0xa3], 6), (&[0x09, 0x05], 6)]);
            let bytes = [opcode, &address.to_le_bytes()].concat();
            exit(exit::NESTED_FAULT, [error, u64::from(address)], [dice.pick(&[0, 0x1ff, 0x20030, 1000]), 0, 0], &bytes)
        }
        // outsb and insb at the serial port, one element.
        15 => {
            let read = value & 1;
            let info = u64::from(0x3ff_u16) << 16 | 1 << 4 | 1 << 9 | 4 | read;
            exit(exit::IOIO, [info, ENTRY + 1], [0, 0, 0x3ff], &[if read == 1 { 0x6c } else { 0x6e }])
        }
        16 | 17 => Happening::Time(dice.below(3_000_000)),
        18 => Happening::Input(0, vec![value as u8; 1 + dice.below(3) as usize]),
        _ => Happening::Input(1, vec![value as u8; 1 + dice.below(4) as usize]),
    }
}

/// Puts the guest right behind an exit.
pub fn set(kernel: &mut Kernel, code: u32, info: [u64; 2], registers: [u64; 3], bytes: &[u8]) {
    let vcpu = &mut kernel.state.vcpu;
    vcpu.stand = Stand::Runnable;
    let control = &mut vcpu.vmcb.control;
    (control.exit_code, control.exit_info1, control.exit_info2) = (u64::from(code), info[0], info[1]);
    vcpu.vmcb.save.rip = ENTRY;
    for (number, value) in [0, 1, 2].into_iter().zip(registers) {
        vcpu.set_register(number, value);
    }
    vcpu.set_register(6, 0x2000);
    vcpu.set_register(7, 0x3000);
    kernel.state.machine.poke(ENTRY, bytes);
}

/// The interrupt of a serial port of the host.
#[must_use]
pub fn irq_of(port: usize) -> HostIrq {
    HostIrq(if port == 0 { 4 } else { 3 })
}
