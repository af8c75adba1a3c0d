//! Where the processor that Atoll runs on does not do what the manual says, as boot has found it: by trial where one shows it, by its name
//! elsewhere. What is done about a quirk is right on every processor, so that one of which nothing is known is taken to have all.
//!
//! Not among them is what costs nothing to keep to anyway. Interrupts go in by V_IRQ and not by EVENTINJ, which QEMU's TCG may deliver
//! twice ([`vcpu::events`](crate::vcpu::events)): that saves the window's exit on any processor.

/// The quirks of a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// VMRUN does not load the interrupt shadow (QEMU 7.2). The instruction in a shadow is stepped over, unseen by the guest, before an
    /// interrupt goes in.
    pub loses_shadow: bool,
    /// An interrupt by V_IRQ whose delivery raises an exception is delivered once more (QEMU's TCG), so that these exit.
    pub delivers_again: bool,
    /// #VMEXIT leaves the guest's breakpoints in place, and VMRUN does not arm them (QEMU's TCG). MOV to DR7 does either, and no
    /// breakpoint on data is armed, which would go off behind the exit.
    pub keeps_breakpoints: bool,
    /// An MSR's number is taken in 64 bits where its permission is looked up (QEMU's TCG). There is a map wherever that leads.
    pub looks_up_wide_msrs: bool,
}

impl Quirks {
    /// A processor of which nothing is known.
    pub const ALL: Quirks = Quirks {
        loses_shadow: true,
        delivers_again: true,
        keeps_breakpoints: true,
        looks_up_wide_msrs: true,
    };
    /// One that does what the manual says.
    pub const NONE: Quirks = Quirks {
        loses_shadow: false,
        delivers_again: false,
        keeps_breakpoints: false,
        looks_up_wide_msrs: false,
    };
}
