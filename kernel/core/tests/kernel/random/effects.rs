//! Effects at random: with values that the kernel must take from this server, or with values that it hardly may.

use atoll_protocol::effect::{
    Effect, Fifo, Forward, GuestCas, GuestCopy, Mapping, Offer, Query, Segment, Signal, Supervise,
    Terms,
};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::grant::{Grant, Limits, Route};
use atoll_protocol::layout::IMAGE;
use atoll_protocol::message::{Leaf, Stop};
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{Gpa, HostIrq, LineId, ServerId, TicketId, Ticks, TimerId};
use atoll_protocol::vcpu::{Exception, SystemRegister};
use zerocopy::IntoBytes;

use super::dice::Dice;
use crate::cast::{
    self, COM1, CONSOLE, CONTROL, LAPIC, LIMITS, LOADER, MEMORY, MSR, POWER, SERIAL, SUPERVISOR,
    TEXT,
};
use crate::machine::BUNDLE;
use crate::script::{initial, push};

/// Kinds of effects, by their tag.
pub(crate) const KINDS: [&str; 34] = [
    "Save",
    "Leaf",
    "Value",
    "Done",
    "Data",
    "Exception",
    "Resume",
    "Forward",
    "NeedRegisters",
    "Defer",
    "Reply",
    "Register",
    "System",
    "Initial",
    "Offer",
    "GuestWrite",
    "GuestCas",
    "GuestCopy",
    "Map",
    "Unmap",
    "Line",
    "Arm",
    "Disarm",
    "PortOut",
    "PortIn",
    "Fill",
    "Drain",
    "Mail",
    "Request",
    "Log",
    "Query",
    "Stop",
    "Supervise",
    "Exported",
];
/// Kinds of the supervisor's own effects, by their tag.
pub(crate) const SUPERVISES: [&str; 16] = [
    "Create",
    "Grant",
    "Route",
    "Segment",
    "Start",
    "Destroy",
    "CreateMachine",
    "Load",
    "Run",
    "Exit",
    "Restart",
    "Quarantine",
    "Kill",
    "Succeed",
    "Exchange",
    "Write",
];

/// What somebody who makes up an effect may know.
pub(crate) struct Scene<'s> {
    /// Whose effect it is.
    pub(crate) me: ServerId,
    pub(crate) now: u64,
    /// Tickets that were seen lately, the message's own first.
    pub(crate) tickets: &'s [TicketId],
}

/// The tag of a kind.
pub(crate) fn tag(kind: &str) -> usize {
    KINDS
        .iter()
        .position(|name| *name == kind)
        .expect("a kind of effect")
}

