//! A #VMEXIT becomes a ticket and a message for the server whose route names it. What is the kernel's own is done here: HLT, windows,
//! host interrupts, single steps, and everything that is nobody's.

use atoll_protocol::effect::Signal;
use atoll_protocol::message::{CpuidExit, HypercallExit, MsrExit, PortExit, Stop};
use atoll_protocol::units::{LineId, ServerId, TicketId, Ticks};
use atoll_protocol::vcpu::Exception;
use atoll_protocol::wire::{self, tag};

use crate::delivery::{Due, Step};
use crate::machine::{Machine, Pages};
use crate::statistics::Kind;
use crate::ticket::{Operation, VCPU};
use crate::vcpu::Stand;
use crate::vcpu::skip::Opcode;
use crate::vcpu::vmcb::{exit, intercept};
use crate::{Kernel, State};
use atoll_protocol::cause::{Cause, What};

/// MSRs whose value the vCPU record holds.
const MSR_TSC: u32 = 0x10;
const MSR_PAT: u32 = 0x277;
const MSR_EFER: u32 = 0xc000_0080;
/// MOV to a control register.
const MOV_TO_CR: [u8; 2] = [0x0f, 0x22];
/// The line of the x87 unit's FERR#.
const X87_LINE: LineId = LineId::nth(13);

impl<M: Machine> Kernel<M> {
    /// Handles the exit that the vCPU has just taken. True if it was for a host interrupt, which is still to be let in.
    #[inline(always)]
    pub fn exited(&mut self) -> bool {
        let state = &mut self.state;
        state.statistics.exits = state.statistics.exits.wrapping_add(1);
        if state.vcpu.vmcb.control.tlb_control != 0 {
            state.flushed();
        }
        let accepted = state.vcpu.note_exit();
        let now = state.machine.now();
        if accepted && self.accepted(now) {
            return false;
        }
        let state = &mut self.state;
        let due = match state.vcpu.vmcb.control.exit_code as u32 {
            exit::CPUID => {
                state.statistics.switch(now, Kind::Cpuid);
                self.cpuid(now)
            }
            exit::MSR => {
                let write = state.vcpu.vmcb.control.exit_info1 & 1 != 0;
                state
                    .statistics
                    .switch(now, if write { Kind::MsrWrite } else { Kind::MsrRead });
                self.msr(now, write)
            }
            exit::IOIO => {
                let info = state.vcpu.vmcb.control.exit_info1;
                let kind = if info & 1 != 0 {
                    Kind::PortIn
                } else {
                    Kind::PortOut
                };
                state
                    .statistics
                    .switch(now, if info & 4 != 0 { Kind::StringIo } else { kind });
                self.port(now, info)
            }
            exit::NESTED_FAULT => {
                state.statistics.switch(now, Kind::Map);
                self.nested_fault(now)
            }
            code => {
                self.other(now, code);
                return code == exit::INTR;
            }
        };
        if let Some(due) = due {
            let step = self.activate_here(due);
            if step != Step::Committed {
                self.go_on(due.ticket, step);
            }
        }
        false
    }

    /// A vector was accepted of which the irqchip must hear ahead of everything else: at once, if that is all that the exit was for (then it
    /// is done, and this true), else with the next message.
    #[inline(never)]
    fn accepted(&mut self, now: Ticks) -> bool {
        let control = &self.state.vcpu.vmcb.control;
        // An IRET that is intercepted still is one for which an NMI waits.
        if control.exit_code as u32 != exit::IRET || control.intercepts1 & intercept::IRET != 0 {
            if let Some(irqchip) = self.state.routes.lines {
                self.state.post(irqchip, |mailbox| mailbox.accepted = true);
            }
            return false;
        }
        self.state.statistics.switch(now, Kind::Window);
        if let Some(irqchip) = self.state.routes.lines {
            let header = self.state.header(irqchip, TicketId(0), now);
            let length = wire::accepted(self.pages.message(irqchip), &header).unwrap_or(0);
            let due = Due {
                to: irqchip,
                ticket: TicketId(0),
                length,
                now,
                cause: Cause(What::Accepted, 0),
            };
            if self.activate_here(due) != Step::Committed {
                self.state.post(irqchip, |mailbox| mailbox.accepted = true);
            }
        }
        true
    }

