//! A #VMEXIT becomes a ticket and a message for the server whose route names it. What is the kernel's own is done here: HLT, windows,
//! host interrupts, single steps, and everything that is nobody's.

use atoll_protocol::effect::Forward;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{
    AccessDone, Body, CpuidExit, HypercallExit, InstructionExit, MmioExit, MsrExit, NestedFault, PortExit, Stop, StringIoExit,
};
use atoll_protocol::units::{Gpa, ServerId, TicketId};
use atoll_protocol::vcpu::Exception;
use atoll_protocol::wire::{self, tag};

use crate::delivery::{Cause, Step, encode};
use crate::machine::{Machine, Pages};
use crate::statistics::Kind;
use crate::ticket::{Operation, VCPU};
use crate::vcpu::skip::Opcode;
use crate::vcpu::vmcb::exit;
use crate::vcpu::{EFER_SVME, Stand};
use crate::{Kernel, State};

/// MSRs whose value the vCPU record holds.
const MSR_TSC: u32 = 0x10;
const MSR_PAT: u32 = 0x277;
const MSR_EFER: u32 = 0xc000_0080;
/// Steps of one exit's emulation: registers, accesses and their results.
const STEPS: usize = 16;

impl<M: Machine> Kernel<M> {
    /// Handles the exit that the vCPU has just taken.
    #[inline(always)]
    pub fn exited(&mut self) {
        let state = &mut self.state;
        state.statistics.exits = state.statistics.exits.wrapping_add(1);
        state.vcpu.vmcb.control.tlb_control = 0;
        if state.vcpu.note_exit()
            && let Some(irqchip) = state.routes.lines
        {
            state.post(irqchip, |mailbox| mailbox.accepted = true);
        }
        let now = state.machine.now();
        match state.vcpu.vmcb.control.exit_code as u32 {
            exit::CPUID => {
                state.statistics.switch(now, Kind::Cpuid);
                self.cpuid();
            }
            exit::MSR => {
                let write = state.vcpu.vmcb.control.exit_info1 & 1 != 0;
                state.statistics.switch(now, if write { Kind::MsrWrite } else { Kind::MsrRead });
                self.msr(write);
            }
            exit::IOIO => {
                let info = state.vcpu.vmcb.control.exit_info1;
                let kind = if info & 1 != 0 { Kind::PortIn } else { Kind::PortOut };
                state.statistics.switch(now, if info & 4 != 0 { Kind::StringIo } else { kind });
                self.port(info);
            }
            exit::NESTED_FAULT => {
                state.statistics.switch(now, Kind::Map);
                self.emulate();
            }
            exit::VMMCALL => {
                state.statistics.switch(now, Kind::Hypercall);
                self.hypercall();
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
    fn cpuid(&mut self) {
        let state = &mut self.state;
        let Some(next) = state.vcpu.behind(&state.machine, Opcode::Cpuid) else { return };
        let leaf = state.vcpu.register(0) as u32;
        let subleaf = state.vcpu.register(1) as u32;
        let Some(server) = state.routes.cpuid else { return self.nobody_answers() };
        let ticket = state.open(Operation::Cpuid, server, next);
        let host = state.machine.cpuid(leaf, subleaf);
        let exit = CpuidExit { leaf, subleaf, host, cr4: state.vcpu.vmcb.save.cr4 };
        self.deliver_exit(server, ticket, Cause("cpuid", u64::from(leaf)), tag::CPUID, &exit);
    }

    #[inline(always)]
    fn msr(&mut self, write: bool) {
        let state = &mut self.state;
        let opcode = if write { Opcode::Wrmsr } else { Opcode::Rdmsr };
        let Some(next) = state.vcpu.behind(&state.machine, opcode) else { return };
        let index = state.vcpu.register(1) as u32;
        let Some(server) = state.routes.msr(index) else { return self.nobody_answers() };
        let held = match index {
            MSR_EFER => state.vcpu.vmcb.save.efer & !EFER_SVME,
            MSR_PAT => state.vcpu.vmcb.save.pat,
            MSR_TSC => state.machine.now().0.wrapping_add(state.vcpu.vmcb.control.tsc_offset),
            _ => 0,
        };
        let cr0 = state.vcpu.vmcb.save.cr0;
        let mut exit = MsrExit { index, reserved: 0, value: 0, held, cr0 };
        if write {
            exit.value = state.vcpu.register(2) << 32 | state.vcpu.register(0) & 0xffff_ffff;
            let ticket = state.open(Operation::MsrWrite, server, next);
            self.deliver_exit(server, ticket, Cause("wrmsr", u64::from(index)), tag::MSR_WRITE, &exit);
        } else {
            let ticket = state.open(Operation::MsrRead, server, next);
            self.deliver_exit(server, ticket, Cause("rdmsr", u64::from(index)), tag::MSR_READ, &exit);
        }
    }

    #[inline(always)]
    fn port(&mut self, info: u64) {
        if info & 4 != 0 {
            return self.emulate();
        }
        let state = &mut self.state;
        let next = state.vcpu.vmcb.control.exit_info2;
        let port = (info >> 16) as u16;
        let size = (info >> 4 & 7) as u8;
        let read = info & 1 != 0;
        let Some(server) = state.routes.port(port) else {
            state.stray_ports = state.stray_ports.wrapping_add(1);
            if read {
                state.vcpu.load_register(0, u64::MAX, size);
            }
            return state.vcpu.advance(next);
        };
        let exit = PortExit { port, size, reserved: 0, value: 0, count: 1 };
        if read {
            let ticket = state.open(Operation::PortRead, server, next);
            if let Some(open) = state.tickets.get_mut(ticket) {
                open.forward.size = size;
            }
            self.deliver_exit(server, ticket, Cause("in", u64::from(port)), tag::PORT_READ, &exit);
        } else {
            let value = state.vcpu.register(0) as u32 & mask(size) as u32;
            let ticket = state.open(Operation::PortWrite, server, next);
            let exit = PortExit { value, ..exit };
            self.deliver_exit(server, ticket, Cause("out", u64::from(port)), tag::PORT_WRITE, &exit);
        }
    }

    fn hypercall(&mut self) {
        let state = &mut self.state;
        let Some(next) = state.vcpu.behind(&state.machine, Opcode::Vmmcall) else { return };
        let Some(server) = state.routes.hypercall else { return self.nobody_answers() };
        let ticket = state.open(Operation::Hypercall, server, next);
        let vcpu = &state.vcpu;
        let arguments = [vcpu.register(3), vcpu.register(1), vcpu.register(2), vcpu.register(6)];
        let exit = HypercallExit { number: vcpu.register(0), arguments, cpl: vcpu.vmcb.save.cpl, reserved: [0; 7] };
        self.deliver_exit(server, ticket, Cause("vmmcall", exit.number), tag::HYPERCALL, &exit);
    }

    /// An exit for the emulator: nested faults, string I/O, instructions to decode.
    #[inline(always)]
    pub(crate) fn emulate(&mut self) {
        let Some(mmu) = self.state.routes.mmu else { return self.nobody_answers() };
        let ticket = self.state.open(Operation::Emulate, mmu, 0);
        let mut registers = None;
        let mut step = self.ask_emulator(mmu, ticket, registers);
        for _ in 0..STEPS {
            match step {
                Step::NeedRegisters => {
                    registers = Some(());
                    step = self.ask_emulator(mmu, ticket, registers);
                }
                Step::Forward => step = self.forward(ticket),
                Step::Return(value) => step = self.give_back(mmu, ticket, value),
                Step::Committed | Step::Again | Step::Faulted => return,
            }
        }
        // It went round without an end; what is committed stays, and the guest runs the instruction again.
        self.state.tickets.close(ticket);
        self.state.vcpu.stand = Stand::Runnable;
    }

    #[inline(always)]
    fn ask_emulator(&mut self, mmu: ServerId, ticket: TicketId, registers: Option<()>) -> Step {
        let vcpu = &self.state.vcpu;
        let control = &vcpu.vmcb.control;
        if control.exit_code as u32 == exit::NESTED_FAULT && registers.is_none() {
            let fault = NestedFault { gpa: Gpa(control.exit_info2), error: control.exit_info1 };
            let header = self.state.header(mmu, ticket);
            let length = wire::nested_fault(self.pages.message(mmu), &header, &fault, &vcpu.context()).unwrap_or(0);
            return self.activate(mmu, &header, length, Cause("fault", fault.gpa.0));
        }
        self.ask_emulator_fully(mmu, ticket, registers)
    }

    #[inline(never)]
    fn ask_emulator_fully(&mut self, mmu: ServerId, ticket: TicketId, registers: Option<()>) -> Step {
        let vcpu = &self.state.vcpu;
        let control = &vcpu.vmcb.control;
        let registers = registers.map(|()| Fixed(vcpu.registers()));
        let context = Fixed(vcpu.context());
        match control.exit_code as u32 {
            exit::NESTED_FAULT => {
                let fault = NestedFault { gpa: Gpa(control.exit_info2), error: control.exit_info1 };
                self.deliver(mmu, ticket, Cause("fault", fault.gpa.0), Body::NestedFault(Fixed(fault), context, registers))
            }
            exit::IOIO => {
                let exit = StringIoExit { info: control.exit_info1, next_rip: control.exit_info2 };
                self.deliver(mmu, ticket, Cause("string-io", exit.info), Body::StringIo(Fixed(exit), context, registers))
            }
            code => {
                let exit = InstructionExit { code: u64::from(code) };
                self.deliver(mmu, ticket, Cause("instruction", exit.code), Body::Instruction(Fixed(exit), context, registers))
            }
        }
    }

    /// Passes the ticket to the device that owns the address.
    #[inline(always)]
    fn forward(&mut self, ticket: TicketId) -> Step {
        let state = &mut self.state;
        let Some(open) = state.tickets.get_mut(ticket) else { return Step::Committed };
        let forward = open.forward;
        let write = forward.write != 0;
        let mmio = forward.space == Forward::MMIO;
        let device = if mmio { state.routes.memory(forward.address) } else { state.routes.port(forward.address as u16) };
        if mmio {
            state.statistics.refine(Kind::Mmio);
        }
        let Some(device) = device else { return state.nobody_there(ticket, &forward) };
        open.holder = device;
        let string = forward.count > 1 || state.string_length > 0;
        open.operation = match (mmio, write, string) {
            (true, false, _) => Operation::MmioRead,
            (true, true, _) => Operation::MmioWrite,
            (false, false, false) => Operation::PortRead,
            (false, true, false) => Operation::PortWrite,
            (false, false, true) => Operation::PortReadString((forward.count as usize * usize::from(forward.size)) as u16),
            (false, true, true) => Operation::PortWriteString,
        };
        let value = match forward.source {
            _ if !write => 0,
            Forward::IMMEDIATE => forward.value & mask(forward.size),
            number => state.vcpu.operand(usize::from(number)) & mask(forward.size),
        };
        if mmio {
            let exit = MmioExit { gpa: Gpa(forward.address), value, size: forward.size, reserved: [0; 7] };
            let cause = Cause(if write { "store" } else { "load" }, forward.address);
            return self.deliver_exit(device, ticket, cause, if write { tag::MMIO_WRITE } else { tag::MMIO_READ }, &exit);
        }
        let exit =
            PortExit { port: forward.address as u16, size: forward.size, reserved: 0, value: value as u32, count: forward.count };
        let bytes = state.string.get(..state.string_length).unwrap_or(&[]);
        let body = match (write, string) {
            (false, false) => Body::PortRead(Fixed(exit)),
            (true, false) => Body::PortWrite(Fixed(exit)),
            (false, true) => Body::PortReadString(Fixed(exit)),
            (true, true) => Body::PortWriteString(Fixed(exit), bytes),
        };
        let header = state.header(device, ticket);
        let length = encode(&mut self.pages, device, header, body);
        self.activate(device, &header, length, Cause("string", forward.address))
    }

    /// The forwarded access is done; the emulator goes on with its value.
    fn give_back(&mut self, mmu: ServerId, ticket: TicketId, value: u64) -> Step {
        let state = &mut self.state;
        let Some(open) = state.tickets.get_mut(ticket) else { return Step::Committed };
        open.operation = Operation::Finish;
        open.holder = mmu;
        let done = AccessDone { token: open.forward.rip_or_token, value };
        open.forward.count = 0;
        let header = state.header(mmu, ticket);
        let bytes = state.string.get(..state.string_length).unwrap_or(&[]);
        let body = Body::AccessDone(Fixed(done), Fixed(state.vcpu.context()), Fixed(state.vcpu.registers()), bytes);
        let length = encode(&mut self.pages, mmu, header, body);
        self.activate(mmu, &header, length, Cause("access-done", done.token))
    }

    /// There is no server for this class of exits: as on a CPU without the feature.
    #[cold]
    fn nobody_answers(&mut self) {
        self.state.vcpu.raise(&Exception::UNDEFINED);
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
            exit::DEBUG => {
                if !vcpu.events.end_step(&mut vcpu.vmcb) {
                    vcpu.raise(&Exception { vector: 1, ..Exception::default() });
                }
            }
            exit::SHUTDOWN => {
                state.statistics.refine(Kind::Crash);
                state.stop(Stop::Crash);
                state.report_crash("triple fault");
            }
            exit::INVALID => {
                state.statistics.refine(Kind::Crash);
                state.stop(Stop::Crash);
                state.report_crash("a state that the CPU refuses to run");
            }
            _ => {
                state.statistics.refine(Kind::Instruction);
                self.emulate();
            }
        }
    }
}

impl<M: Machine> State<M> {
    /// Opens the vCPU's ticket.
    #[inline(always)]
    fn open(&mut self, operation: Operation, holder: ServerId, next_rip: u64) -> TicketId {
        self.vcpu.stand = Stand::Waiting;
        self.string_length = 0;
        self.tickets.open(VCPU, operation, holder, next_rip)
    }

    /// Nobody owns the address: reads give all ones, writes go nowhere.
    fn nobody_there(&mut self, ticket: TicketId, forward: &Forward) -> Step {
        let strays = if forward.space == Forward::MMIO { &mut self.stray_memory } else { &mut self.stray_ports };
        *strays = strays.wrapping_add(1);
        if forward.count > 1 || self.string_length > 0 {
            self.string_length = forward.count as usize * usize::from(forward.size);
            self.string.iter_mut().take(self.string_length).for_each(|byte| *byte = 0xff);
        }
        self.finish_access(ticket, u64::MAX)
    }
}

/// All ones in `size` bytes.
#[inline(always)]
const fn mask(size: u8) -> u64 {
    if size >= 8 { u64::MAX } else { (1 << (size as u32 * 8)) - 1 }
}
