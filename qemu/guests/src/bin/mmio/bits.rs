//! BT, BTS, BTR, BTC, whose index may reach beyond the operand.

use atoll_guests::apic::ICR_HIGH;
use atoll_guests::check::{equal, section};
use atoll_guests::forms::{NARROW, WIDE, With, flags};
use atoll_guests::memory::{load, store};
use atoll_guests::run::Run;
use atoll_guests::run::register::{RCX, RDI};
use atoll_guests::{code, forms};

pub(crate) fn bits() {
    section("bt, bts, btr, btc");
    macro_rules! bit {
        ($name:literal) => {
            let narrow = forms! {
                concat!($name, " word ptr [rdi], 3"), concat!($name, " dword ptr [rdi], 7"),
                concat!($name, " qword ptr [rdi], 5"), concat!($name, " dword ptr [rdi], 35"),
                concat!($name, " word ptr [rdi], 20"), concat!($name, " word ptr [rdi], cx"),
                concat!($name, " dword ptr [rdi], ecx"), concat!($name, " qword ptr [rdi], rcx"),
            };
            for count in [0, 4, 7, 9] {
                forms::all(&narrow, NARROW, flags::CARRY, With { flags: 0, count });
            }
            let wide = forms! { concat!($name, " dword ptr [rdi], 31"), concat!($name, " dword ptr [rdi], ecx") };
            for count in [0, 13, 31] {
                forms::all(&wide, WIDE, flags::CARRY, With { flags: 0, count });
            }
            // A register's index reaches beyond the operand, in both directions.
            for (at, index) in
                [(ICR_HIGH - 16, 128 + 17), (ICR_HIGH + 16, (-128_i64 + 17) as u64), (ICR_HIGH - 0x100, 0x800 + 30)]
            {
                store(ICR_HIGH, 0x4002_0000);
                let stop = Run::new(code!(concat!($name, " dword ptr [rdi], ecx"))).with(RDI, at).with(RCX, index).go();
                let bit = 1 << (index & 31);
                let want = match $name {
                    "btr" | "btc" => 0x4002_0000 & !bit,
                    _ => 0x4002_0000,
                };
                equal(format_args!(concat!($name, " with the index {:x}"), index), (stop.rflags & 1, load(ICR_HIGH)), (1, want));
            }
        };
    }
    bit!("bt");
    bit!("bts");
    bit!("btr");
    bit!("btc");
    forms::all(
        &forms! { "lock bts dword ptr [rdi], ecx", "lock btr dword ptr [rdi], 3" },
        NARROW,
        flags::CARRY,
        With { flags: 0, count: 2 },
    );
}
