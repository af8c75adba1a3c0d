//! Where the kernel's instructions are, for guests that aim at them.

use std::fs;
use std::sync::LazyLock;

use atoll::bare::target::Permission;
use atoll::bare::{Toolchain, system};
use atoll::place;
use object::{Object, ObjectSection};

/// VMRUN.
const VMRUN: [u8; 3] = [0x0f, 0x01, 0xd8];

/// Its `.text`, and the address behind VMRUN.
struct Text {
    from: u64,
    to: u64,
    behind: u64,
}

static TEXT: LazyLock<Text> = LazyLock::new(|| {
    let toolchain = Toolchain::find(Permission::default()).unwrap();
    let program = system(&place::workspace().unwrap(), &toolchain)
        .unwrap()
        .kernel();
    let bytes = fs::read(program).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let text = file
        .section_by_name(".text")
        .expect("the kernel has a .text");
    let code = text.data().unwrap();
    let vmrun = code
        .windows(VMRUN.len())
        .position(|window| window == VMRUN)
        .expect("the kernel has a VMRUN");
    let from = text.address();
    Text {
        from,
        to: from + text.size(),
        behind: from + (vmrun + VMRUN.len()) as u64,
    }
});

/// What a guest is told on its command line.
pub(crate) fn arguments(guest: &str) -> Option<String> {
    match guest {
        "debug" => {
            let Text { from, to, behind } = &*TEXT;
            Some(format!("from={from:#x} to={to:#x} behind={behind:#x}"))
        }
        _ => None,
    }
}
