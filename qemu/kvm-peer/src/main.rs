//! The other side of `atoll bench`: the same guest, on KVM.
//!
//! This is the first program of a Linux that runs in the same QEMU as Atoll would. It loads `kvm_amd`, runs the guest `/guest` with as
//! little around it as there can be, and powers off. What costs KVM least is chosen throughout: its own interrupt controllers, memory that is
//! there already, one thread, devices that do nothing but answer.
//!
//! - [`host`]: from a bare Linux to one with `/dev/kvm`, and to its end.
//! - [`image`]: the guest's file.
//! - [`machine`]: the virtual machine, and the loop that runs it.
//! - [`uart`]: its serial port.
//! - [`console`]: the process on that port's other side.
#![deny(unsafe_code)]

mod console;
mod host;
mod image;
mod machine;
mod uart;

use std::error::Error;

/// The guest's file.
const GUEST: &str = "/guest";

fn main() {
    if std::env::args().nth(1).as_deref() == Some(console::ARGUMENT) {
        console::run();
        return;
    }
    if let Err(error) = measure() {
        println!("kvm-peer: {error}");
    }
    host::power_off();
}

fn measure() -> Result<(), Box<dyn Error>> {
    host::set_up()?;
    println!("kernel {}", host::release()?);
    let image = image::Image::read(GUEST)?;
    let console = console::Console::start()?;
    machine::run(&image, uart::Uart::new(console))
}