/// Puts an effect of this kind behind `answer`. A sound one has values that nothing speaks against, if this server may have the effect.
pub(crate) fn effect(
    answer: &mut Vec<u8>,
    kind: usize,
    sound: bool,
    scene: &Scene<'_>,
    dice: &mut Dice,
) {
    match KINDS[kind] {
        "Save" if sound => push(answer, &Effect::Save(dice.below(8) as u16, 1)),
        "Save" => push(
            answer,
            &Effect::Save(dice.edge() as u16, dice.below(10) as u16),
        ),
        "Leaf" => push(
            answer,
            &Effect::Leaf(Fixed(Leaf {
                eax: dice.any() as u32,
                ..Leaf::default()
            })),
        ),
        "Value" => push(answer, &Effect::Value(Fixed(dice.any()))),
        "Done" => push(answer, &Effect::Done),
        "Data" => push(answer, &Effect::Data(&dice.bytes(64))),
        "Exception" => {
            let vector = if sound {
                dice.pick(&[0, 6, 13, 14])
            } else {
                dice.byte()
            };
            let exception = Exception {
                vector,
                has_error: u8::from(vector > 7),
                error: 4,
                address: 0x1000,
                reserved: 0,
            };
            push(answer, &Effect::Exception(Fixed(exception)));
        }
        "Resume" => push(answer, &Effect::Resume),
        "Forward" => forward(answer, sound, dice),
        "NeedRegisters" => push(answer, &Effect::NeedRegisters),
        "Defer" => {
            let until = if sound {
                scene.now + dice.below(5000)
            } else {
                dice.edge()
            };
            push(answer, &Effect::Defer(Fixed(Ticks(until))));
        }
        "Reply" => {
            let ticket = if scene.tickets.is_empty() {
                TicketId(dice.edge() as u32)
            } else {
                dice.pick(scene.tickets)
            };
            push(
                answer,
                &Effect::Reply(ticket, &dice.bytes(if sound { 16 } else { 300 })),
            );
        }
        "Register" => push(
            answer,
            &Effect::Register(
                dice.below(if sound { 16 } else { 20 }) as u8,
                Fixed(dice.any()),
            ),
        ),
        "System" => system(answer, sound, scene, dice),
        "Initial" => {
            let state = initial();
            let length = if sound {
                state.as_bytes().len()
            } else {
                dice.below(64) as usize
            };
            push(
                answer,
                &Effect::Initial(u8::from(!sound), &state.as_bytes()[..length]),
            );
        }
        "Offer" => {
            let vector = 0x20 + dice.below(0xe0) as u8;
            let kind = dice.below(if sound { 3 } else { 5 }) as u8;
            push(
                answer,
                &Effect::Offer(Fixed(Offer {
                    vcpu: 0,
                    vector,
                    kind,
                    nmi: u8::from(dice.one_in(8)),
                })),
            );
        }
        "GuestWrite" => push(
            answer,
            &Effect::GuestWrite(Fixed(gpa(sound, 1, dice)), &dice.bytes(32)),
        ),
        "GuestCas" => {
            let size = if sound {
                dice.pick(&[1, 2, 4, 8])
            } else {
                dice.below(10)
            };
            // What is there is mostly still 0.
            let old = if dice.one_in(4) { dice.any() } else { 0 };
            push(
                answer,
                &Effect::GuestCas(Fixed(GuestCas {
                    gpa: gpa(sound, size.max(1), dice),
                    old,
                    new: dice.below(2),
                    size,
                })),
            );
        }
        "GuestCopy" => {
            let offset = if sound {
                dice.below(BUNDLE / 2)
            } else {
                dice.edge()
            };
            let length = if sound { dice.below(64) } else { dice.edge() };
            push(
                answer,
                &Effect::GuestCopy(Fixed(GuestCopy {
                    gpa: gpa(sound, 1, dice),
                    offset,
                    length,
                })),
            );
        }
        "Map" => push(answer, &Effect::Map(Fixed(mapping(sound, dice)))),
        "Unmap" => push(answer, &Effect::Unmap(Fixed(mapping(sound, dice)))),
        "Line" => {
            let line = match scene.me.number() {
                7 if sound => 0,
                8 if sound => 8,
                9 if sound => 9,
                10 if sound => 4,
                _ => dice.byte(),
            };
            push(
                answer,
                &Effect::Line(
                    LineId::nth(line % 24),
                    dice.pick(&[Signal::Lower, Signal::Raise, Signal::Pulse]),
                ),
            );
        }
        "Arm" => {
            let at = if sound {
                scene.now + dice.below(3000)
            } else {
                dice.edge()
            };
            push(answer, &Effect::Arm(timer(sound, dice), Fixed(Ticks(at))));
        }
        "Disarm" => push(answer, &Effect::Disarm(timer(sound, dice))),
        "PortOut" => push(
            answer,
            &Effect::PortOut(
                port(sound, scene, dice),
                size(sound, dice),
                dice.any() as u32,
            ),
        ),
        "PortIn" => push(
            answer,
            &Effect::PortIn(port(sound, scene, dice), size(sound, dice)),
        ),
        "Fill" => push(
            answer,
            &Effect::Fill(fifo(sound, scene, dice), &dice.bytes(20)),
        ),
        "Drain" => push(
            answer,
            &Effect::Drain(
                fifo(sound, scene, dice),
                dice.below(if sound { 257 } else { 600 }) as u16,
            ),
        ),
        "Mail" => push(
            answer,
            &Effect::Mail(
                receiver(sound, scene, dice),
                &dice.bytes(if sound { 16 } else { 300 }),
            ),
        ),
        "Request" => {
            let to = match scene.me {
                CONTROL if sound => SUPERVISOR,
                _ if sound => dice.pick(&[CONSOLE, CONTROL, CONSOLE, LOADER]),
                _ => ServerId::nth(dice.byte() % 32),
            };
            push(
                answer,
                &Effect::Request(to, dice.any() as u32, &dice.bytes(16)),
            );
        }
        "Log" => push(answer, &Effect::Log("all is well")),
        "Query" => {
            let query = dice.pick(&[
                Query::Machine,
                Query::Exit(2),
                Query::Exit(200),
                Query::Server(MSR),
                Query::Server(ServerId::nth(27)),
            ]);
            push(answer, &Effect::Query(query));
        }
        "Stop" => {
            let proper: &[Stop] = if scene.me == POWER {
                &[Stop::PowerOff, Stop::Reset]
            } else {
                &[Stop::Refused]
            };
            let any = [
                Stop::PowerOff,
                Stop::Reset,
                Stop::Crash,
                Stop::Refused,
                Stop::ServerFault,
            ];
            push(
                answer,
                &Effect::Stop(dice.pick(if sound { proper } else { &any })),
            );
        }
        "Exported" => push(
            answer,
            &Effect::Exported(&dice.bytes(if sound { 64 } else { 3000 })),
        ),
        _ => supervise(answer, sound, dice),
    }
}

