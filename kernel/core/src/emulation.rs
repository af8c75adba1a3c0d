//! Exits that take an emulator: a nested fault, string I/O, an instruction to decode. The emulator's answer may pass the ticket on to a
//! device as an access, whose result the kernel finishes, or gives back to the emulator.

use atoll_protocol::effect::Forward;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::layout::ram_offset;
use atoll_protocol::message::{
    AccessDone, Body, InstructionExit, MmioExit, NestedFault, PortExit, StringIoExit,
};
use atoll_protocol::units::{Gpa, ServerId, TicketId, Ticks};
use atoll_protocol::vcpu::Exception;
use atoll_protocol::wire::{self, tag};

use crate::delivery::{Due, Step, encode};
use crate::machine::{Machine, Pages};
use crate::statistics::Kind;
use crate::ticket::Operation;
use crate::vcpu::Stand;
use crate::vcpu::vmcb::exit;
use crate::{Kernel, State};
use atoll_protocol::cause::{Cause, What};

/// Steps of one exit's emulation: registers, accesses and their results. FXSAVE's 512 bytes are 64 accesses, of two steps each.
const STEPS: usize = 256;

impl<M: Machine> Kernel<M> {
    /// The message of a nested fault. To map RAM takes no look at the instruction; to emulate an access does.
    #[inline(always)]
    pub(crate) fn nested_fault(&mut self, now: Ticks) -> Option<Due> {
        let Some(mmu) = self.state.routes.mmu else {
            return self.nobody_answers();
        };
        let ticket = self.state.open(Operation::Emulate, mmu, 0);
        let vcpu = &self.state.vcpu;
        let fault = NestedFault {
            gpa: Gpa(vcpu.vmcb.control.exit_info2),
            error: vcpu.vmcb.control.exit_info1,
        };
        let cause = Cause(What::Fault, fault.gpa.0);
        if ram_offset(self.state.machine.guest_size(), fault.gpa.0).is_some() {
            return Some(self.write_exit(mmu, ticket, now, cause, tag::MEMORY_FAULT, &fault));
        }
        let header = self.state.header(mmu, ticket, now);
        let length = wire::nested_fault(self.pages.message(mmu), &header, &fault, &vcpu.context())
            .unwrap_or(0);
        Some(Due {
            to: mmu,
            ticket,
            length,
            now,
            cause,
        })
    }

    /// String I/O, or an instruction to decode.
    #[inline(never)]
    pub(crate) fn emulate(&mut self) {
        let Some(mmu) = self.state.routes.mmu else {
            self.nobody_answers();
            return;
        };
        let ticket = self.state.open(Operation::Emulate, mmu, 0);
        let step = self.ask_emulator(mmu, ticket, false);
        self.go_on(ticket, step);
    }

    /// What follows from the emulator's first answer.
    #[inline(never)]
    pub(crate) fn go_on(&mut self, ticket: TicketId, first: Step) {
        let mut step = first;
        for _ in 0..STEPS {
            let Some(mmu) = self.state.routes.mmu else {
                break;
            };
            match step {
                Step::NeedRegisters => step = self.ask_emulator(mmu, ticket, true),
                Step::Forward => step = self.forward(ticket),
                Step::Return(value) => step = self.give_back(mmu, ticket, value),
                Step::Committed | Step::Again | Step::Faulted => return,
            }
        }
        // It went round without an end; what is committed stays, and the guest runs the instruction again.
        self.state.tickets.close(ticket);
        self.state.vcpu.stand = Stand::Runnable;
    }

