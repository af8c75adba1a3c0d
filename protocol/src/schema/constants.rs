//! Numbers that both sides rely on as much as on the types.

use std::format;
use std::string::String;

use crate::role::console_mail;
use crate::{
    EFFECTS, INTERCHANGE_BYTES, LINE, LINES, MAIL_BYTES, PAGE, PANICKED, SERVERS, STRING_BYTES,
    TIMERS, effect, inject, layout, manifest, message,
};

macro_rules! constants {
    ($($constant:expr),* $(,)?) => {
        /// One line per constant.
        pub(super) fn text() -> String {
            [$((stringify!($constant), $constant as u64)),*]
                .iter()
                .map(|(name, value)| format!("const {name} = {value:#x}\n"))
                .collect()
        }
    };
}

constants![
    PAGE,
    EFFECTS,
    MAIL_BYTES,
    STRING_BYTES,
    INTERCHANGE_BYTES,
    PANICKED,
    LINE,
    SERVERS,
    TIMERS,
    LINES,
    layout::IMAGE,
    layout::IMAGE_END,
    layout::MESSAGE,
    layout::ANSWER,
    layout::SABOTAGE,
    layout::VAULT,
    layout::VAULT_MAX,
    layout::STACK_TOP,
    layout::STACK_MAX_PAGES,
    layout::BUNDLE,
    layout::GUEST,
    layout::GAP_START,
    layout::GAP_END,
    manifest::ImageHeader::MAGIC,
    message::Header::NOT_ACCEPTED,
    effect::Segment::READ,
    effect::Segment::WRITE,
    effect::Segment::EXECUTE,
    effect::Forward::MMIO,
    effect::Forward::PORT,
    effect::Forward::STAND_IN,
    effect::Forward::IMMEDIATE,
    effect::Forward::LOAD,
    effect::Forward::STORE,
    effect::Forward::RETURN,
    effect::Offer::NONE,
    effect::Offer::FIXED,
    effect::Offer::EXTERNAL,
    effect::Mapping::WRITE,
    effect::Mapping::EXECUTE,
    effect::Mapping::SMALL,
    effect::Mapping::LARGE,
    inject::Plan::MAGIC,
    inject::Plan::OVERTIME,
    inject::Injection::ANY,
    inject::Injection::WHILE_RECOVERING,
    inject::Injection::REDELIVERIES,
    inject::Injection::AT_ADDRESS,
    inject::Injection::RANDOM,
    console_mail::OUTPUT,
    console_mail::ROOM,
    console_mail::INPUT,
    console_mail::TAKEN,
    console_mail::OUTPUT_WINDOW,
    console_mail::OUTPUT_BYTES,
    console_mail::INPUT_WINDOW,
    console_mail::TAKEN_EVERY,
];
