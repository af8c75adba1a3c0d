//! Images that come while the machine runs.

use atoll_protocol::fixed::Fixed;
use atoll_protocol::order::{Checksum, PIECE_BYTES, checksum};

use super::orders::*;
use super::*;

/// A machine that runs, and its bundle, into which the supervisor writes.
struct Running(Harness<SupervisorServer>);

impl Running {
    /// With room for so many bytes.
    fn new(reserve: usize) -> Self {
        let cpuid = ServerSpec {
            restart: Restart {
                attempts: 3,
                per_minute: 30,
                then: Then::Stop,
            },
            ..spec("cpuid", RoleKind::Cpuid)
        };
        let msr = spec("msr", RoleKind::Msr);
        let manifest = manifest(&[
            spec("console", RoleKind::Console),
            cpuid,
            spec("loader", RoleKind::Loader),
            msr,
        ]);
        let (plain, room) = (image(), vec![0; reserve]);
        let (cpuid, msr) = (noted(RoleKind::Cpuid, 1, 1), noted(RoleKind::Msr, 1, 1));
        let files = [
            ("supervisor", &b"flat"[..]),
            ("manifest", &manifest),
            ("image/console", &plain),
            ("image/cpuid", &cpuid),
        ];
        let more = [
            ("image/loader", &plain[..]),
            ("image/msr", &msr),
            (upload::RESERVE, &room),
        ];
        let (mut supervisor, _) = start(archive(&[&files[..], &more[..]].concat()));
        for id in 1..=4 {
            supervisor.deliver(Body::ServerStarted(ServerId::nth(id), 1));
        }
        supervisor.deliver(Body::Loaded);
        Running(supervisor)
    }

    /// What it does about a body; what it writes is written, outside of what is taken.
    fn does(&mut self, body: Body<'_>) -> (Option<Outcome>, Vec<String>) {
        let answer = self.0.deliver(body);
        let (mut told, mut done) = (None, Vec::new());
        for effect in logged(&answer.effects()).1 {
            match effect {
                Effect::Reply(_, bytes) => told = postcard::from_bytes(bytes).ok(),
                Effect::Supervise(Supervise::Write(Fixed(offset), bytes)) => {
                    let at = usize::try_from(offset).unwrap();
                    self.0.bundle[at..at + bytes.len()].copy_from_slice(bytes);
                }
                other => done.push(format!("{other:?}")),
            }
        }
        (told, done)
    }

    fn order(&mut self, order: Order<'_>) -> Outcome {
        let bytes = postcard::to_extend(&order, Vec::new()).unwrap();
        self.does(Body::Request(ServerId::nth(1), &bytes))
            .0
            .expect("an outcome at once")
    }

    /// Sends the pieces of an image from one on, as far as they are taken.
    fn pieces(&mut self, image: &[u8], first: usize) -> Outcome {
        let pieces = image.chunks(PIECE_BYTES).enumerate().skip(first);
        let mut sent = pieces.map(|(index, piece)| {
            Order::Piece((index * PIECE_BYTES) as u32, checksum(piece), piece)
        });
        sent.find_map(|piece| Some(self.order(piece)).filter(|outcome| *outcome != Outcome::Done))
            .unwrap_or(Outcome::Done)
    }

    fn upload(&mut self, image: &[u8]) -> Outcome {
        match self.order(Order::Upload(image.len() as u32, Checksum::of(image).0)) {
            Outcome::Done => self.pieces(image, 0),
            other => other,
        }
    }

    /// Begins a swap for what was uploaded; the offsets of its segments in the bundle, or why not.
    fn begin(&mut self, of: u8, image: Option<&str>) -> Result<Vec<u64>, Outcome> {
        let order =
            postcard::to_extend(&Order::Swap(ServerId::nth(of), true, image), Vec::new()).unwrap();
        let answer = self.0.deliver(Body::Request(ServerId::nth(1), &order));
        let mut offsets = Vec::new();
        for effect in answer.effects() {
            match effect {
                Effect::Reply(_, bytes) => return Err(postcard::from_bytes(bytes).unwrap()),
                Effect::Supervise(Supervise::Segment(_, Fixed(segment))) => {
                    offsets.push(segment.offset)
                }
                _ => {}
            }
        }
        Ok(offsets)
    }

    /// Swaps for what was uploaded; where its image is in the bundle.
    fn swap(&mut self, of: u8, image: Option<&str>) -> u64 {
        let offsets = self.begin(of, image).expect("a swap that begins");
        let (told, _) = self.does(Body::ServerStarted(swap::SCRATCH, 1));
        assert!(matches!(told, Some(Outcome::Swapped(_))), "{told:?}");
        offsets[0]
    }
}

