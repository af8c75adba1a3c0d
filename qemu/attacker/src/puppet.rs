//! A child whose memory, registers and debug registers are its tracer's: it runs machine code, step by step or until it stops.
//!
//! It is never seen to be dead: who ends it gets another one.

use std::fs::{File, OpenOptions};
use std::mem::offset_of;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;

use nix::libc::{self, c_long, c_void, user_regs_struct};
use nix::sys::mman::{MapFlags, ProtFlags};
use nix::sys::prctl;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};

/// Where its code is: below 4 GiB, so that 32-bit code can be run there, too.
pub(crate) const CODE: u64 = 0x1000_0000;
/// Its data.
pub(crate) const DATA: u64 = 0x2000_0000;
/// Its stack; it grows down from the middle.
pub(crate) const STACK: u64 = 0x3000_0000;
/// Pages that it may give back and get anew.
pub(crate) const FRESH: u64 = 0x4000_0000;
/// Bytes of each of these.
pub(crate) const SIZE: u64 = 0x1_0000;
/// Where the stack begins.
pub(crate) const TOP: u64 = STACK + SIZE / 2;
/// Ends a piece of code.
pub(crate) const INT3: u8 = 0xcc;
/// The usual flags of a user.
pub(crate) const FLAGS: u64 = 0x202;
/// 64-bit code of a user, and its stack.
const SELECTORS: (u64, u64) = (0x33, 0x2b);
/// More than any piece of code here stops on its way.
const STOPS: usize = 20_000;

/// How often others have their turn while one has gone astray.
const YIELDS: usize = 200;

/// What went wrong.
pub(crate) type Wrong = String;

/// How it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// By a signal, with its code.
    Signal(Signal, i32),
    /// It ended with a status.
    Exit(i32),
    /// A signal ended it.
    Killed(Signal),
}

impl std::fmt::Display for Stop {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signal(signal, code) => write!(out, "{signal}/{code}"),
            Self::Exit(status) => write!(out, "exit {status}"),
            Self::Killed(signal) => write!(out, "killed by {signal}"),
        }
    }
}

/// The child.
pub(crate) struct Puppet {
    pid: Pid,
    memory: File,
    first: user_regs_struct,
}

fn wrong<T: std::fmt::Display>(what: &'static str) -> impl Fn(T) -> Wrong {
    move |error| format!("{what}: {error}")
}

impl Puppet {
    /// A new one, which has just stopped itself.
    pub(crate) fn new() -> Result<Self, Wrong> {
        let pid = fork()?;
        match waitpid(pid, None).map_err(wrong("waiting for a new child"))? {
            WaitStatus::Stopped(_, Signal::SIGSTOP) => {}
            other => return Err(format!("a new child did not stop: {other:?}")),
        }
        ptrace::setoptions(pid, ptrace::Options::PTRACE_O_EXITKILL).map_err(wrong("setoptions"))?;
        let memory = OpenOptions::new()
            .read(true)
            .write(true)
            .open(format!("/proc/{pid}/mem"))
            .map_err(wrong("its memory"))?;
        let first = ptrace::getregs(pid).map_err(wrong("getregs"))?;
        Ok(Self { pid, memory, first })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Wrong> {
        self.memory
            .write_all_at(bytes, at)
            .map_err(wrong("writing its memory"))
    }

    pub(crate) fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, Wrong> {
        let mut bytes = vec![0; length];
        self.memory
            .read_exact_at(&mut bytes, at)
            .map_err(wrong("reading its memory"))?;
        Ok(bytes)
    }

    pub(crate) fn registers(&self) -> Result<user_regs_struct, Wrong> {
        ptrace::getregs(self.pid).map_err(wrong("getregs"))
    }

    pub(crate) fn set(&self, registers: user_regs_struct) -> Result<(), Wrong> {
        ptrace::setregs(self.pid, registers).map_err(wrong("setregs"))
    }

    /// Registers to begin with: all of them known.
    pub(crate) fn fresh(&self) -> user_regs_struct {
        user_regs_struct {
            rax: 0,
            rbx: DATA,
            rcx: 4,
            rdx: 1,
            rsi: DATA + 0x100,
            rdi: DATA + 0x200,
            rbp: TOP,
            rsp: TOP,
            r8: DATA + 0x300,
            r9: 9,
            r10: 10,
            r11: 11,
            r12: 12,
            r13: 13,
            r14: 14,
            r15: 15,
            rip: CODE,
            eflags: FLAGS,
            cs: SELECTORS.0,
            ss: SELECTORS.1,
            ds: 0,
            es: 0,
            fs: 0,
            gs: 0,
            // It is in no system call that could be begun anew.
            orig_rax: u64::MAX,
            ..self.first
        }
    }

    /// Puts code in place and the registers at its beginning.
    pub(crate) fn load(&self, code: &[u8]) -> Result<(), Wrong> {
        self.write(CODE, code)?;
        self.set(self.fresh())
    }

    fn wait(&self) -> Result<Stop, Wrong> {
        match waitpid(self.pid, None).map_err(wrong("waiting"))? {
            WaitStatus::Stopped(_, signal) => {
                let info = ptrace::getsiginfo(self.pid).map_err(wrong("getsiginfo"))?;
                Ok(Stop::Signal(signal, info.si_code))
            }
            WaitStatus::Exited(_, status) => Ok(Stop::Exit(status)),
            WaitStatus::Signaled(_, signal, _) => Ok(Stop::Killed(signal)),
            other => Err(format!("an odd state: {other:?}")),
        }
    }

    /// Runs until it stops; what it was sent is not delivered.
    pub(crate) fn run(&self) -> Result<Stop, Wrong> {
        self.deliver(None)
    }

    /// Lets a signal reach it, and runs until it stops.
    pub(crate) fn deliver(&self, signal: Option<Signal>) -> Result<Stop, Wrong> {
        ptrace::cont(self.pid, signal).map_err(wrong("cont"))?;
        self.wait()
    }

    /// Runs for a while, wherever that leads to. It may never stop: it can only be given up then.
    pub(crate) fn run_astray(&self) -> Result<(), Wrong> {
        ptrace::cont(self.pid, None).map_err(wrong("cont"))?;
        for _ in 0..YIELDS {
            std::thread::yield_now();
            if waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).map_err(wrong("waiting"))?
                != WaitStatus::StillAlive
            {
                break;
            }
        }
        Ok(())
    }