    #[inline(never)]
    fn ask_emulator(&mut self, mmu: ServerId, ticket: TicketId, with_registers: bool) -> Step {
        let vcpu = &self.state.vcpu;
        let control = &vcpu.vmcb.control;
        let registers = with_registers.then(|| Fixed(vcpu.registers()));
        let context = Fixed(vcpu.context());
        match control.exit_code as u32 {
            exit::NESTED_FAULT => {
                let fault = NestedFault {
                    gpa: Gpa(control.exit_info2),
                    error: control.exit_info1,
                };
                self.deliver(
                    mmu,
                    ticket,
                    Cause(What::Fault, fault.gpa.0),
                    Body::NestedFault(Fixed(fault), context, registers),
                )
            }
            exit::IOIO => {
                let exit = StringIoExit {
                    info: control.exit_info1,
                    next_rip: control.exit_info2,
                };
                self.deliver(
                    mmu,
                    ticket,
                    Cause(What::StringIo, exit.info),
                    Body::StringIo(Fixed(exit), context, registers),
                )
            }
            code => {
                let (bytes, fetched) = vcpu.code(&self.state.machine);
                let exit = InstructionExit {
                    code: u64::from(code),
                    bytes,
                    fetched: fetched as u8,
                };
                let registers = Fixed(vcpu.registers());
                self.deliver(
                    mmu,
                    ticket,
                    Cause(What::Instruction, exit.code),
                    Body::Instruction(Fixed(exit), context, registers),
                )
            }
        }
    }

    /// Passes the ticket to the device that owns the address.
    #[inline(always)]
    fn forward(&mut self, ticket: TicketId) -> Step {
        let Some(open) = self.state.tickets.get(ticket) else {
            return Step::Committed;
        };
        match open.forward.space {
            Forward::MMIO => self.forward_memory(ticket),
            Forward::PORT => self.forward_port(ticket),
            _ => self.state.stand_in(ticket),
        }
    }

    #[inline(always)]
    fn forward_memory(&mut self, ticket: TicketId) -> Step {
        let state = &mut self.state;
        state.statistics.current = Kind::Mmio;
        let forward = &state.tickets.vcpu_slot().forward;
        let (gpa, size, write) = (forward.address, forward.size, forward.write != 0);
        let Some(device) = state.routes.memory(gpa) else {
            return state.nobody_there(ticket);
        };
        let value = if write {
            state.vcpu.to_write(forward)
        } else {
            0
        };
        let (operation, what, tag) = if write {
            (Operation::MmioWrite, What::Store, tag::MMIO_WRITE)
        } else {
            (Operation::MmioRead, What::Load, tag::MMIO_READ)
        };
        let open = state.tickets.vcpu_slot();
        (open.holder, open.operation) = (device, operation);
        let exit = MmioExit {
            gpa: Gpa(gpa),
            value,
            size,
            reserved: [0; 7],
        };
        let now = state.machine.now();
        let due = self.write_exit(device, ticket, now, Cause(what, gpa), tag, &exit);
        self.activate(due)
    }

    #[inline(never)]
    fn forward_port(&mut self, ticket: TicketId) -> Step {
        let state = &mut self.state;
        let forward = state.tickets.vcpu_slot().forward;
        let Some(device) = state.routes.port(forward.address as u16) else {
            return state.nobody_there(ticket);
        };
        let write = forward.write != 0;
        let string = forward.count > 1 || state.string_length > 0;
        let value = if write {
            state.vcpu.to_write(&forward)
        } else {
            0
        };
        let open = state.tickets.vcpu_slot();
        open.holder = device;
        open.operation = match (write, string) {
            (false, false) => Operation::PortRead,
            (true, false) => Operation::PortWrite,
            (false, true) => Operation::PortReadString(
                (forward.count as usize * usize::from(forward.size)) as u16,
            ),
            (true, true) => Operation::PortWriteString,
        };
        let exit = PortExit {
            port: forward.address as u16,
            size: forward.size,
            reserved: 0,
            value: value as u32,
            count: forward.count,
        };
        let bytes = state.string.get(..state.string_length).unwrap_or(&[]);
        let body = match (write, string) {
            (false, false) => Body::PortRead(Fixed(exit)),
            (true, false) => Body::PortWrite(Fixed(exit)),
            (false, true) => Body::PortReadString(Fixed(exit)),
            (true, true) => Body::PortWriteString(Fixed(exit), bytes),
        };
        let header = state.header(device, ticket, state.machine.now());
        let length = encode(&mut self.pages, device, header, body);
        self.activate(Due {
            to: device,
            ticket,
            length,
            now: header.now,
            cause: Cause(What::String, forward.address),
        })
    }

