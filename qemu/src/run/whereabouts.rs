//! Where the guest is, for someone who waits for it: what its CPU does, and what it asks that nobody is there to answer.

use atoll_protocol::control::{Activity, MachineRecord, Stray, VcpuRecord};

/// RFLAGS.IF and RFLAGS.VM.
const INTERRUPTS: u64 = 1 << 9;
const VIRTUAL: u64 = 1 << 17;
/// CR0.PE.
const PROTECTED: u64 = 1;
/// EFER.LMA.
const LONG: u64 = 1 << 10;
/// Of a code segment: it is 64-bit code; its operands are of 32 bits.
const CODE_64: u16 = 1 << 9;
const CODE_32: u16 = 1 << 10;

/// The mode that the CPU is in.
fn mode(vcpu: &VcpuRecord) -> &'static str {
    match vcpu {
        _ if vcpu.cr0 & PROTECTED == 0 => "real mode",
        _ if vcpu.efer & LONG != 0 && vcpu.code & CODE_64 != 0 => "64-bit mode",
        _ if vcpu.efer & LONG != 0 => "compatibility mode",
        _ if vcpu.rflags & VIRTUAL != 0 => "virtual-8086 mode",
        _ if vcpu.code & CODE_32 != 0 => "32-bit protected mode",
        _ => "16-bit protected mode",
    }
}

/// One line on where the guest is, and one on what it touches, if that is anything.
#[must_use]
pub fn text(machine: &MachineRecord) -> String {
    let mut text = place(&machine.vcpu);
    if !machine.running {
        text += "; it is held while a server is away";
    }
    let strays: Vec<String> = machine.strays.iter().filter_map(stray).collect();
    if !strays.is_empty() {
        text += "\nof what is nobody's it has touched most: ";
        text += &strays.join(", ");
    }
    text
}

fn place(vcpu: &VcpuRecord) -> String {
    let interrupts = if vcpu.rflags & INTERRUPTS == 0 {
        "off"
    } else {
        "on"
    };
    let place = format!(
        "rip {:#x}{} in {}, ring {}, interrupts {interrupts}",
        vcpu.rip,
        if vcpu.base == 0 || mode(vcpu) == "64-bit mode" {
            String::new()
        } else {
            format!(" (cs base {:#x})", vcpu.base)
        },
        mode(vcpu),
        vcpu.cpl
    );
    match vcpu.activity {
        Activity::Stopped => "the guest's CPU does not run, and has no state to tell of".into(),
        Activity::Running => format!("the guest runs at {place}"),
        Activity::Waiting => format!("the guest waits for a server at {place}"),
        Activity::Halted if vcpu.rflags & INTERRUPTS == 0 => {
            format!("the guest has halted for good at {place}: nothing but an NMI wakes it")
        }
        Activity::Halted => format!("the guest has halted at {place}: it waits for an interrupt"),
    }
}

fn stray(stray: &Stray) -> Option<String> {
    let what = if stray.memory { "address" } else { "port" };
    let times = match stray.count {
        0 => return None,
        1 => "once".to_owned(),
        count => format!("{count} times"),
    };
    Some(format!("{what} {:#x} ({times})", stray.address))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: VcpuRecord = VcpuRecord {
        activity: Activity::Running,
        rip: 0x7c00,
        base: 0,
        code: 0,
        cpl: 0,
        cr0: 0,
        efer: 0,
        rflags: 2,
    };

    #[test]
    fn each_mode_has_its_name() {
        let modes = [
            (0, 0, 0, 0, "real mode"),
            (1, 0, 0, 0, "16-bit protected mode"),
            (1, 0, CODE_32, 0, "32-bit protected mode"),
            (1, 0, 0, VIRTUAL, "virtual-8086 mode"),
            (1, LONG, CODE_32, 0, "compatibility mode"),
            (1, LONG, CODE_64, 0, "64-bit mode"),
        ];
        for (cr0, efer, code, rflags, name) in modes {
            let vcpu = VcpuRecord {
                cr0,
                efer,
                code,
                rflags,
                ..RUNNING
            };
            assert_eq!(mode(&vcpu), name);
        }
    }

    #[test]
    fn a_guest_that_nothing_wakes_is_said_to_have_halted_for_good() {
        let halted = |rflags| {
            place(&VcpuRecord {
                activity: Activity::Halted,
                rflags,
                ..RUNNING
            })
        };
        assert!(halted(2).contains("halted for good at rip 0x7c00 in real mode"));
        assert!(halted(2 | INTERRUPTS).contains("waits for an interrupt"));
    }

    #[test]
    fn what_is_nobodys_is_named_with_how_often_it_was_touched() {
        let mut machine = MachineRecord {
            running: true,
            vcpu: RUNNING,
            ..MachineRecord::default()
        };
        assert_eq!(text(&machine).lines().count(), 1);
        machine.strays[0] = Stray {
            memory: true,
            address: 0xb8000,
            count: 7,
        };
        machine.strays[1] = Stray {
            memory: false,
            address: 0x61,
            count: 1,
        };
        let told = text(&machine);
        assert!(
            told.ends_with("address 0xb8000 (7 times), port 0x61 (once)"),
            "{told}"
        );
    }
}
