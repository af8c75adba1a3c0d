//! A local APIC for another server of the role, and from one.

use atoll_protocol::effect::Offer;
use atoll_protocol::interchange::{ApicTimerState, LapicState, OfferState};
use atoll_protocol::units::Ticks;

use super::registers::Registers;
use super::{Lapic, Live, Offered};
use crate::vectors::Vectors;

impl Lapic {
    /// What another must know of it to go on.
    pub(crate) fn export(&self) -> LapicState {
        let Lapic {
            live,
            registers: file,
        } = self;
        LapicState {
            base: file.base,
            task_priority: live.tpr,
            logical_destination: file.ldr,
            destination_format: file.dfr,
            spurious_vector: file.svr,
            error_status: file.esr,
            errors: file.errors,
            interrupt_command: file.icr,
            local_vectors: [
                live.lvt_timer,
                file.lvt_thermal,
                file.lvt_performance,
                file.lint0,
                file.lint1,
                file.lvt_error,
            ],
            timer: ApicTimerState {
                initial_count: file.initial_count,
                divide: file.divide,
                deadline: (live.deadline != 0).then_some(Ticks(live.deadline)),
                early: file.early,
                period: live.period,
            },
            requests: live.irr.words(),
            services: live.isr.words(),
            level_triggered: live.tmr.words(),
            nmi: live.nmi != 0,
            offered: match live.offered.kind {
                Offer::FIXED => OfferState::Fixed(live.offered.vector),
                Offer::EXTERNAL => OfferState::External(live.offered.vector),
                _ => OfferState::Nothing,
            },
        }
    }

    /// The local APIC number `id` that goes on from there; how the 8259s reach its CPU is to be worked out when the I/O APIC is known, too.
    pub(crate) fn import(id: u8, before: &LapicState) -> Lapic {
        let [
            lvt_timer,
            lvt_thermal,
            lvt_performance,
            lint0,
            lint1,
            lvt_error,
        ] = before.local_vectors;
        let live = Live {
            irr: Vectors::of_words(before.requests),
            isr: Vectors::of_words(before.services),
            tmr: Vectors::of_words(before.level_triggered),
            deadline: before.timer.deadline.unwrap_or_default().0,
            period: before.timer.period,
            lvt_timer,
            offered: match before.offered {
                OfferState::Nothing => Offered::NONE,
                OfferState::Fixed(vector) => Offered::fixed(vector),
                OfferState::External(vector) => Offered::external(vector),
            },
            tpr: before.task_priority,
            nmi: before.nmi.into(),
            ..Live::default()
        };
        let registers = Registers {
            base: before.base,
            icr: before.interrupt_command,
            ldr: before.logical_destination,
            dfr: before.destination_format,
            svr: before.spurious_vector,
            lvt_thermal,
            lvt_performance,
            lint0,
            lint1,
            lvt_error,
            initial_count: before.timer.initial_count,
            early: before.timer.early,
            esr: before.error_status,
            errors: before.errors,
            divide: before.timer.divide & 0x0b,
            ..Registers::new(id)
        };
        let mut lapic = Lapic { live, registers };
        lapic.rewire();
        lapic
    }
}
