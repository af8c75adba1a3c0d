//! ACPI tables.

use crate::placer::Placer;

/// Places them.
pub(crate) fn place(_: u16, _: &mut Placer<'_, '_>) {}
