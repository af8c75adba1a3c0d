//! The virtual machine: memory, KVM's own 8259s and local APIC, one vCPU as a multiboot loader leaves it, and the loop that runs it.

use std::error::Error;

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

use crate::image::Image;
use crate::uart::{FIRST_PORT, LAST_PORT, Uart};

/// Guest memory.
const MEMORY: u64 = 96 << 20;
const PAGE: u64 = 4096;
/// Three pages that KVM asks for on some CPUs; in nobody's way.
const TASK_STATE: usize = 0xfffb_d000;
/// PM1a control, where guests power off.
const POWER: u16 = 0x604;
/// What EAX holds at a multiboot entry.
const LOADED: u64 = 0x2bad_b002;

/// Runs the guest until it powers off.
pub(crate) fn run(image: &Image, mut uart: Uart) -> Result<(), Box<dyn Error>> {
    let kvm = Kvm::new()?;
    let vm = kvm.create_vm()?;
    vm.set_tss_address(TASK_STATE)?;
    vm.create_irq_chip()?;
    let _memory = memory(&vm, image)?;
    let mut vcpu = vm.create_vcpu(0)?;
    vcpu.set_cpuid2(&kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)?)?;
    reset(&vcpu, image.entry)?;
    loop {
        match vcpu.run()? {
            VcpuExit::IoOut(port @ FIRST_PORT..=LAST_PORT, bytes) => {
                for byte in bytes {
                    uart.write(port, *byte)?;
                }
                if let Some(level) = uart.line_change() {
                    vm.set_irq_line(Uart::LINE, level)?;
                }
            }
            VcpuExit::IoIn(port @ FIRST_PORT..=LAST_PORT, bytes) => bytes.fill(uart.read(port)),
            VcpuExit::IoOut(POWER, _) => return uart.close(),
            VcpuExit::IoOut(..) => {}
            VcpuExit::IoIn(_, bytes) => bytes.fill(0xff),
            other => return Err(format!("the guest stopped: {other:?}").into()),
        }
    }
}

/// Memory with the guest in it, all of it there: faults are to be KVM's alone.
fn memory(vm: &VmFd, image: &Image) -> Result<GuestMemoryMmap, Box<dyn Error>> {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), MEMORY as usize)])?;
    for page in (0..MEMORY).step_by(PAGE as usize) {
        memory.write_slice(&[0], GuestAddress(page))?;
    }
    memory.write_slice(&image.bytes, GuestAddress(image.address))?;
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: MEMORY,
        userspace_addr: memory.get_host_address(GuestAddress(0))? as u64,
    };
    // SAFETY: the mapping has this size, and the caller keeps it longer than the machine.
    #[allow(unsafe_code, reason = "KVM is given memory by its address")]
    unsafe {
        vm.set_user_memory_region(region)?;
    }
    Ok(memory)
}

/// Protected mode, flat segments, no paging, interrupts off (Multiboot 0.6.96, §3.2).
fn reset(vcpu: &VcpuFd, entry: u64) -> Result<(), Box<dyn Error>> {
    let mut system = vcpu.get_sregs()?;
    let flat = |selector, kind| kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_: kind,
        present: 1,
        db: 1,
        s: 1,
        g: 1,
        ..kvm_segment::default()
    };
    let (code, data) = (flat(0x08, 11), flat(0x10, 3));
    (
        system.cs, system.ds, system.es, system.fs, system.gs, system.ss,
    ) = (code, data, data, data, data, data);
    system.cr0 |= 1;
    vcpu.set_sregs(&system)?;
    vcpu.set_regs(&kvm_regs {
        rip: entry,
        rax: LOADED,
        rflags: 2,
        ..kvm_regs::default()
    })?;
    Ok(())
}