fn gpa(sound: bool, align: u64, dice: &mut Dice) -> Gpa {
    let anywhere = dice.edge();
    let far = [MEMORY, MEMORY - 1, 0xbfff_ffff, 1 << 32, u64::MAX, anywhere];
    let at = if sound {
        0x8000 + dice.below(0x1000)
    } else {
        dice.pick(&far)
    };
    Gpa(at - at % align)
}

fn mapping(sound: bool, dice: &mut Dice) -> Mapping {
    if sound {
        let size = dice.pick(&[Mapping::SMALL, Mapping::LARGE]);
        return Mapping {
            gpa: Gpa(dice.below(MEMORY) / size * size),
            size,
            access: dice.below(4),
        };
    }
    let size = dice.pick(&[Mapping::SMALL, Mapping::LARGE, 0, 1 << 30]);
    Mapping {
        gpa: gpa(false, 0x1000, dice),
        size,
        access: dice.below(5),
    }
}

fn timer(sound: bool, dice: &mut Dice) -> TimerId {
    TimerId::nth(dice.below(if sound { u64::from(LIMITS.timers) } else { 4 }) as u8)
}

fn size(sound: bool, dice: &mut Dice) -> u8 {
    if sound { 1 } else { dice.below(9) as u8 }
}

fn port(sound: bool, scene: &Scene<'_>, dice: &mut Dice) -> u16 {
    let base = if scene.me == CONTROL { 0x2f8 } else { COM1 };
    if sound {
        base + dice.below(8) as u16
    } else {
        dice.edge() as u16
    }
}

fn fifo(sound: bool, scene: &Scene<'_>, dice: &mut Dice) -> Fifo {
    Fifo {
        status: port(sound, scene, dice),
        mask: 0x20,
        data: port(sound, scene, dice),
        burst: if sound { 4 } else { dice.below(3) as u8 },
    }
}

fn receiver(sound: bool, scene: &Scene<'_>, dice: &mut Dice) -> ServerId {
    match scene.me {
        SERIAL if sound => CONSOLE,
        CONSOLE if sound => SERIAL,
        SUPERVISOR if sound => ServerId::nth(1 + dice.below(12) as u8),
        _ => ServerId::nth(dice.byte() % 32),
    }
}

fn system(answer: &mut Vec<u8>, sound: bool, scene: &Scene<'_>, dice: &mut Dice) {
    use SystemRegister::{Cr0, Cr2, Cr3, Cr4, Efer, Pat, Rflags, Rip, Tsc, Xcr0};
    let register = if scene.me == MSR && sound {
        dice.pick(&[Efer, Pat, Tsc])
    } else {
        dice.pick(&[Cr0, Cr2, Cr3, Cr4, Efer, Pat, Rflags, Rip, Xcr0, Tsc])
    };
    let value = if register == Xcr0 && sound {
        dice.pick(&[1, 3, 7])
    } else {
        dice.edge()
    };
    push(answer, &Effect::System(register, Fixed(value)));
}

fn forward(answer: &mut Vec<u8>, sound: bool, dice: &mut Dice) {
    let write = dice.below(2) as u8;
    let finish = if dice.one_in(3) {
        Forward::RETURN
    } else {
        write
    };
    let mut forward = Forward {
        address: dice.pick(&[LAPIC, LAPIC + 0xffc, 0xfec0_0010, 0xd000_0000]),
        value: dice.any(),
        rip_or_token: 0x1003,
        count: 1,
        space: Forward::MMIO,
        write,
        size: dice.pick(&[1, 2, 4, 8]),
        source: dice.pick(&[0, 4, 15, 16, 19, Forward::IMMEDIATE]),
        finish,
        register: dice.below(20) as u8,
        width: dice.pick(&[1, 2, 4, 8]),
        sign: dice.below(2) as u8,
        reserved: 0,
    };
    let mut bytes = Vec::new();
    if dice.one_in(3) {
        let count = 1 + dice.below(20) as u32;
        let address = u64::from(dice.pick(&[COM1, 0x40, 0x1234, 0x20]));
        forward = Forward {
            address,
            space: Forward::PORT,
            size: dice.pick(&[1, 2, 4]),
            count,
            finish: Forward::RETURN,
            ..forward
        };
        if write != 0 {
            bytes = vec![0x41; count as usize * usize::from(forward.size)];
        }
    }
    if !sound {
        match dice.below(6) {
            0 => forward.size = dice.byte(),
            1 => forward.count = dice.edge() as u32,
            2 => forward.finish = dice.byte(),
            3 => forward.register = dice.byte(),
            4 => forward.address = dice.edge(),
            _ => bytes.push(0),
        }
    }
    push(answer, &Effect::Forward(Fixed(forward), &bytes));
}