    /// The instruction for which pages stood in is done, or has raised an exception: the emulator goes on.
    #[cold]
    pub(crate) fn stood_in(&mut self) {
        let state = &mut self.state;
        let done = state.vcpu.has_stepped();
        let token = state.end_stand_ins();
        let Some(mmu) = state.routes.mmu else {
            return;
        };
        let ticket = state.open(Operation::Finish, mmu, 0);
        state.tickets.vcpu_slot().forward.rip_or_token = token;
        let step = self.give_back(mmu, ticket, u64::from(done));
        self.go_on(ticket, step);
    }

    /// The forwarded access is done; the emulator goes on with its value.
    fn give_back(&mut self, mmu: ServerId, ticket: TicketId, value: u64) -> Step {
        let state = &mut self.state;
        let Some(open) = state.tickets.get_mut(ticket) else {
            return Step::Committed;
        };
        open.operation = Operation::Finish;
        open.holder = mmu;
        let done = AccessDone {
            token: open.forward.rip_or_token,
            value,
        };
        // Kept in case that the emulator does not get to its end with it.
        (open.forward.count, open.forward.value) = (0, value);
        let header = state.header(mmu, ticket, state.machine.now());
        let bytes = state.string.get(..state.string_length).unwrap_or(&[]);
        let body = Body::AccessDone(
            Fixed(done),
            Fixed(state.vcpu.context()),
            Fixed(state.vcpu.registers()),
            bytes,
        );
        let length = encode(&mut self.pages, mmu, header, body);
        self.activate(Due {
            to: mmu,
            ticket,
            length,
            now: header.now,
            cause: Cause(What::AccessDone, done.token),
        })
    }
}

impl<M: Machine> State<M> {
    /// The guest itself makes the access, to a page that stands in for the device's.
    #[cold]
    #[inline(never)]
    fn stand_in(&mut self, ticket: TicketId) -> Step {
        let forward = self.tickets.vcpu_slot().forward;
        let page = Gpa(forward.address);
        self.tickets.close(ticket);
        self.vcpu.stand = Stand::Runnable;
        if self.vcpu.events.stand_in(page, forward.rip_or_token) {
            let stale = self.machine.stand_in(page, Gpa(forward.value));
            self.flush(stale);
        } else {
            // An instruction that touches more of them than there can be.
            self.end_stand_ins();
            self.vcpu.raise(&Exception::UNDEFINED);
        }
        Step::Committed
    }

    /// Takes out what stands in; the emulator's token.
    pub(crate) fn end_stand_ins(&mut self) -> u64 {
        let stand_ins = self.vcpu.take_stand_ins();
        for page in stand_ins.pages() {
            let stale = self.machine.stand_down(*page);
            self.flush(stale);
        }
        // Its state may have waited for that: see `next_for`.
        if let Some(mmu) = self.routes.mmu {
            self.ready.insert(mmu);
        }
        stand_ins.token
    }

    /// Nobody owns the address: reads give all ones, writes go nowhere.
    #[cold]
    fn nobody_there(&mut self, ticket: TicketId) -> Step {
        let forward = self.tickets.vcpu_slot().forward;
        let memory = forward.space == Forward::MMIO;
        self.strays.note(memory, forward.address);
        let strays = if memory {
            &mut self.stray_memory
        } else {
            &mut self.stray_ports
        };
        *strays = strays.wrapping_add(1);
        if forward.count > 1 || self.string_length > 0 {
            self.string_length = forward.count as usize * usize::from(forward.size);
            self.string
                .iter_mut()
                .take(self.string_length)
                .for_each(|byte| *byte = 0xff);
        }
        self.finish_access(ticket, u64::MAX)
    }
}
