//! Faults to be injected: what a kernel that was built with the feature `fault-injection` is told, in fixed-layout records.
//!
//! A [`Plan`] is one page. The host writes it into the kernel's memory while the machine is stopped, so that the instant at which it
//! enters does not depend on the host's clock. Each of its [`Injection`]s says *what* happens ([`Model`]), *to which messages* (server,
//! kind, address, bytes: all that are given must match), and *at which of those* (the n-th, every k-th, by chance). Only logical clocks
//! are used: counts of messages and exits, and virtual time.
//!
//! The text form, for command lines and TOML plans, is the host tool's (`atoll::campaign::grammar`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::message::Header;

mod kinds;
mod models;

pub use kinds::{KINDS, kind_name, kind_of, kind_with_name};
pub use models::{Model, Needs, Place, Surplus};

/// Most injections of one plan: what fits a page.
pub const INJECTIONS: usize = 32;

/// Most bytes of a plan's text: what it waits for and types, and images' names.
pub const TEXT: usize = 512;

/// One fault: a model, the messages that it may hit, and which of those it hits.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Injection {
    /// A [`Model`].
    pub model: u8,
    /// The server whose messages are meant, or [`Injection::ANY`].
    pub server: u8,
    /// The kind of message (see [`kind_name`]), or [`Injection::ANY`].
    pub kind: u8,
    /// [`Injection::WHILE_RECOVERING`], [`Injection::REDELIVERIES`], [`Injection::AT_ADDRESS`] and [`Injection::ONE_OF`].
    pub flags: u8,
    /// Most times that it happens; 0 for any number.
    pub limit: u32,
    /// It happens first at this match, counted from 1; 0 is 1.
    pub first: u64,
    /// And again after each so many matches; 0 for not again. With a `chance`, both are not used; with [`Injection::ONE_OF`] this is how
    /// many matches a part has.
    pub every: u64,
    /// If not 0: it happens at each match with this probability, in units of 2^-32.
    pub chance: u32,
    /// Bytes of the message, behind the header, at which `mask` and `value` are held against it.
    pub place: u32,
    /// Seed of whatever is drawn: chances, and bits that are [`Injection::RANDOM`].
    pub seed: u64,
    /// Only with a port, MSR or guest-physical address of `address_first ..= address_last`, if the flag says so.
    pub address_first: u64,
    /// See `address_first`.
    pub address_last: u64,
    /// Only when the guest has taken this many exits.
    pub exits: u64,
    /// Only from this point on of the host's time-stamp counter.
    pub time: u64,
    /// Only messages whose eight bytes at `place` (little-endian; zero behind the end) give `value` under this mask; 0 for any.
    pub mask: u64,
    /// See `mask`.
    pub value: u64,
    /// What the model needs to know: see [`Needs`].
    pub argument: u64,
}

impl Injection {
    /// Any server, or any kind of message.
    pub const ANY: u8 = 0xff;
    /// Flag: only while a server recovers from a fault; redeliveries and messages about the restart are counted, too.
    pub const WHILE_RECOVERING: u8 = 1;
    /// Flag: a message that is delivered again after a fault counts again, and one about a restart counts as any other. (Else it does not,
    /// unless its kind is asked for: so the n-th message is the same one with and without faults before it.)
    pub const REDELIVERIES: u8 = 2;
    /// Flag: only messages about an address of the range.
    pub const AT_ADDRESS: u8 = 4;
    /// Flag: the matches from `first` on are cut into parts of `every`, and one of each part, drawn from the seed, is hit.
    pub const ONE_OF: u8 = 8;
    /// Argument: to be drawn from the seed.
    pub const RANDOM: u64 = u64::MAX;
}

/// All that is to happen in one run.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Plan {
    /// [`Plan::MAGIC`].
    pub magic: u64,
    /// [`crate::VERSION`] of who wrote it.
    pub version: u32,
    /// How many injections there are.
    pub count: u32,
    /// Which plan this is: a kernel that sees another number than before takes the plan over. 0 is none.
    pub sequence: u64,
    /// When the run is given up, by the host's time-stamp counter: the machine leaves with [`Plan::OVERTIME`]. 0 is never.
    pub until: u64,
    /// When the kernel passes the point at which the host stops the machine to take a snapshot, by the same counter. 0 is never.
    pub pause: u64,
    /// Bytes of `text` that are the dialogue.
    pub dialogue: u64,
    /// The dialogue: strings that end with a zero, in turn what the host's console port must have been told to print (nothing: at once) and
    /// what arrives there then, at the pace of [`Plan::PACE`]. QEMU's own console would bring it at the pace of the host's clock. Behind it,
    /// images' names that arguments refer to; they end with a zero, too.
    pub text: [u8; TEXT],
    /// The injections, in order: where several hit one message, the first does.
    pub injections: [Injection; INJECTIONS],
}

impl Plan {
    /// "ATOLLINJ" in little-endian.
    pub const MAGIC: u64 = u64::from_le_bytes(*b"ATOLLINJ");
    /// Nanoseconds from one typed byte to the next: a serial line of 115,200 baud.
    pub const PACE: u64 = 86_806;
    /// The code with which the host is left when a run is given up.
    pub const OVERTIME: u8 = 22;
    /// No faults.
    pub const NONE: Plan = Plan {
        magic: Self::MAGIC,
        version: crate::VERSION,
        count: 0,
        sequence: 0,
        until: 0,
        pause: 0,
        dialogue: 0,
        text: [0; TEXT],
        injections: [Injection {
            model: 0,
            server: 0,
            kind: 0,
            flags: 0,
            limit: 0,
            first: 0,
            every: 0,
            chance: 0,
            place: 0,
            seed: 0,
            address_first: 0,
            address_last: 0,
            exits: 0,
            time: 0,
            mask: 0,
            value: 0,
            argument: 0,
        }; INJECTIONS],
    };

    /// The injections that there are.
    #[must_use]
    pub fn injections(&self) -> &[Injection] {
        self.injections
            .get(..self.count as usize)
            .unwrap_or(&self.injections)
    }

    /// The string that begins at this place of the text; empty if there is none.
    #[must_use]
    pub fn string(&self, at: usize) -> &[u8] {
        let rest = self.text.get(at..).unwrap_or(&[]);
        rest.split(|byte| *byte == 0).next().unwrap_or(&[])
    }
}

const _: () = assert!(size_of::<Plan>() <= crate::PAGE, "a plan is one page");

/// Where a message's kind is: behind its header's length and bytes.
pub const KIND_AT: usize = 1 + size_of::<Header>();

impl Default for Plan {
    fn default() -> Self {
        Self::NONE
    }
}