    /// One instruction. A system call is none: it is passed over.
    pub(crate) fn step(&self) -> Result<Stop, Wrong> {
        ptrace::sysemu_step(self.pid, None).map_err(wrong("sysemu step"))?;
        self.wait()
    }

    /// One instruction, whichever.
    pub(crate) fn step_into(&self) -> Result<Stop, Wrong> {
        ptrace::step(self.pid, None).map_err(wrong("step"))?;
        self.wait()
    }

    /// Runs until it has executed the INT3 before `end`; how often it was stopped before.
    pub(crate) fn run_to(&self, end: u64) -> Result<Vec<(Stop, u64)>, Wrong> {
        let mut stops = Vec::new();
        loop {
            let stop = self.run()?;
            let Stop::Signal(signal, code) = stop else {
                return Err(format!("it ended: {stop}"));
            };
            let rip = self.registers()?.rip;
            if (signal, code, rip) == (Signal::SIGTRAP, libc::SI_KERNEL, end) {
                return Ok(stops);
            }
            stops.push((stop, rip));
            if stops.len() > STOPS {
                return Err(format!(
                    "it does not get to its end; last: {stop} at {rip:#x}"
                ));
            }
        }
    }

    /// A system call; its result.
    pub(crate) fn call(&self, number: u64, arguments: [u64; 6]) -> Result<i64, Wrong> {
        self.load(&[0x0f, 0x05, INT3])?;
        let [rdi, rsi, rdx, r10, r8, r9] = arguments;
        self.set(user_regs_struct {
            rax: number,
            rdi,
            rsi,
            rdx,
            r10,
            r8,
            r9,
            ..self.fresh()
        })?;
        let stops = self.run_to(CODE + 3)?;
        if let Some((stop, rip)) = stops.first() {
            return Err(format!(
                "system call {number} was stopped: {stop} at {rip:#x}"
            ));
        }
        Ok(self.registers()?.rax as i64)
    }

    /// A system call by way of INT 0x80; its result.
    pub(crate) fn call_compatible(&self, number: u64, arguments: [u64; 5]) -> Result<i32, Wrong> {
        self.load(&[0xcd, 0x80, INT3])?;
        let [rbx, rcx, rdx, rsi, rdi] = arguments;
        self.set(user_regs_struct {
            rax: number,
            rbx,
            rcx,
            rdx,
            rsi,
            rdi,
            ..self.fresh()
        })?;
        self.run_to(CODE + 3)?;
        Ok(self.registers()?.rax as i32)
    }

    /// Writes a debug register; Linux may refuse it.
    pub(crate) fn debug(&self, number: usize, value: u64) -> nix::Result<()> {
        let offset = offset_of!(libc::user, u_debugreg) + 8 * number;
        ptrace::write_user(self.pid, offset as *mut c_void, value as c_long)
    }

    pub(crate) fn debug_value(&self, number: usize) -> Result<u64, Wrong> {
        let offset = offset_of!(libc::user, u_debugreg) + 8 * number;
        ptrace::read_user(self.pid, offset as *mut c_void)
            .map(|value| value as u64)
            .map_err(wrong("a debug register"))
    }

    /// Takes all breakpoints out.
    pub(crate) fn disarm(&self) -> Result<(), Wrong> {
        self.debug(7, 0).map_err(wrong("DR7 = 0"))
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(self.pid, Signal::SIGKILL);
        while let Ok(status) = waitpid(self.pid, None) {
            if matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..)) {
                break;
            }
        }
    }
}

/// Maps what puppets use: once, for all that come.
pub(crate) fn prepare() -> Result<(), Wrong> {
    for place in [CODE, DATA, STACK, FRESH] {
        let at = NonZeroUsize::new(place as usize);
        let size = NonZeroUsize::new(SIZE as usize).ok_or("no size")?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let access = if place == CODE {
            access | ProtFlags::PROT_EXEC
        } else {
            access
        };
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED_NOREPLACE;
        #[allow(unsafe_code, reason = "new memory, where nothing else is")]
        // SAFETY: MAP_FIXED_NOREPLACE takes no memory away that anybody has, and nothing here refers to what is mapped: children use it.
        let mapped = unsafe { nix::sys::mman::mmap_anonymous(at, size, access, flags) };
        mapped.map_err(wrong("mapping the children's memory"))?;
    }
    Ok(())
}

#[allow(
    unsafe_code,
    reason = "a child is needed that can be told what to execute"
)]
fn fork() -> Result<Pid, Wrong> {
    // SAFETY: there is one thread only, so that the child may do whatever the parent may.
    match unsafe { nix::unistd::fork() }.map_err(wrong("fork"))? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let _ = prctl::set_pdeathsig(Signal::SIGKILL)
                .and_then(|()| ptrace::traceme())
                .and_then(|()| raise(Signal::SIGSTOP));
            std::process::exit(1)
        }
    }
}