    /// An exit that takes no server, or is not so frequent.
    #[inline(never)]
    fn other(&mut self, now: Ticks, code: u32) {
        let state = &mut self.state;
        match code {
            exit::VMMCALL => {
                state.statistics.switch(now, Kind::Hypercall);
                if let Some(due) = self.hypercall(now) {
                    self.activate(due);
                }
            }
            exit::INTR => state.statistics.switch(now, Kind::Interrupt),
            exit::VINTR => state.statistics.switch(now, Kind::Window),
            exit::HLT => {
                state.statistics.switch(now, Kind::Hlt);
                if let Some(next) = state.vcpu.behind(&state.machine, Opcode::Hlt) {
                    state.vcpu.advance(next);
                    state.vcpu.stand = Stand::Halted;
                }
            }
            code => {
                state.statistics.switch(now, Kind::Event);
                self.rare(code);
            }
        }
    }

    #[inline(always)]
    fn cpuid(&mut self, now: Ticks) -> Option<Due> {
        let state = &mut self.state;
        let next = state.vcpu.behind(&state.machine, Opcode::Cpuid)?;
        let leaf = state.vcpu.register(0) as u32;
        let subleaf = state.vcpu.register(1) as u32;
        let Some(server) = state.routes.cpuid else {
            return self.nobody_answers();
        };
        let ticket = state.open(Operation::Cpuid, server, next);
        let host = state.machine.cpuid(leaf, subleaf);
        let exit = CpuidExit {
            leaf,
            subleaf,
            host,
            cr4: state.vcpu.vmcb.save.cr4 | state.vcpu.system.apic,
        };
        Some(self.write_exit(
            server,
            ticket,
            now,
            Cause(What::Cpuid, u64::from(leaf)),
            tag::CPUID,
            &exit,
        ))
    }

    #[inline(always)]
    fn msr(&mut self, now: Ticks, write: bool) -> Option<Due> {
        let state = &mut self.state;
        let opcode = if write { Opcode::Wrmsr } else { Opcode::Rdmsr };
        let next = state.vcpu.behind(&state.machine, opcode)?;
        let index = state.vcpu.register(1) as u32;
        let Some(server) = state.routes.msr(index) else {
            return self.nobody_answers();
        };
        let (held, cr0) = match index {
            MSR_EFER => (state.vcpu.efer(), state.vcpu.cr0()),
            MSR_PAT => (state.vcpu.vmcb.save.pat, 0),
            MSR_TSC => (
                state
                    .machine
                    .now()
                    .0
                    .wrapping_add(state.vcpu.vmcb.control.tsc_offset),
                0,
            ),
            _ => (0, 0),
        };
        let vcpu = &state.vcpu;
        let value = if write {
            vcpu.register(2) << 32 | vcpu.register(0) & 0xffff_ffff
        } else {
            0
        };
        let exit = MsrExit {
            index,
            reserved: 0,
            value,
            held,
            cr0,
        };
        let (operation, what, tag) = if write {
            (Operation::MsrWrite, What::Wrmsr, tag::MSR_WRITE)
        } else {
            (Operation::MsrRead, What::Rdmsr, tag::MSR_READ)
        };
        let ticket = state.open(operation, server, next);
        Some(self.write_exit(
            server,
            ticket,
            now,
            Cause(what, u64::from(index)),
            tag,
            &exit,
        ))
    }

    #[inline(always)]
    fn port(&mut self, now: Ticks, info: u64) -> Option<Due> {
        if info & 4 != 0 {
            self.emulate();
            return None;
        }
        let state = &mut self.state;
        let next = state.vcpu.vmcb.control.exit_info2;
        let port = (info >> 16) as u16;
        let size = (info >> 4 & 7) as u8;
        let read = info & 1 != 0;
        let Some(server) = state.routes.port(port) else {
            state.stray_port(port, read, size, next);
            return None;
        };
        let (operation, what, tag) = if read {
            (Operation::PortRead, What::PortIn, tag::PORT_READ)
        } else {
            (Operation::PortWrite, What::PortOut, tag::PORT_WRITE)
        };
        let value = if read {
            0
        } else {
            state.vcpu.register(0) as u32 & mask(size) as u32
        };
        let ticket = state.open(operation, server, next);
        state.tickets.vcpu_slot().forward.size = size;
        let exit = PortExit {
            port,
            size,
            reserved: 0,
            value,
            count: 1,
        };
        Some(self.write_exit(
            server,
            ticket,
            now,
            Cause(what, u64::from(port)),
            tag,
            &exit,
        ))
    }

