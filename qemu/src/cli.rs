//! The command line.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::bare::target::Permission;
use crate::guest::addition::{Addition, Retrieval};

const AFTER: &str = "\
Exit status:
  0-123  the guest's command (larger ones become 123); 0 after a power-off
  124    the time was up
  125    atoll itself failed
  126    the guest crashed
  127    the hypervisor failed

While the guest's console is on a terminal, Ctrl-A x ends QEMU and Ctrl-A h shows help; all other keys are the guest's.

Examples:
  atoll                                boot Debian's kernel to a shell
  atoll boot --exec 'cat /proc/cpuinfo'
  atoll boot hello                     boot a small guest that needs no download
  atoll boot --kernel bzImage --initrd rootfs.cpio --append quiet
  atoll check my-machine.toml";

/// Boots unmodified guests on Atoll, a microkernel-style hypervisor, inside plain QEMU: no KVM, no root.
///
/// Without a sub-command it boots Debian's kernel to a shell.
#[derive(Debug, Parser)]
#[command(name = "atoll", version, after_help = AFTER, args_conflicts_with_subcommands = true, disable_help_subcommand = true, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// A boot, without a sub-command.
    #[command(flatten)]
    pub boot: BootArgs,
    /// For every sub-command.
    #[command(flatten)]
    pub common: Common,
}

/// Options of every sub-command.
#[derive(Clone, Debug, Default, Args)]
pub struct Common {
    /// Fetch nothing: use what is in the cache.
    #[arg(long, global = true)]
    pub offline: bool,
    /// Do not install the compiler's bare target.
    #[arg(long, global = true, env = "ATOLL_NO_INSTALL", value_parser = clap::builder::FalseyValueParser::new())]
    pub no_install: bool,
    /// Say more (twice: even more).
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

impl Common {
    /// What may be installed.
    #[must_use]
    pub fn permission(&self) -> Permission {
        Permission {
            no_install: self.no_install,
            offline: self.offline,
        }
    }
}

/// The sub-commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Boot a guest.
    Boot(Box<BootArgs>),
    /// Print the help of a sub-command, or one of Atoll's documents.
    Help {
        /// A sub-command, or a document's name [default: all that there is].
        topic: Option<String>,
    },
    /// Check what is needed here, and say how to get what is missing.
    Doctor,
    /// Check a machine's manifest.
    Check {
        /// The TOML file.
        manifest: PathBuf,
    },
    /// Fetch QEMU and the guests' files now, so that later boots can be --offline.
    Fetch {
        /// Also the kernels of Debian 13, for `boot linux-13` and `boot generic-13`.
        #[arg(long)]
        debian_13: bool,
        /// Take files that were put into this directory by hand, and fetch nothing: vmlinuz (or vmlinuz-cloud, vmlinuz-generic,
        /// vmlinuz-cloud-13, vmlinuz-generic-13) and a statically linked busybox. Their hashes are recorded.
        #[arg(long, value_name = "DIR", conflicts_with = "debian_13")]
        from: Option<PathBuf>,
    },
    /// Measure what exits cost, in instructions: on Atoll, and with the same guest code on KVM in the same QEMU.
    Bench(BenchArgs),
    /// Inject faults by the thousand, and tell what became of them.
    Campaign {
        /// What to do.
        #[command(subcommand)]
        what: CampaignCommand,
    },
    /// Put another server into a server's place, while the guest runs.
    Swap {
        /// Which server, by its name or role.
        server: String,
        /// The other: an image of the manifest's spares, or any that the machine uses; or the directory of a crate, like ./my-server,
        /// which is built and uploaded.
        image: String,
        /// Also if that takes something away from the guest, such as a feature of its CPU.
        #[arg(long)]
        force: bool,
        /// Of which machine.
        #[command(flatten)]
        asked: Asked,
    },
    /// List the servers of a running machine: role, image, generation, state, activations, restarts, instructions.
    Ps(Asked),
    /// Watch the servers of a running machine.
    Top(TopArgs),
    /// Tell of a server's last fault: the rule it broke, registers, the message, the 32 messages before it.
    Dump {
        /// Which server, by its name or role.
        server: String,
        /// Of which machine.
        #[command(flatten)]
        asked: Asked,
    },
    /// Print the log of a running machine's kernel.
    Log {
        /// Go on until the machine ends.
        #[arg(short, long, conflicts_with = "json")]
        follow: bool,
        /// Of which machine.
        #[command(flatten)]
        asked: Asked,
    },
    /// Make a crate with a server of one's own, which builds, has a test and boots with `atoll boot --swap ROLE=DIR`.
    NewServer {
        /// The role: cpuid, msr, hypercall, mmu, irqchip, timer, clock, power, serial, console or control.
        role: String,
        /// The crate's name.
        name: String,
        /// Where it goes [default: a directory of its name, here].
        #[arg(long, value_name = "DIR")]
        path: Option<PathBuf>,
        /// Make it around this server of Atoll's, whose messages and answers all go through it [default: for cpuid, msr, mmu and power none,
        /// for the other roles the usual one].
        #[arg(long, value_name = "IMAGE")]
        around: Option<String>,
    },
    /// Fault a server of a running machine, by its name or role, to see it restarted.
    Kill {
        /// Which server.
        server: String,
        /// Of which machine.
        #[command(flatten)]
        asked: Asked,
    },
    /// Ask whether a running machine's control server answers.
    Ping(Which),
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Become another program that ends with process PARENT.
    #[command(hide = true, name = crate::emulator::leash::SUBCOMMAND)]
    Leashed {
        /// Whose end ends the program.
        parent: i32,
        /// The memory of the machine that the program is, in MiB: its limits follow from it.
        memory_mib: u64,
        /// The program.
        program: std::ffi::OsString,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
}

/// What to measure, and what to do with it.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// Write the medians to this file: {"probes":[{"name":"cpuid","atoll":N,"kvm":N},...]}.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// End with status 1 if a figure is above what is promised.
    #[arg(long)]
    pub check: bool,
    /// Only exits on Atoll: neither KVM nor a boot of Linux. Takes seconds.
    #[arg(long)]
    pub quick: bool,
}

