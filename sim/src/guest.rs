//! What the guest and the outside world do.

use atoll_core::vcpu::Stand;
use atoll_core::vcpu::vmcb::{exit, intercept, vintr};
use atoll_protocol::control::Ask;
use atoll_protocol::order::Order;
use atoll_protocol::units::{HostIrq, ServerId};

use crate::Kernel;
use crate::cast::ENTRY;
use crate::dice::Dice;

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The guest takes an exit.
    Exit(Exit),
    /// Time passes; the timer fires if it is due.
    Time(u64),
    /// Bytes arrive at a serial port of the host.
    Input(usize, Vec<u8>),
    /// The supervisor is told to ask the console whether all is written.
    Flush,
}

/// An exit of the guest's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// The exit's code.
    pub code: u32,
    /// EXITINFO1 and EXITINFO2.
    pub info: [u64; 2],
    /// RAX, RCX, RDX.
    pub registers: [u64; 3],
    /// RSI; 0 is some place in memory.
    pub source: u64,
    /// The instruction.
    pub bytes: Vec<u8>,
    /// Whether the guest runs with paging, with tables in which nothing was accessed yet.
    pub paging: bool,
}

/// Ports that the guest uses, each with values that make a difference.
const WRITES: [(u16, u32); 28] = [
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
    (0x43, 0x30),
    (0x61, 0x01),
    (0x20, 0x20),
    (0x21, 0x00),
    (0x21, 0xff),
    (0xa0, 0x20),
    (0xa1, 0x00),
    (0x70, 0x0a),
    (0x70, 0x0b),
    (0x70, 0x0c),
    (0x71, 0x42),
    (0x71, 0x26),
    (0x71, 0x02),
    (0x600, 0x01),
    (0x602, 0x01),
    (0x602, 0x00),
];
const READS: [u16; 12] = [
    0x3f8, 0x3fa, 0x3fd, 0x3fe, 0x40, 0x61, 0x20, 0x21, 0xa1, 0x71, 0x608, 0x600,
];
const MSRS: [u32; 10] = [
    0x10,
    0x1b,
    0x277,
    0x6e0,
    0x802,
    0x808,
    0x80b,
    0xc000_0080,
    0x4b56_4d01,
    0x2ff,
];
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
/// What an operating system stores there, so that timers tick and lines arrive: the spurious vector, the timer's vector in each of its
/// modes, its count; ends of interrupts; pins of the IOAPIC with a vector each.
const STORES: [(u32, u64); 14] = [
    (0xfee0_00f0, 0x1ff),
    (0xfee0_0320, 0x4_0051),
    (0xfee0_0320, 0x2_0052),
    (0xfee0_0320, 0x0_0053),
    (0xfee0_03e0, 0xb),
    (0xfee0_0380, 50_000),
    (0xfee0_0380, 1_000_000),
    (0xfee0_0080, 0),
    (0xfee0_00b0, 0),
    (0xfee0_00b0, 0),
    (0xfec0_0000, 0x14),
    (0xfec0_0010, 0x61),
    (0xfec0_0000, 0x18),
    (0xfec0_0010, 0x71),
];
/// Servers that somebody kills over the control line.
const KILLED: [u8; 4] = [1, 5, 6, 9];
/// A slot without a server: its dump is empty, now and always.
const NOBODY: u8 = 31;

/// Kinds of happenings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// CPUID.
    Cpuid,
    /// RDMSR.
    MsrRead,
    /// WRMSR.
    MsrWrite,
    /// OUT.
    PortWrite,
    /// IN.
    PortRead,
    /// VMMCALL.
    Hypercall,
    /// Memory that is not mapped yet.
    Memory,
    /// An access to a device's memory.
    Device,
    /// A store to a local APIC or IOAPIC that leads to interrupts.
    Interrupts,
    /// Loads, stores and read-modify-writes, and INS and OUTS, with paging.
    Paged,
    /// MOVS from a device to memory.
    Moved,
    /// An instruction that nobody emulates, or an MSR that nobody knows.
    Unknown,
    /// INS and OUTS.
    Strings,
    /// Time.
    Time,
    /// Input for the guest.
    Input,
    /// A question of the host tool.
    Ask,
    /// The question whether all is written.
    Flush,
}

impl Class {
    /// All of them, each with how often it happens if nothing else is wanted.
    pub const ALL: [(Class, u32); 17] = [
        (Class::Cpuid, 5),
        (Class::MsrRead, 10),
        (Class::MsrWrite, 10),
        (Class::PortWrite, 15),
        (Class::PortRead, 10),
        (Class::Hypercall, 5),
        (Class::Memory, 5),
        (Class::Device, 15),
        (Class::Interrupts, 10),
        (Class::Paged, 3),
        (Class::Moved, 3),
        (Class::Unknown, 2),
        (Class::Strings, 5),
        (Class::Time, 10),
        (Class::Input, 5),
        (Class::Ask, 4),
        (Class::Flush, 1),
    ];

    fn index(self) -> usize {
        self as usize
    }
}