    fn hypercall(&mut self, now: Ticks) -> Option<Due> {
        let state = &mut self.state;
        let next = state.vcpu.behind(&state.machine, Opcode::Vmmcall)?;
        let Some(server) = state.routes.hypercall else {
            return self.nobody_answers();
        };
        let ticket = state.open(Operation::Hypercall, server, next);
        let vcpu = &state.vcpu;
        let arguments = [
            vcpu.register(3),
            vcpu.register(1),
            vcpu.register(2),
            vcpu.register(6),
        ];
        let exit = HypercallExit {
            number: vcpu.register(0),
            arguments,
            cpl: vcpu.vmcb.save.cpl,
            reserved: [0; 7],
        };
        Some(self.write_exit(
            server,
            ticket,
            now,
            Cause(What::Vmmcall, exit.number),
            tag::HYPERCALL,
            &exit,
        ))
    }

    /// There is no server for this class of exits: as on a CPU without the feature.
    #[cold]
    pub(crate) fn nobody_answers(&mut self) -> Option<Due> {
        self.state.vcpu.raise(&Exception::UNDEFINED);
        None
    }

    #[cold]
    fn rare(&mut self, code: u32) {
        let state = &mut self.state;
        let vcpu = &mut state.vcpu;
        match code {
            // An NMI stays pending over the exit: the host's handler took it at STGI. A machine check does not (the intercept takes its
            // place); the banks keep what it was, and nobody reads them yet.
            exit::NMI | exit::MACHINE_CHECK => {}
            exit::IRET => vcpu.events.at_iret(&mut vcpu.vmcb),
            exit::X87 if vcpu.signals_x87_outside() => state.signal_x87(),
            exit::EXCEPTION..=exit::LAST_EXCEPTION => {
                vcpu.excepted(&mut state.machine);
                if vcpu.has_stand_ins() {
                    self.stood_in();
                }
            }
            exit::SHUTDOWN => {
                state.statistics.current = Kind::Crash;
                state.stop(Stop::Crash);
                state.report_crash("triple fault");
            }
            // QEMU's TCG takes this exit where a MOV to CR3 with reserved bits should raise #GP.
            exit::INVALID
                if !vcpu.holds_host_state() && vcpu.opcode(&state.machine) == MOV_TO_CR =>
            {
                vcpu.raise(&Exception::PROTECTION);
            }
            exit::INVALID => {
                state.statistics.current = Kind::Crash;
                state.stop(Stop::Crash);
                state.report_crash("a state that the CPU refuses to run");
            }
            _ => {
                state.statistics.current = Kind::Instruction;
                self.emulate();
            }
        }
    }
}

impl<M: Machine> State<M> {
    /// An x87 exception of a guest with CR0.NE clear: as on a PC, the CPU asserts FERR#, which is IRQ 13, and waits in front of the
    /// instruction for an interrupt (APM vol. 1 §6.8, vol. 2 §8.2.17).
    #[cold]
    fn signal_x87(&mut self) {
        self.line(X87_LINE, Signal::Pulse);
        self.vcpu.stand = Stand::Halted;
    }

    /// Opens the vCPU's ticket.
    #[inline(always)]
    pub(crate) fn open(
        &mut self,
        operation: Operation,
        holder: ServerId,
        next_rip: u64,
    ) -> TicketId {
        self.vcpu.stand = Stand::Waiting;
        self.string_length = 0;
        self.tickets.open(VCPU, operation, holder, next_rip)
    }

    /// Nobody owns the port: a read gives all ones, a write goes nowhere.
    #[cold]
    fn stray_port(&mut self, port: u16, read: bool, size: u8, next_rip: u64) {
        self.strays.note(false, u64::from(port));
        self.stray_ports = self.stray_ports.wrapping_add(1);
        if read {
            self.vcpu.load_register(0, u64::MAX, size);
        }
        self.vcpu.advance(next_rip);
    }
}

/// All ones in `size` bytes.
#[inline(always)]
pub(crate) const fn mask(size: u8) -> u64 {
    if size >= 8 {
        u64::MAX
    } else {
        (1 << (size as u32 * 8)) - 1
    }
}