fn supervise(answer: &mut Vec<u8>, sound: bool, dice: &mut Dice) {
    let spare = ServerId::nth(cast::FREE.number() + dice.below(11) as u8);
    let id = if sound {
        spare
    } else {
        ServerId::nth(dice.below(30) as u8)
    };
    let effect = match SUPERVISES[dice.below(SUPERVISES.len() as u64) as usize] {
        "Create" if sound => {
            // Whatever makes a server mostly also gives it code and starts it.
            let role = RoleKind::ALL[1 + dice.below(12) as usize].0;
            push(
                answer,
                &Effect::Supervise(Supervise::Create(id, role, LIMITS, "spare", "image")),
            );
            push(
                answer,
                &Effect::Supervise(Supervise::Segment(id, Fixed(TEXT))),
            );
            Supervise::Start(id, Fixed(IMAGE), b"configuration")
        }
        "Create" => {
            let limits = Limits {
                vault_lines: dice.edge() as u16,
                stack_pages: dice.below(70) as u16,
                ..LIMITS
            };
            Supervise::Create(id, RoleKind::Clock, limits, "spare", "image")
        }
        "Grant" => Supervise::Grant(id, grant(sound, dice)),
        "Route" => {
            let first = if sound {
                0x1000 + dice.below(0x8000)
            } else {
                dice.edge()
            };
            let route = match dice.below(4) {
                0 => Route::Ports(first as u16, first.wrapping_add(3) as u16),
                1 => Route::Msrs(first as u32, first as u32),
                2 => Route::Memory(first, first.saturating_add(0xfff)),
                _ => dice.pick(&[Route::Cpuid, Route::Lines, Route::Mmu]),
            };
            Supervise::Route(id, route)
        }
        "Segment" => {
            let address = if sound { IMAGE } else { dice.edge() };
            Supervise::Segment(id, Fixed(Segment { address, ..TEXT }))
        }
        "Start" => Supervise::Start(id, Fixed(if sound { IMAGE } else { dice.edge() }), b""),
        "Destroy" => Supervise::Destroy(id),
        "CreateMachine" => {
            Supervise::CreateMachine(Fixed(if sound { MEMORY } else { dice.edge() }), 1, Fixed(0))
        }
        "Load" => Supervise::Load(LOADER),
        "Run" => Supervise::Run,
        // Mostly of those that do something.
        "Restart" => Supervise::Restart(ServerId::nth(dice.below(15) as u8)),
        "Quarantine" => Supervise::Quarantine(if dice.one_in(2) {
            id
        } else {
            ServerId::nth(dice.below(15) as u8)
        }),
        "Succeed" => {
            let of = ServerId::nth(dice.below(13) as u8);
            push(
                answer,
                &Effect::Supervise(Supervise::Create(
                    id,
                    RoleKind::Cpuid,
                    LIMITS,
                    "next",
                    "image",
                )),
            );
            push(
                answer,
                &Effect::Supervise(Supervise::Segment(id, Fixed(TEXT))),
            );
            Supervise::Succeed(
                id,
                of,
                Fixed(if sound { IMAGE } else { dice.edge() }),
                dice.pick(&[Terms::Gentle, Terms::Force, Terms::Reset]),
                b"configuration",
            )
        }
        "Exchange" => Supervise::Exchange(
            id,
            ServerId::nth(dice.below(13) as u8),
            1 + dice.below(2) as u32,
        ),
        "Write" => {
            let offset = if sound { BUNDLE - 16 } else { dice.edge() };
            return push(
                answer,
                &Effect::Supervise(Supervise::Write(Fixed(offset), &dice.bytes(16))),
            );
        }
        "Kill" => Supervise::Kill(ServerId::nth(dice.below(15) as u8)),
        _ => Supervise::Exit(dice.byte()),
    };
    push(answer, &Effect::Supervise(effect));
}

fn grant(sound: bool, dice: &mut Dice) -> Grant {
    let number = if sound {
        dice.below(16) as u8
    } else {
        dice.byte()
    };
    match dice.below(7) {
        0 => Grant::HostPorts(0x1000, 0x1000 + u16::from(number)),
        1 => Grant::HostIrq(HostIrq::nth(number % 16)),
        2 => Grant::Line(LineId::nth(number % 24)),
        3 => Grant::Mail(ServerId::nth(number % 32), dice.below(6) as u8),
        4 => Grant::GuestRead,
        5 => Grant::GuestWrite,
        _ => Grant::Bundle,
    }
}
