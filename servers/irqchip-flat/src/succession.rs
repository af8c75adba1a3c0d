//! The state for another server of the role, and from one.

use atoll_protocol::effect::Offer;
use atoll_protocol::interchange::{
    ApicTimerState, IoapicState, IrqchipState, LapicState, OfferState, PicState,
};
use atoll_protocol::units::Ticks;

use crate::lapic::number as n;
use crate::pic::{Mode, Pics};
use crate::timer::Timer;
use crate::vectors::{LEVEL, PENDING, SERVED};
use crate::{NOTHING, State};

const LVTS: core::ops::RangeInclusive<usize> = n::LVT_TIMER as usize..=n::LVT_ERROR as usize;
const MILLION: u32 = 1_000_000;

impl State {
    /// What another must know to go on. The CPUs that there are not have no state.
    pub(crate) fn export(&self) -> IrqchipState {
        let [kind, vector] = self.offered;
        let mut local_vectors = [0; 6];
        local_vectors.copy_from_slice(&self.registers[LVTS]);
        let bits = |bit| self.vectors.words(bit);
        let lapic = LapicState {
            base: self.base,
            task_priority: self.register(n::TPR) as u8,
            logical_destination: self.register(n::LDR),
            destination_format: self.register(n::DFR),
            spurious_vector: self.register(n::SVR),
            error_status: self.register(n::ESR) as u8,
            errors: self.errors,
            interrupt_command: u64::from(self.register(n::ICR_HIGH)) << 32
                | u64::from(self.register(n::ICR)),
            local_vectors,
            timer: ApicTimerState {
                initial_count: self.register(n::INITIAL_COUNT),
                divide: self.register(n::DIVIDE) as u8,
                deadline: (self.timer.runs != 0).then(|| Ticks(self.timer.deadline())),
                early: if self.timer.millionths == 0 {
                    0
                } else {
                    MILLION - self.timer.millionths
                },
                period: self.timer.period,
            },
            requests: bits(PENDING),
            services: bits(SERVED),
            level_triggered: bits(LEVEL),
            nmi: self.nmi != 0,
            offered: match kind {
                Offer::FIXED => OfferState::Fixed(vector),
                Offer::EXTERNAL => OfferState::External(vector),
                _ => OfferState::Nothing,
            },
        };
        let absent = LapicState::default();
        let ioapic = IoapicState {
            entries: self.pins,
            lines: self.lines,
            select: self.select as u8,
            id: self.ioapic_id,
        };
        IrqchipState {
            lapics: [lapic, absent, absent, absent],
            pics: [0, 1].map(|chip| self.pics.export(chip)),
            ioapic,
        }
    }

    /// Goes on from there.
    pub(crate) fn import(&mut self, before: &IrqchipState) {
        let lapic = &before.lapics[0];
        self.base = lapic.base;
        self.told_off = u8::from(!self.is_enabled());
        let values = [
            (n::TPR, lapic.task_priority.into()),
            (n::LDR, lapic.logical_destination),
            (n::DFR, lapic.destination_format),
            (n::SVR, lapic.spurious_vector),
            (n::ESR, lapic.error_status.into()),
            (n::ICR, lapic.interrupt_command as u32),
            (n::ICR_HIGH, (lapic.interrupt_command >> 32) as u32),
            (n::INITIAL_COUNT, lapic.timer.initial_count),
            (n::DIVIDE, u32::from(lapic.timer.divide & 0x0b)),
        ];
        values
            .iter()
            .for_each(|(number, value)| self.set_register(*number, *value));
        self.registers[LVTS].copy_from_slice(&lapic.local_vectors);
        self.errors = lapic.errors;
        for (bit, words) in [
            (PENDING, lapic.requests),
            (SERVED, lapic.services),
            (LEVEL, lapic.level_triggered),
        ] {
            self.vectors.set_words(bit, &words);
        }
        let (deadline, early) = (
            lapic.timer.deadline.unwrap_or_default().0,
            lapic.timer.early % MILLION,
        );
        self.timer = Timer {
            ticks: deadline.saturating_sub((early != 0).into()),
            millionths: if early == 0 { 0 } else { MILLION - early },
            runs: (deadline != 0).into(),
            period: lapic.timer.period,
        };
        self.nmi = lapic.nmi.into();
        self.offered = match lapic.offered {
            OfferState::Nothing => NOTHING,
            OfferState::Fixed(vector) => [Offer::FIXED, vector],
            OfferState::External(vector) => [Offer::EXTERNAL, vector],
        };
        self.pics.import(&before.pics);
        let IoapicState {
            entries,
            lines,
            select,
            id,
        } = before.ioapic;
        (self.pins, self.lines, self.select, self.ioapic_id) = (entries, lines, select.into(), id);
    }
}

impl Pics {
    fn export(&self, chip: usize) -> PicState {
        let part = |word: u16| word.to_le_bytes()[chip];
        let mode = &self.modes[chip];
        PicState {
            lines: part(self.lines),
            edges: part(self.edges),
            by_level: part(self.by_level),
            mask: part(self.masks),
            services: part(self.services),
            base: mode.base,
            first: mode.first,
            auto_end: mode.auto_end != 0,
            auto_rotate: mode.auto_rotate != 0,
            special_mask: mode.special_mask != 0,
            special_nested: mode.special_nested != 0,
            shows_services: mode.shows_services != 0,
            polls: mode.polls != 0,
            expects: mode.expects,
            fourth_word: mode.fourth_word != 0,
        }
    }

    fn import(&mut self, before: &[PicState; 2]) {
        let both =
            |part: fn(&PicState) -> u8| u16::from_le_bytes([part(&before[0]), part(&before[1])]);
        self.lines = both(|chip| chip.lines);
        self.edges = both(|chip| chip.edges);
        self.by_level = both(|chip| chip.by_level);
        self.masks = both(|chip| chip.mask);
        self.services = both(|chip| chip.services);
        self.modes = before.map(|chip| Mode {
            base: chip.base & 0xf8,
            first: chip.first & 7,
            expects: chip.expects,
            fourth_word: chip.fourth_word.into(),
            auto_end: chip.auto_end.into(),
            auto_rotate: chip.auto_rotate.into(),
            special_mask: chip.special_mask.into(),
            special_nested: chip.special_nested.into(),
            shows_services: chip.shows_services.into(),
            polls: chip.polls.into(),
        });
    }
}
