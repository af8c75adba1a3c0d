//! Making a Linux that has only just started into one that has `/dev/kvm`.

use std::error::Error;
use std::fs::{self, File};
use std::io;

use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::prctl::set_thp_disable;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::tcdrain;
use nix::sys::utsname::uname;

/// Where the modules are, in the order of their names, which is the order in which they need each other.
const MODULES: &str = "/modules";

/// Mounts `/dev` and loads the modules.
pub(crate) fn set_up() -> Result<(), Box<dyn Error>> {
    mount(
        Some("devtmpfs"),
        "/dev",
        Some("devtmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )?;
    let mut modules = fs::read_dir(MODULES)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    modules.sort();
    for path in modules {
        let module = File::open(&path)?;
        finit_module(&module, c"", ModuleInitFlags::empty())
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    // With large pages a whole 2 MiB would be mapped at the first touch.
    set_thp_disable(true)?;
    Ok(())
}

/// The release of the Linux that this runs on.
pub(crate) fn release() -> Result<String, Box<dyn Error>> {
    Ok(uname()?.release().to_string_lossy().into_owned())
}

/// Ends the machine, after what was printed has been sent.
pub(crate) fn power_off() -> ! {
    let _ = tcdrain(io::stdout());
    let _ = reboot(RebootMode::RB_POWER_OFF);
    panic!("the machine cannot be powered off");
}