/// What to do with a campaign.
#[derive(Clone, Debug, Subcommand)]
pub enum CampaignCommand {
    /// Run a plan: golden runs, experiments, records, report. Ends with status 1 if Atoll failed, or a guest noticed a fault that must
    /// not show.
    Run {
        /// The plan, a TOML file.
        plan: PathBuf,
        /// Where records and report go.
        #[arg(long, value_name = "DIR", default_value = DEFAULT_OUT)]
        out: PathBuf,
        /// Only the i-th of n parts.
        #[arg(long, value_name = "I/N", default_value = "1/1", value_parser = shard)]
        shard: (usize, usize),
        /// Leave out what is recorded already.
        #[arg(long)]
        resume: bool,
        /// Runs at the same time [default: one for each CPU].
        #[arg(long, value_name = "N")]
        jobs: Option<usize>,
        /// At most so many experiments, evenly spread over all.
        #[arg(long, value_name = "N")]
        most: Option<usize>,
        /// Without QEMU: kernel and servers in this process, against a guest that is drawn from the plan's seed.
        #[arg(long, conflicts_with_all = ["shard", "resume", "jobs", "most"])]
        host: bool,
    },
    /// Write the report anew, from the records.
    Report {
        /// Print it as Markdown instead, without its single cells and cases.
        #[arg(long)]
        brief: bool,
        /// Where the records are.
        #[command(flatten)]
        records: Records,
    },
    /// Put the records of several shards together, and write their report.
    Merge {
        /// Where the shards left their records.
        #[arg(required = true)]
        from: Vec<PathBuf>,
        /// Where all of them go.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Do recorded experiments again. Ends with status 1 if one goes otherwise; is refused, with the difference, if anything that it
    /// depends on is not as it was.
    Replay {
        /// The records' names.
        #[arg(value_name = "ID", required_unless_present = "sample")]
        ids: Vec<String>,
        /// So many records, drawn at random.
        #[arg(
            long,
            value_name = "N",
            conflicts_with = "ids",
            default_value_t = 0,
            hide_default_value = true
        )]
        sample: usize,
        /// Draw the same ones as with this seed [default: the time].
        #[arg(long, requires = "sample")]
        seed: Option<u64>,
        /// Where the records are.
        #[command(flatten)]
        records: Records,
    },
    /// Find the fewest faults of a recorded experiment that have the same outcome.
    Minimise {
        /// The record's name.
        id: String,
        /// Where the records are.
        #[command(flatten)]
        records: Records,
    },
}

/// Where records are.
#[derive(Clone, Debug, Args)]
pub struct Records {
    /// Where the campaign left its records.
    #[arg(long = "out", value_name = "DIR", default_value = DEFAULT_OUT)]
    pub dir: PathBuf,
}

/// Where a campaign leaves its records, unless it is told.
pub const DEFAULT_OUT: &str = "campaign";

fn shard(text: &str) -> Result<(usize, usize), String> {
    let parsed = text
        .split_once('/')
        .and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
    parsed
        .filter(|(part, of)| (1..=*of).contains(part))
        .ok_or_else(|| "expected I/N, the I-th of N parts, for example 2/4".into())
}

fn swap(text: &str) -> Result<(String, PathBuf), String> {
    let parsed = text
        .split_once('=')
        .filter(|(role, dir)| !role.is_empty() && !dir.is_empty());
    parsed
        .map(|(role, dir)| (role.to_owned(), dir.into()))
        .ok_or_else(|| "expected ROLE=DIR, for example cpuid=./my-cpuid".into())
}

