//! The guest's files in the bundle.

use atoll_sdk::bundle::{Bundle, Entry};

use crate::memory::{CMDLINE, HIGH, PAGE, Ram};
use crate::placer::Placer;
use crate::refusal::Refusal;

/// A kernel and what goes with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Files<'b> {
    pub(crate) kernel: Entry<'b>,
    /// Nothing but zeros: what memory is cleared with.
    pub(crate) zeros: Entry<'b>,
    pub(crate) initrd: Option<Entry<'b>>,
    /// Without the line's end.
    pub(crate) cmdline: Entry<'b>,
    /// The kernel's name.
    pub(crate) name: Option<Entry<'b>>,
    /// More modules, each with its text.
    pub(crate) modules: [Option<(Entry<'b>, Option<Entry<'b>>)>; MODULES],
}

/// Most modules beside the initial RAM disk.
pub(crate) const MODULES: usize = 7;
/// Their names in the bundle.
const NAMES: [[&str; 2]; MODULES] = [
    ["guest/module/1", "guest/module/1/cmdline"],
    ["guest/module/2", "guest/module/2/cmdline"],
    ["guest/module/3", "guest/module/3/cmdline"],
    ["guest/module/4", "guest/module/4/cmdline"],
    ["guest/module/5", "guest/module/5/cmdline"],
    ["guest/module/6", "guest/module/6/cmdline"],
    ["guest/module/7", "guest/module/7/cmdline"],
];

impl<'b> Files<'b> {
    /// Finds them.
    pub(crate) fn find(bundle: &Bundle<'b>) -> Result<Self, Refusal> {
        let kernel = bundle.find("guest/kernel")?.ok_or(Refusal::NoKernel)?;
        let zeros = bundle
            .find("zeros")?
            .filter(|file| !file.bytes.is_empty())
            .ok_or(Refusal::NoZeros)?;
        let initrd = bundle
            .find("guest/initrd")?
            .filter(|file| !file.bytes.is_empty());
        let none = Entry {
            name: "guest/cmdline",
            offset: kernel.offset,
            bytes: &[],
        };
        let cmdline = bundle.find("guest/cmdline")?.unwrap_or(none);
        // A NUL would end the line for the guest as well.
        let text = cmdline
            .bytes
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or(&[])
            .trim_ascii_end();
        let name = bundle.find("guest/name")?;
        let mut modules = [None; MODULES];
        for (place, [file, text]) in modules.iter_mut().zip(NAMES) {
            *place = match bundle.find(file)? {
                Some(file) => Some((file, bundle.find(text)?)),
                None => None,
            };
        }
        Ok(Files {
            kernel,
            zeros,
            initrd,
            name,
            modules,
            cmdline: Entry {
                bytes: text,
                ..cmdline
            },
        })
    }

    /// Finds room for the initial RAM disk between `floor` and `ceiling`, as high as it can be.
    pub(crate) fn place_initrd(
        &self,
        ram: Ram,
        floor: u64,
        ceiling: u64,
    ) -> Result<Initrd, Refusal> {
        let Some(file) = &self.initrd else {
            return Ok(Initrd { at: 0, size: 0 });
        };
        let size = file.bytes.len() as u64;
        let no_room = Refusal::NoRoom {
            what: "the initrd above the kernel",
            size,
            at: 0,
        };
        ram.highest(size, floor, ceiling)
            .map(|at| Initrd { at, size })
            .ok_or(no_room)
    }

    /// Finds room for the initial RAM disk right above `floor`.
    pub(crate) fn place_initrd_low(&self, ram: Ram, floor: u64) -> Result<Initrd, Refusal> {
        let Some(file) = &self.initrd else {
            return Ok(Initrd { at: 0, size: 0 });
        };
        let size = file.bytes.len() as u64;
        let at = floor.max(HIGH).next_multiple_of(PAGE);
        let no_room = Refusal::NoRoom {
            what: "the initrd above the kernel",
            size,
            at,
        };
        if ram.holds(at, size) {
            Ok(Initrd { at, size })
        } else {
            Err(no_room)
        }
    }

    /// Refuses a command line that is longer than its place, with its end.
    pub(crate) fn check_cmdline(&self, room: u64) -> Result<(), Refusal> {
        let (length, most) = (self.cmdline.bytes.len() as u64, room.saturating_sub(1));
        if length > most {
            Err(Refusal::CommandLine { length, most })
        } else {
            Ok(())
        }
    }

    /// Copies the command line to its usual place, and ends it.
    pub(crate) fn copy_cmdline(&self, placer: &mut Placer<'_, '_>) {
        self.copy_cmdline_to(CMDLINE, placer);
    }

    /// Copies it elsewhere.
    pub(crate) fn copy_cmdline_to(&self, at: u64, placer: &mut Placer<'_, '_>) {
        placer.copy(at, &self.cmdline);
        placer.zero(at + self.cmdline.bytes.len() as u64, 1);
    }

    /// Copies it there.
    pub(crate) fn copy_initrd(&self, initrd: Initrd, placer: &mut Placer<'_, '_>) {
        if let Some(file) = &self.initrd {
            placer.copy(initrd.at, file);
        }
    }
}

/// Where the initial RAM disk is; both 0 if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Initrd {
    pub(crate) at: u64,
    pub(crate) size: u64,
}
