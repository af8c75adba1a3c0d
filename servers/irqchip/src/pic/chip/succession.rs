//! An 8259A for another server of the role, and from one.

use atoll_protocol::interchange::PicState;

use super::Chip;

impl Chip {
    /// What another must know of it to go on.
    pub(in crate::pic) fn export(self) -> PicState {
        PicState {
            lines: self.lines & !self.cascade,
            edges: self.latch,
            by_level: self.level,
            mask: self.mask,
            services: self.service,
            base: self.base,
            first: self.first,
            auto_end: self.auto_end != 0,
            auto_rotate: self.auto_rotate != 0,
            special_mask: self.special_mask != 0,
            special_nested: self.special_nested != 0,
            shows_services: self.show_service != 0,
            polls: self.poll != 0,
            expects: self.expect,
            fourth_word: self.long != 0,
        }
    }

    /// The chip that goes on from there.
    pub(in crate::pic) fn import(before: &PicState, cascade: u8) -> Chip {
        Chip {
            lines: before.lines & !cascade,
            latch: before.edges,
            cascade,
            level: before.by_level,
            mask: before.mask,
            service: before.services,
            base: before.base & 0xf8,
            first: before.first & 7,
            auto_end: before.auto_end.into(),
            auto_rotate: before.auto_rotate.into(),
            special_mask: before.special_mask.into(),
            special_nested: before.special_nested.into(),
            show_service: before.shows_services.into(),
            poll: before.polls.into(),
            expect: before.expects,
            long: before.fourth_word.into(),
        }
    }
}