/// How often each class happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights([u32; Class::ALL.len()]);

impl Default for Weights {
    fn default() -> Self {
        Self(Class::ALL.map(|(_, weight)| weight))
    }
}

impl Weights {
    /// Lets a class happen more often.
    pub fn add(&mut self, class: Class, weight: u32) {
        self.0[class.index()] += weight;
    }

    fn draw(&self, dice: &mut Dice) -> Class {
        let mut left = dice.below(self.0.iter().map(|weight| u64::from(*weight)).sum());
        for ((class, _), weight) in Class::ALL.iter().zip(self.0) {
            match left.checked_sub(u64::from(weight)) {
                Some(rest) => left = rest,
                None => return *class,
            }
        }
        Class::Time
    }
}

/// The next thing to happen.
pub fn next(dice: &mut Dice, weights: &Weights) -> (Class, Happening) {
    let class = weights.draw(dice);
    (class, draw(class, dice))
}

fn port(number: u16, read: bool) -> u64 {
    u64::from(number) << 16 | 1 << 4 | u64::from(read)
}

fn taken(code: u32, info: [u64; 2], registers: [u64; 3], bytes: &[u8]) -> Happening {
    Happening::Exit(Exit {
        code,
        info,
        registers,
        bytes: bytes.to_vec(),
        ..Exit::default()
    })
}

fn draw(class: Class, dice: &mut Dice) -> Happening {
    let value = dice.any();
    match class {
        Class::Cpuid => taken(
            exit::CPUID,
            [0; 2],
            [dice.pick(&[0, 1, 7, 0xd, 0x4000_0000, 0x8000_0001]), 0, 0],
            &[0x0f, 0xa2],
        ),
        Class::MsrRead => taken(
            exit::MSR,
            [0; 2],
            [0, u64::from(dice.pick(&MSRS)), 0],
            &[0x0f, 0x32],
        ),
        Class::MsrWrite => {
            let (index, value) = dice.pick(&[
                (0x6e0, value % 50_000_000),
                (0x6e0, value % 5_000_000),
                (0x277, 0x0007_0406_0007_0406),
                (0x80b, 0),
                (0x808, value % 256),
                (0x4b56_4d01, 0x8001),
                (0x10, value % 1_000_000),
                (0xc000_0080, 0x100),
                (0x2ff, 0xc00),
            ]);
            taken(
                exit::MSR,
                [1, 0],
                [value & 0xffff_ffff, index, value >> 32],
                &[0x0f, 0x30],
            )
        }
        Class::PortWrite => {
            let (number, value) = dice.pick(&WRITES);
            taken(
                exit::IOIO,
                [port(number, false), ENTRY + 1],
                [u64::from(value), 0, u64::from(number)],
                &[0xee],
            )
        }
        Class::PortRead => {
            let number = dice.pick(&READS);
            taken(
                exit::IOIO,
                [port(number, true), ENTRY + 1],
                [0, 0, u64::from(number)],
                &[0xec],
            )
        }
        Class::Hypercall => taken(
            exit::VMMCALL,
            [0; 2],
            [dice.below(12), 0, 0],
            &[0x0f, 0x01, 0xd9],
        ),
        Class::Memory => taken(exit::NESTED_FAULT, [6, value % (8 << 20)], [0; 3], &[0x90]),
        Class::Device => Happening::Exit(device(dice)),
        Class::Interrupts => Happening::Exit(store(dice.pick(&STORES))),
        Class::Paged => Happening::Exit(Exit {
            paging: true,
            ..if value & 1 == 0 {
                device(dice)
            } else {
                strings(value)
            }
        }),
        Class::Moved => {
            // movsd from a device, to a page that was not written yet.
            let (paging, source) = (value & 3 != 0, u64::from(dice.pick(&DEVICES)));
            let code = exit::NESTED_FAULT;
            Happening::Exit(Exit {
                code,
                info: [4, source],
                bytes: vec![0xa5],
                source,
                paging,
                ..Exit::default()
            })
        }
        Class::Unknown if value & 1 == 0 => taken(
            exit::MSR,
            [0; 2],
            [0, 0x1234_0000 + value % 64, 0],
            &[0x0f, 0x32],
        ),
        Class::Unknown => {
            // fld dword [address]: no device is read like that.
            let address = dice.pick(&DEVICES);
            taken(
                exit::NESTED_FAULT,
                [4, u64::from(address)],
                [0; 3],
                &[&[0xd9, 0x05][..], &address.to_le_bytes()].concat(),
            )
        }
        Class::Strings => Happening::Exit(strings(value)),
        Class::Time => Happening::Time(dice.below(3_000_000)),
        Class::Input => Happening::Input(0, vec![value as u8; 1 + dice.below(3) as usize]),
        Class::Ask => Happening::Input(1, ask(value, dice)),
        Class::Flush => Happening::Flush,
    }
}

