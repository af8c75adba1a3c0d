//! From a machine and a guest to QEMU's arguments: the system is built, everything is packed, and the files are put into the machine's
//! directory.

use atoll_manifest::Machine;
use atoll_manifest::bundle::{self, GuestFiles};

use super::Instance;
use crate::bare::target::Permission;
use crate::bare::{self, Toolchain};
use crate::emulator::Arguments;
use crate::emulator::arguments::Boot;
use crate::error::Result;
use crate::guest::Guest;
use crate::place;

/// What is to be booted, and how.
#[derive(Clone, Debug)]
pub struct Plan<'p> {
    /// The machine.
    pub machine: &'p Machine,
    /// The guest.
    pub guest: &'p Guest,
    /// Whether time is counted in instructions.
    pub icount: bool,
    /// Whether Atoll is left out.
    pub direct: bool,
    /// What may be installed.
    pub permission: Permission,
}

impl Plan<'_> {
    /// Builds and packs.
    pub fn prepare(&self, instance: &Instance) -> Result<Arguments> {
        self.guest.check_memory(self.machine.memory)?;
        if self.direct {
            self.without_atoll(instance)
        } else {
            self.with_atoll(instance)
        }
    }

    fn with_atoll(&self, instance: &Instance) -> Result<Arguments> {
        let workspace = place::workspace()?;
        self.machine
            .check_images(&bare::build::images(&workspace)?)?;
        let toolchain = Toolchain::find(self.permission)?;
        let mut built = bare::system(&workspace, &toolchain)?;
        for server in &self.machine.servers {
            if let Some(dir) = &server.own {
                built.add(
                    &server.image,
                    bare::build::own(&workspace, &toolchain, dir)?,
                );
            }
        }
        let guest = GuestFiles {
            name: &self.guest.name(),
            kernel: &self.guest.kernel,
            initrd: self.guest.initrd.as_deref(),
            modules: &self.guest.modules,
            command_line: &self.guest.command_line,
        };
        instance.note_clock(self.icount)?;
        let packed = bundle::pack(self.machine, &built, &guest)?;
        let bundle = instance.write("bundle.tar", &packed)?;
        Ok(Arguments {
            memory_mib: Arguments::memory_for(self.machine.memory, packed.len() as u64),
            icount: self.icount,
            boot: Boot::Atoll {
                kernel: built.kernel(),
                bundle,
                log: instance.log(),
                control: instance.machine_control(),
            },
            debugger: None,
            lab: None,
        })
    }

    fn without_atoll(&self, instance: &Instance) -> Result<Arguments> {
        let kernel = instance.write("kernel", &self.guest.kernel)?;
        let initrd = self
            .guest
            .initrd
            .as_ref()
            .map(|initrd| instance.write("initrd", initrd))
            .transpose()?;
        let mut modules = Vec::new();
        for (number, (text, bytes)) in self.guest.modules.iter().enumerate() {
            let file = instance.write(&format!("module-{number}"), bytes)?;
            let words = text.split_once(' ').map_or("", |(_, words)| words);
            modules.push(format!("{} {words}", file.display()));
        }
        let initrd = match modules.is_empty() {
            true => initrd,
            false => Some(modules.join(",").into()),
        };
        let boot = Boot::Direct {
            kernel,
            initrd,
            command_line: self.guest.command_line.clone(),
        };
        Ok(Arguments {
            memory_mib: self.machine.memory >> 20,
            icount: self.icount,
            boot,
            debugger: None,
            lab: None,
        })
    }
}