/// A running machine.
#[derive(Clone, Debug, Args)]
pub struct Which {
    /// The machine's name.
    #[arg(long, default_value = DEFAULT_NAME)]
    pub name: String,
}

/// A running machine, and the form of the answer.
#[derive(Clone, Debug, Args)]
pub struct Asked {
    /// Which machine.
    #[command(flatten)]
    pub which: Which,
    /// Answer with one JSON document; docs/control.md tells its keys.
    #[arg(long)]
    pub json: bool,
}

/// What to watch, and how.
#[derive(Clone, Debug, Args)]
pub struct TopArgs {
    /// Of which machine.
    #[command(flatten)]
    pub asked: Asked,
    /// Print one frame, of what was since the machine started, and end. Implied by --json, and where there is no terminal.
    #[arg(long)]
    pub once: bool,
    /// Seconds between two frames.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub every: u64,
}

/// Name of a machine that was given none.
pub const DEFAULT_NAME: &str = "atoll";

/// A boot.
#[derive(Clone, Debug, Args)]
pub struct BootArgs {
    /// `linux` (Debian's cloud kernel), `generic` (its generic one), `linux-13`, `generic-13` (those of Debian 13), or a guest from
    /// qemu/guests, such as `hello` [default: linux].
    #[arg(conflicts_with = "kernel")]
    pub guest: Option<String>,
    /// A kernel: bzImage, multiboot, or ELF with a PVH note; packed by gzip, too.
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// An initial RAM disk, instead of Atoll's own with a busybox shell. For a multiboot kernel its modules: FILE, or 'FILE TEXT,FILE TEXT,...'.
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// More for the guest's command line.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// Guest memory, such as 256M or 1G [default: the machine's].
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// A machine's manifest [default: qemu/machines/linux.toml].
    #[arg(long, value_name = "FILE")]
    pub machine: Option<PathBuf>,
    /// Run a command in the guest's shell, print only its output, and end with its status.
    #[arg(long, value_name = "COMMAND", conflicts_with = "initrd")]
    pub exec: Option<String>,
    /// Give Linux a file or a directory, as PATH (from /root on, unless it begins with '/') [default: its own name]; may be given several
    /// times.
    #[arg(long, value_name = "FILE[:PATH]")]
    pub add: Vec<Addition>,
    /// Bring a file or a directory back when the command has ended, as FILE [default: its own name, here]; may be given several times.
    #[arg(long, value_name = "PATH[:FILE]", requires = "exec")]
    pub get: Vec<Retrieval>,
    /// Give up this many seconds after QEMU was started, with status 124.
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// The machine's name, for `atoll ps` and others.
    #[arg(long, default_value = DEFAULT_NAME)]
    pub name: String,
    /// Print exits and servers with their times when the guest ends.
    #[arg(long)]
    pub stats: bool,
    /// One instruction is one nanosecond: runs repeat bit by bit, and counts are exact.
    #[arg(long)]
    pub icount: bool,
    /// Inject a fault, such as 'crash uart/port-write nth=3' (docs/campaigns.md); may be given several times.
    #[arg(long, value_name = "FAULT", conflicts_with = "direct")]
    pub inject: Vec<crate::campaign::grammar::Fault>,
    /// Put the crate in DIR into the place of a server, by its name or role, before the machine starts; may be given several times.
    #[arg(long, value_name = "ROLE=DIR", conflicts_with = "direct", value_parser = swap)]
    pub swap: Vec<(String, PathBuf)>,
    /// Have QEMU's debugger stub listen at this Unix socket (docs/debugging.md); the machine runs at once.
    #[arg(long, value_name = "PATH", conflicts_with = "inject")]
    pub gdb: Option<PathBuf>,
    /// Boot the guest in QEMU without Atoll, for comparison.
    #[arg(long, conflicts_with = "stats")]
    pub direct: bool,
}

impl Cli {
    /// Whether the answer is to be a JSON document.
    #[must_use]
    pub fn wants_json(&self) -> bool {
        match &self.command {
            Some(Command::Ps(asked)) => asked.json,
            Some(Command::Top(args)) => args.asked.json,
            Some(
                Command::Dump { asked, .. }
                | Command::Log { asked, .. }
                | Command::Kill { asked, .. }
                | Command::Swap { asked, .. },
            ) => asked.json,
            _ => false,
        }
    }

    /// Sets up the tool's own log.
    pub fn start_log(&self) {
        let level = match self.common.verbose {
            0 => "warn",
            1 => "atoll=debug",
            _ => "trace",
        };
        let filter = tracing_subscriber::EnvFilter::try_from_env("ATOLL_LOG")
            .unwrap_or_else(|_| level.into());
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .without_time()
            .try_init();
    }
}
