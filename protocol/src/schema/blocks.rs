//! The fixed-layout blocks: fields with their places and sizes.

use core::any::type_name_of_val;
use core::mem::offset_of;
use std::format;
use std::string::String;
use std::vec::Vec;

use crate::units::{Gpa, Ticks};

/// What may travel as a [`Fixed`](crate::fixed::Fixed) block: one that the lock lists, or a plain number.
pub(super) trait Block {
    /// What the lock calls it.
    const NAME: &'static str;
}

impl Block for u64 {
    const NAME: &'static str = "u64";
}
impl Block for Gpa {
    const NAME: &'static str = "Gpa";
}
impl Block for Ticks {
    const NAME: &'static str = "Ticks";
}

/// A field: the bytes that it takes, its name and its type.
fn field<T>(start: usize, name: &str, value: &T) -> String {
    let ty = type_name_of_val(value).replace("atoll_protocol::", "");
    format!("    {start}..{} {name}: {ty}\n", start + size_of::<T>())
}

/// Lists blocks with all their fields: one that is left out does not compile.
macro_rules! blocks {
    ($($module:ident::$name:ident { $($field:ident),* $(,)? })*) => {
        $(impl Block for crate::$module::$name {
            const NAME: &'static str = concat!(stringify!($module), "::", stringify!($name));
        })*

        /// One section per block.
        pub(super) fn text() -> String {
            let mut sections = Vec::new();
            $({
                type This = crate::$module::$name;
                let crate::$module::$name { $($field),* } = &This::default();
                let mut fields = [$((offset_of!(This, $field), field(offset_of!(This, $field), stringify!($field), $field))),*];
                fields.sort();
                let fields: String = fields.into_iter().map(|(_, text)| text).collect();
                sections.push(format!("block {}, {} bytes\n{fields}", This::NAME, size_of::<This>()));
            })*
            sections.join("\n")
        }
    };
}

blocks! {
    message::Header { now, ticket, vcpu, tpr, accepted }
    message::Machine { schema, tsc_khz, memory, bundle, wall_seconds, vcpus, physical_bits, frames, features }
    message::Held { tickets }
    message::Leaf { eax, ebx, ecx, edx }
    message::CpuidExit { leaf, subleaf, host, cr4 }
    message::MsrExit { index, reserved, value, held, cr0 }
    message::PortExit { port, size, reserved, value, count }
    message::MmioExit { gpa, value, size, reserved }
    message::HypercallExit { number, arguments, cpl, reserved }
    message::NestedFault { gpa, error }
    message::StringIoExit { info, next_rip }
    message::InstructionExit { code, bytes, fetched }
    message::AccessDone { token, value }
    vcpu::Context { rip, cs_base, rflags, cr0, cr3, cr4, efer, cs_attributes, cpl, tpr, reserved }
    vcpu::Segment { selector, attributes, limit, base }
    vcpu::Registers { general, segments, cr2, debug }
    vcpu::InitialState { general, segments, gdtr, idtr, tr, ldtr, rip, rflags, cr0, cr3, cr4, efer }
    vcpu::Exception { error, vector, has_error, reserved, address }
    effect::Segment { address, offset, file, memory, access }
    effect::Forward {
        address, value, rip_or_token, count, space, write, size, source, finish, register, width, sign, reserved,
    }
    effect::Offer { vcpu, vector, kind, nmi }
    effect::GuestCas { gpa, old, new, size }
    effect::GuestCopy { gpa, offset, length }
    effect::Mapping { gpa, size, access }
    inject::Injection {
        model, server, kind, flags, limit, first, every, chance, place, seed, address_first, address_last, exits, time, mask, value,
        argument,
    }
    inject::Plan { magic, version, count, sequence, until, pause, dialogue, text, injections }
    interchange::Note { magic, schema, role, version, oldest, name }
    manifest::ImageHeader { magic, version, segments, entry, schema }
}