/// `mov eax, [address]`; `mov [address], eax`; and read-modify-write.
fn device(dice: &mut Dice) -> Exit {
    let address = dice.pick(&DEVICES);
    let (opcode, error): (&[u8], u64) =
        dice.pick(&[(&[0xa1], 4), (&[0xa3], 6), (&[0x09, 0x05], 6)]);
    let bytes = [opcode, &address.to_le_bytes()].concat();
    let registers = [dice.pick(&[0, 0x1ff, 0x20030, 1000]), 0, 0];
    Exit {
        code: exit::NESTED_FAULT,
        info: [error, u64::from(address)],
        registers,
        bytes,
        ..Exit::default()
    }
}

/// outsb and insb at the serial port, one element, or three.
fn strings(value: u64) -> Exit {
    let (read, repeated) = (value >> 1 & 1, value >> 2 & 1);
    let info = u64::from(0x3ff_u16) << 16 | 1 << 4 | 1 << 9 | 4 | read | repeated << 3;
    let opcode = if read == 1 { 0x6c } else { 0x6e };
    let bytes = if repeated == 1 {
        vec![0xf3, opcode]
    } else {
        vec![opcode]
    };
    let next = ENTRY + bytes.len() as u64;
    Exit {
        code: exit::IOIO,
        info: [info, next],
        registers: [0, 3, 0x3ff],
        bytes,
        ..Exit::default()
    }
}

/// `mov [address], eax`.
fn store((address, value): (u32, u64)) -> Exit {
    let bytes = [&[0xa3][..], &address.to_le_bytes()].concat();
    Exit {
        code: exit::NESTED_FAULT,
        info: [6, u64::from(address)],
        registers: [value, 0, 0],
        bytes,
        ..Exit::default()
    }
}

/// A question whose answer does not depend on what was counted on the way to it; or noise.
fn ask(value: u64, dice: &mut Dice) -> Vec<u8> {
    let ask = match value % 8 {
        0 | 1 => Ask::Ping(dice.any() as u32),
        2..5 => Ask::Dump(NOBODY),
        5 | 6 => Ask::Order(Order::Kill(ServerId::nth(dice.pick(&KILLED)))),
        _ => return vec![value as u8; 1 + dice.below(4) as usize],
    };
    // What noise has begun ends with a zero byte.
    [
        vec![0],
        postcard::to_allocvec_cobs(&ask).expect("a question that can be encoded"),
    ]
    .concat()
}

/// The power is switched off.
#[must_use]
pub fn power_off() -> Happening {
    taken(
        exit::IOIO,
        [u64::from(0x604_u16) << 16 | 2 << 4, ENTRY + 1],
        [0x2000, 0, 0x604],
        &[0xef],
    )
}

const CR0_PAGING: u64 = 1 << 31;
const CR4_LARGE_PAGES: u64 = 1 << 4;
/// Where the guest's page directory is.
const DIRECTORY: u64 = 0x4000;
/// Present, writable, a user's, 4 MiB.
const LARGE_PAGE: u32 = 0x87;

/// Puts the guest right behind an exit.
pub fn set(kernel: &mut Kernel, taken: &Exit) {
    let vcpu = &mut kernel.state.vcpu;
    vcpu.stand = Stand::Runnable;
    let control = &mut vcpu.vmcb.control;
    // The guest has run, with interrupts on: it has taken what was offered, if no window was to be opened for it.
    if control.intercepts1 & intercept::VINTR == 0 {
        control.vintr &= !vintr::IRQ;
    }
    (control.exit_code, control.exit_info1, control.exit_info2) =
        (u64::from(taken.code), taken.info[0], taken.info[1]);
    vcpu.vmcb.save.rip = ENTRY;
    let (cr0, cr3, cr4) = if taken.paging {
        (CR0_PAGING | 1, DIRECTORY, CR4_LARGE_PAGES)
    } else {
        (1, 0, 0)
    };
    if (vcpu.cr0(), vcpu.vmcb.save.cr4) != (cr0, cr4) {
        vcpu.set_mode(cr0, cr4, 0);
    }
    vcpu.vmcb.save.cr3 = cr3;
    for (number, value) in [0, 1, 2].into_iter().zip(taken.registers) {
        vcpu.set_register(number, value);
    }
    vcpu.set_register(
        6,
        if taken.source == 0 {
            0x2000
        } else {
            taken.source
        },
    );
    vcpu.set_register(7, 0x3000);
    let machine = &mut kernel.state.machine;
    machine.poke(ENTRY, &taken.bytes);
    if taken.paging {
        for place in [0, 1, 0x3fb] {
            machine.poke(
                DIRECTORY + u64::from(place) * 4,
                &(place << 22 | LARGE_PAGE).to_le_bytes(),
            );
        }
    }
}

/// The guest is left for an interrupt of the host, in front of the same instruction.
#[must_use]
pub fn interrupted(taken: &Exit) -> Exit {
    Exit {
        code: exit::INTR,
        info: [0; 2],
        ..taken.clone()
    }
}

/// The interrupt of a serial port of the host.
#[must_use]
pub fn irq_of(port: usize) -> HostIrq {
    HostIrq::nth(if port == 0 { 4 } else { 3 })
}