/// An image of the cpuid role of about so many bytes.
fn large(bytes: usize, filler: u8) -> Vec<u8> {
    let note = Note {
        magic: Note::MAGIC,
        schema: SCHEMA_HASH,
        role: RoleKind::Cpuid as u32,
        version: 1,
        oldest: 1,
        name: Name::of(NOTED),
    };
    elf(&[
        (IMAGE, 5, &vec![filler; bytes]),
        (IMAGE + 0x10_0000, 4, note.as_bytes()),
    ])
}

#[test]
fn an_image_comes_in_pieces_and_takes_the_place_of_a_server() {
    let mut running = Running::new(8192);
    let image = large(1000, 0x90);
    assert_eq!(running.upload(&image), Outcome::Done);
    let at = running.swap(2, None) as usize - (64 + 2 * 56);
    assert_eq!(&running.0.bundle[at..at + image.len()], image);
    let reserve = atoll_sdk::bundle::Bundle::new(&running.0.bundle)
        .find(upload::RESERVE)
        .unwrap()
        .unwrap();
    assert_eq!(reserve.offset, at as u64);
}

#[test]
fn a_piece_that_is_sent_again_because_nobody_heard_of_it_changes_nothing() {
    let mut running = Running::new(8192);
    let image = large(1000, 0x90);
    running.order(Order::Upload(image.len() as u32, Checksum::of(&image).0));
    let (first, second) = (&image[..PIECE_BYTES], &image[PIECE_BYTES..2 * PIECE_BYTES]);
    for _ in 0..3 {
        assert_eq!(
            running.order(Order::Piece(0, checksum(first), first)),
            Outcome::Done
        );
    }
    let second = Order::Piece(PIECE_BYTES as u32, checksum(second), second);
    assert_eq!(
        (running.order(second), running.order(second)),
        (Outcome::Done, Outcome::Done)
    );
    assert_eq!(running.pieces(&image, 2), Outcome::Done);
    running.swap(2, None);
}

#[test]
fn a_broken_piece_or_one_out_of_order_is_refused_and_the_upload_goes_on() {
    let mut running = Running::new(8192);
    let image = large(1000, 0x90);
    running.order(Order::Upload(image.len() as u32, Checksum::of(&image).0));
    let first = &image[..PIECE_BYTES];
    let before = running.0.bundle.clone();
    assert_eq!(
        running.order(Order::Piece(0, checksum(first) ^ 1, first)),
        Outcome::Broken
    );
    assert_eq!(
        running.order(Order::Piece(PIECE_BYTES as u32, checksum(first), first)),
        Outcome::Broken,
        "the second before the first"
    );
    assert_eq!(
        running.order(Order::Piece(0, checksum(b""), b"")),
        Outcome::Broken
    );
    assert_eq!(
        running.order(Order::Piece(u32::MAX, checksum(first), first)),
        Outcome::Broken
    );
    assert_eq!(running.0.bundle, before);
    assert_eq!(
        running.begin(2, None),
        Err(Outcome::Broken),
        "it has not come"
    );
    assert_eq!(running.pieces(&image, 0), Outcome::Done);
    running.swap(2, None);
}

#[test]
fn an_upload_that_is_broken_off_leaves_the_machine_as_it_was_and_the_next_one_works() {
    let mut running = Running::new(2048);
    let (one, other) = (large(1500, 1), large(1600, 2));
    assert_eq!(
        running.begin(2, None),
        Err(Outcome::NoSuchImage),
        "nothing was uploaded"
    );
    running.order(Order::Upload(one.len() as u32, Checksum::of(&one).0));
    running.order(Order::Piece(
        0,
        checksum(&one[..PIECE_BYTES]),
        &one[..PIECE_BYTES],
    ));
    assert_eq!(running.begin(2, None), Err(Outcome::Broken));
    assert_eq!(running.upload(&other), Outcome::Done);
    running.swap(2, None);
}

#[test]
fn an_image_that_is_not_what_was_announced_is_not_used() {
    let mut running = Running::new(8192);
    let image = large(1000, 0x90);
    running.order(Order::Upload(
        image.len() as u32,
        Checksum::of(&image).0 ^ 1,
    ));
    assert_eq!(running.pieces(&image, 0), Outcome::Done);
    assert_eq!(running.begin(2, None), Err(Outcome::Broken));
}

