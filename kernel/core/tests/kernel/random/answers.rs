//! Whole answers at random: what a good server says, what one says that is slightly wrong, and what nobody would say.

use atoll_protocol::EFFECTS;
use atoll_protocol::PAGE;
use atoll_protocol::effect::Effect;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{Body, Message, Stop};
use atoll_protocol::units::Ticks;

use super::dice::Dice;
use super::effects::{KINDS, Scene, effect, tag};
use crate::cast::{
    CLOCK, CONSOLE, CONTROL, IRQCHIP, LOADER, MMU, MSR, POWER, SERIAL, SUPERVISOR, TIMER,
};
use crate::script::{encode, polite, push};

/// What a server of the cast may do beside completing its ticket.
fn trade(scene: &Scene<'_>) -> &'static [&'static str] {
    match scene.me {
        SUPERVISOR => &[
            "Request",
            "Mail",
            "Supervise",
            "Supervise",
            "Supervise",
            "Log",
            "Stop",
        ],
        LOADER => &["GuestWrite", "GuestCas", "GuestCopy", "Save"],
        MSR => &["System", "GuestWrite", "GuestCas", "Save"],
        MMU => &[
            "Register",
            "System",
            "Map",
            "Unmap",
            "GuestWrite",
            "GuestCas",
        ],
        IRQCHIP => &["Offer", "Arm", "Disarm"],
        TIMER | CLOCK => &["Line", "Arm", "Disarm", "Log"],
        POWER => &["Line", "Stop", "Save"],
        SERIAL => &["Line", "Mail", "Save"],
        CONSOLE => &["PortOut", "PortIn", "Fill", "Drain", "Mail", "Reply", "Arm"],
        CONTROL => &["Query", "PortOut", "Drain", "Reply", "Save"],
        _ => &["Save", "Arm", "Disarm", "Log"],
    }
}

/// Completes the message's ticket in one of the ways that its operation allows.
fn complete(answer: &mut Vec<u8>, message: &Message<'_>, scene: &Scene<'_>, dice: &mut Dice) {
    let other = match message.body {
        Body::MemoryFault(..)
        | Body::NestedFault(_, _, None)
        | Body::StringIo(_, _, None)
        | Body::Instruction(..)
            if dice.one_in(4) =>
        {
            *answer = encode(&[Effect::NeedRegisters]);
            return;
        }
        Body::MemoryFault(..)
        | Body::NestedFault(..)
        | Body::StringIo(..)
        | Body::Instruction(..)
        | Body::AccessDone(..) => Some("Forward"),
        Body::MsrRead(_) | Body::MsrWrite(_) => Some("Exception"),
        _ => None,
    };
    match (other, message.body) {
        (Some(kind), _) if dice.one_in(2) => effect(answer, tag(kind), true, scene, dice),
        (_, Body::Request(..)) if dice.one_in(2) => push(
            answer,
            &Effect::Defer(Fixed(Ticks(scene.now + dice.below(5000)))),
        ),
        (_, Body::Load) if dice.one_in(4) => push(answer, &Effect::Stop(Stop::Refused)),
        _ => polite(message, &mut |effect| push(answer, effect)),
    }
}

/// What a good server might say.
fn proper(message: &Message<'_>, scene: &Scene<'_>, dice: &mut Dice) -> Vec<u8> {
    let mut answer = Vec::new();
    for _ in 0..dice.below(4) {
        let kind = tag(dice.pick(trade(scene)));
        effect(&mut answer, kind, true, scene, dice);
    }
    let mut end = Vec::new();
    complete(&mut end, message, scene, dice);
    let asks = end == encode(&[Effect::NeedRegisters]);
    if asks || dice.one_in(2) {
        [end, if asks { Vec::new() } else { answer }].concat()
    } else {
        [answer, end].concat()
    }
}

/// Effects without regard to anything.
fn wild(scene: &Scene<'_>, dice: &mut Dice) -> Vec<u8> {
    let mut answer = Vec::new();
    for _ in 0..dice.below(6) {
        let (kind, sound) = (dice.below(KINDS.len() as u64) as usize, dice.one_in(2));
        effect(&mut answer, kind, sound, scene, dice);
    }
    answer
}

/// A proper answer with something beside it that does not belong there.
fn slip(message: &Message<'_>, scene: &Scene<'_>, dice: &mut Dice) -> Vec<u8> {
    let proper = proper(message, scene, dice);
    let mut extra = Vec::new();
    let kind = dice.below(KINDS.len() as u64) as usize;
    let (sound, times) = (
        dice.one_in(2),
        if dice.one_in(4) {
            1 + dice.below(10)
        } else {
            1
        },
    );
    (0..times).for_each(|_| effect(&mut extra, kind, sound, scene, dice));
    match dice.below(8) {
        0 => extra,
        1..5 => [extra, proper].concat(),
        _ => [proper, extra].concat(),
    }
}

/// Bytes of an answer as something that broke might leave them.
fn mutate(answer: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..1 + dice.below(3) {
        let length = answer.len() as u64;
        let at = dice.below(length + 1) as usize;
        match dice.below(6) {
            0 | 1 if at < answer.len() => answer[at] ^= 1 << dice.below(8),
            2 => answer.truncate(at),
            3 => answer.extend((0..dice.below(9)).map(|_| dice.byte())),
            4 => {
                // A part of it once more, somewhere else.
                let part = answer[at..].to_vec();
                let to = dice.below(length + 1) as usize;
                answer.splice(to..to, part);
            }
            _ => {
                // A length of 2^64 or thereabouts.
                let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
                answer.splice(at..(at + 1).min(answer.len()), huge);
            }
        }
    }
}

/// An answer, at most a page of it.
pub(crate) fn answer(message: &Message<'_>, scene: &Scene<'_>, dice: &mut Dice) -> Vec<u8> {
    let mut answer = match dice.below(100) {
        0..48 => proper(message, scene, dice),
        48..70 => slip(message, scene, dice),
        70..84 => wild(scene, dice),
        84..97 => {
            let mut answer = if dice.one_in(4) {
                wild(scene, dice)
            } else {
                proper(message, scene, dice)
            };
            mutate(&mut answer, dice);
            answer
        }
        97..99 => (0..dice.below(64)).map(|_| dice.byte()).collect(),
        _ => encode(&vec![
            Effect::Save(0, 1);
            EFFECTS - 1 + dice.below(4) as usize
        ]),
    };
    answer.truncate(PAGE);
    answer
}