#[test]
fn an_image_of_another_role_or_protocol_is_refused_before_anything_is_stopped() {
    let mut running = Running::new(8192);
    assert_eq!(running.upload(&large(1000, 0x90)), Outcome::Done);
    assert_eq!(
        running.begin(4, None),
        Err(Outcome::WrongImage),
        "the msr server is no cpuid server"
    );
    let note = Note {
        magic: Note::MAGIC,
        schema: 5,
        role: RoleKind::Cpuid as u32,
        version: 1,
        oldest: 1,
        name: Name::of(NOTED),
    };
    assert_eq!(
        running.upload(&elf(&[
            (IMAGE, 5, b"code"),
            (IMAGE + 0x1000, 4, note.as_bytes())
        ])),
        Outcome::Done
    );
    assert_eq!(running.begin(2, None), Err(Outcome::WrongImage));
    assert_eq!(running.upload(b"no program at all"), Outcome::Done);
    assert_eq!(running.begin(2, None), Err(Outcome::BadImage));
}

#[test]
fn an_image_that_a_server_runs_from_is_not_written_over_until_it_is_swapped_away() {
    let mut running = Running::new(4096);
    let image = |filler| large(1500, filler);
    running.upload(&image(1));
    let first = running.swap(2, None);
    running.upload(&image(2));
    let second = running.swap(2, None);
    assert!(second > first, "the first was in use");
    running.upload(&image(3));
    assert_eq!(running.swap(2, None), first, "the first is free again");
    assert_eq!(
        running.upload(&large(2600, 4)),
        Outcome::NoRoom,
        "one is in use"
    );
    assert_eq!(
        running.begin(2, None),
        Err(Outcome::NoSuchImage),
        "and none has come"
    );
    running.swap(2, Some("cpuid"));
    assert_eq!(
        running.upload(&large(2600, 4)),
        Outcome::Done,
        "none is in use any more"
    );
    assert_eq!(running.upload(&large(4096, 4)), Outcome::NoRoom);
    assert_eq!(running.order(Order::Upload(0, 0)), Outcome::NoRoom);
    assert_eq!(running.order(Order::Upload(u32::MAX, 0)), Outcome::NoRoom);
}

#[test]
fn what_comes_during_a_swap_goes_beside_both_images_and_a_swap_that_fails_can_be_tried_again() {
    let mut running = Running::new(8192);
    running.upload(&large(1500, 1));
    let first = running.swap(2, None);
    running.upload(&large(1500, 2));
    let second = running.begin(2, None).unwrap()[0];
    let (one, other) = (first as usize, second as usize);
    let before = [
        running.0.bundle[one..one + 1500].to_vec(),
        running.0.bundle[other..other + 1500].to_vec(),
    ];
    running.upload(&large(1500, 3));
    assert_eq!(
        before,
        [
            running.0.bundle[one..one + 1500].to_vec(),
            running.0.bundle[other..other + 1500].to_vec()
        ]
    );
    assert_eq!(
        running.does(Body::Released(ServerId::nth(2))).0,
        Some(Outcome::RolledBack)
    );
    // The second image is nobody's now; the third has come.
    let third = running.swap(2, None);
    assert!(third > second);
    running.upload(&large(1500, 4));
    assert_eq!(running.begin(2, None).unwrap()[0], first);
    assert_eq!(
        running.does(Body::Released(ServerId::nth(2))).0,
        Some(Outcome::RolledBack)
    );
    assert_eq!(running.swap(2, None), first, "tried again");
}

#[test]
fn a_machine_without_a_reserve_takes_no_image() {
    let mut supervisor = swappable();
    let order = postcard::to_extend(&Order::Upload(1, 0), Vec::new()).unwrap();
    assert_eq!(ordered(&mut supervisor, &order), (Outcome::NoRoom, vec![]));
}

proptest! {
    #[test]
    fn no_orders_in_whatever_order_write_beside_the_reserve_or_into_what_is_used(
        orders in proptest::collection::vec((0_u8..4, 0_usize..6, any::<bool>()), 1..40),
    ) {
        let mut running = Running::new(4096);
        let images = [large(900, 1), large(1500, 2), large(2500, 3)];
        let mut used: Option<(usize, Vec<u8>)> = None;
        let mut coming = 0;
        for (what, number, good) in orders {
            match what {
                0 => {
                    coming = number % 3;
                    running.order(Order::Upload(images[coming].len() as u32, Checksum::of(&images[coming]).0));
                }
                1 => {
                    running.pieces(&images[coming], if good { 0 } else { number });
                }
                _ => if let Ok(offsets) = running.begin(2, None) {
                    if good {
                        running.does(Body::ServerStarted(swap::SCRATCH, 1));
                        let at = offsets[0] as usize;
                        used = Some((at, running.0.bundle[at..at + 900].to_vec()));
                    } else {
                        running.does(Body::Released(ServerId::nth(2)));
                    }
                },
            }
            if let Some((at, bytes)) = &used {
                prop_assert_eq!(&running.0.bundle[*at..*at + 900], &bytes[..]);
            }
        }
    }
}
