//! What there is too little memory for is refused with an answer, and what is in the bundle always has room.

use atoll_protocol::frames;
use atoll_protocol::order::{Checksum, PIECE_BYTES, checksum};

use super::orders::*;
use super::*;

/// Bytes of memory of the large image.
const LARGE: u64 = 128 << 20;

/// An image of the cpuid role that takes so much memory beside its code and constants, of which its file has nothing.
fn with_bss(memory: u64) -> Vec<u8> {
    let mut file = noted(RoleKind::Cpuid, 1, 1);
    let entry = 64 + 56;
    // The last segment is writable memory instead.
    let constants = file[entry..entry + 56].to_vec();
    file.splice(entry + 56..entry + 56, constants.clone());
    file[56] = 3;
    for (at, add) in [(64, 56_u64), (entry, 56)] {
        let offset = u64::from_le_bytes(file[at + 8..at + 16].try_into().unwrap()) + add;
        file[at + 8..at + 16].copy_from_slice(&offset.to_le_bytes());
    }
    let third = entry + 56;
    file[third + 4..third + 8].copy_from_slice(&6_u32.to_le_bytes());
    let words = [
        u64::from_le_bytes(file[entry + 8..entry + 16].try_into().unwrap()),
        IMAGE + 0x10_0000,
        0,
        0,
        memory,
    ];
    for (index, word) in words.into_iter().enumerate() {
        file[third + 8 + index * 8..third + 16 + index * 8].copy_from_slice(&word.to_le_bytes());
    }
    file
}

/// What it costs in the place of the cpuid server.
fn cost(image: &[u8]) -> u64 {
    let read = crate::image::Image::read(&atoll_sdk::bundle::Entry {
        name: "",
        offset: 0,
        bytes: image,
    })
    .expect("an image");
    frames::of_server(&LIMITS) + frames::of_image(&read.segments)
}

/// A machine with so many frames, whose cpuid server may fall back to `spare`, and which has room for uploads.
fn machine(free: u64, spare: &[u8]) -> Result<Harness<SupervisorServer>, String> {
    let restart = Restart {
        attempts: 0,
        per_minute: 30,
        then: Then::Quarantine,
    };
    let cpuid = ServerSpec {
        restart,
        alternative: Some("spare"),
        ..spec("cpuid", RoleKind::Cpuid)
    };
    let manifest = manifest(&[
        spec("console", RoleKind::Console),
        cpuid,
        spec("loader", RoleKind::Loader),
    ]);
    let (plain, own) = (image(), noted(RoleKind::Cpuid, 1, 1));
    let files = [
        ("supervisor", &b"flat"[..]),
        ("manifest", &manifest),
        ("image/console", &plain),
        ("image/cpuid", &own),
    ];
    let more = [
        ("image/loader", &plain[..]),
        ("image/spare", spare),
        (upload::RESERVE, &[0; 8192]),
    ];
    let facts = Machine {
        frames: free,
        ..MACHINE
    };
    let (mut supervisor, answer) = Harness::<SupervisorServer>::start_with(
        &facts,
        &Setup::default(),
        archive(&[&files[..], &more[..]].concat()),
    );
    let mut said = logged(&answer.effects()).0;
    for id in 1..=3 {
        said += &logged(
            &supervisor
                .deliver(Body::ServerStarted(ServerId::nth(id), 1))
                .effects(),
        )
        .0;
    }
    if !said.is_empty() {
        return Err(said);
    }
    supervisor.deliver(Body::Loaded);
    Ok(supervisor)
}

/// Sends an image; what it is written to.
fn upload(supervisor: &mut Harness<SupervisorServer>, image: &[u8]) {
    let order = |order| postcard::to_extend(&order, Vec::new()).unwrap();
    let begin = order(Order::Upload(image.len() as u32, Checksum::of(image).0));
    assert_eq!(ordered(supervisor, &begin).0, Outcome::Done);
    for (index, piece) in image.chunks(PIECE_BYTES).enumerate() {
        let piece = Order::Piece((index * PIECE_BYTES) as u32, checksum(piece), piece);
        let bytes = order(piece);
        let answer = supervisor.deliver(Body::Request(ServerId::nth(1), &bytes));
        for effect in logged(&answer.effects()).1 {
            if let Effect::Supervise(Supervise::Write(at, bytes)) = effect {
                let at = usize::try_from(at.0).unwrap();
                supervisor.bundle[at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

/// An order for a swap of the cpuid server; why it was refused, or nothing.
fn swaps(supervisor: &mut Harness<SupervisorServer>, image: Option<&str>) -> Option<Outcome> {
    let order =
        postcard::to_extend(&Order::Swap(ServerId::nth(2), true, image), Vec::new()).unwrap();
    let (told, _) = outcome(supervisor, Body::Request(ServerId::nth(1), &order));
    if told.is_none() {
        let done = outcome(supervisor, Body::ServerStarted(swap::SCRATCH, 1)).0;
        assert!(matches!(done, Some(Outcome::Swapped(_))), "{done:?}");
    }
    told
}

/// The least that a machine of `machine` with this spare can be built with.
fn least(spare: &[u8]) -> u64 {
    let mut low = 0;
    let mut high = 1 << 20;
    while low + 1 < high {
        let middle = (low + high) / 2;
        if machine(middle, spare).is_ok() {
            high = middle
        } else {
            low = middle
        }
    }
    high
}

#[test]
fn an_image_with_a_large_bss_is_refused_with_what_it_takes_and_what_is_free() {
    let big = with_bss(LARGE);
    let mut supervisor = machine(40_000, &noted(RoleKind::Cpuid, 1, 1)).expect("a machine");
    upload(&mut supervisor, &big);
    let Some(Outcome::NoMemory(needed, free)) = swaps(&mut supervisor, None) else {
        panic!("it was not refused")
    };
    assert_eq!(needed, cost(&big) * 4);
    assert!(free < needed && free > needed / 2, "{free} of {needed}");
    assert_eq!(
        swaps(&mut supervisor, Some("spare")),
        None,
        "others have room"
    );
}

#[test]
fn whatever_is_uploaded_there_is_room_for_what_is_in_the_bundle() {
    let spare = with_bss(1 << 20);
    let least = least(&spare);
    let mut taken = 0;
    for more in (0..1200).step_by(37) {
        let mut supervisor = machine(least + more, &spare).expect("a machine");
        for size in [3 << 20, 2 << 20, 1 << 20, 4096] {
            upload(&mut supervisor, &with_bss(size));
            taken += u32::from(swaps(&mut supervisor, None).is_none());
        }
        if more >= 2 * cost(&spare) {
            assert_eq!(swaps(&mut supervisor, Some("cpuid")), None, "{more} more");
            assert_eq!(swaps(&mut supervisor, Some("spare")), None, "{more} more");
            let fallback = does(&mut supervisor, fault_at(5, Reason::Hang));
            assert!(
                fallback.iter().any(|effect| effect.contains("Succeed")),
                "{more} more: {fallback:?}"
            );
        }
    }
    assert!(taken > 20, "nothing was tested: {taken}");
}

#[test]
fn what_is_swapped_a_thousand_times_costs_nothing_more() {
    let spare = with_bss(1 << 20);
    let mut supervisor = machine(least(&spare) + 600, &spare).expect("a machine");
    for _ in 0..1000 {
        assert_eq!(swaps(&mut supervisor, Some("spare")), None);
        assert_eq!(swaps(&mut supervisor, Some("cpuid")), None);
        // One that fails gives back what it took.
        begun_for(&mut supervisor, "spare");
        assert_eq!(
            outcome(&mut supervisor, Body::Released(ServerId::nth(2))).0,
            Some(Outcome::RolledBack)
        );
    }
}

fn begun_for(supervisor: &mut Harness<SupervisorServer>, image: &str) {
    let order = postcard::to_extend(
        &Order::Swap(ServerId::nth(2), true, Some(image)),
        Vec::new(),
    )
    .unwrap();
    assert_eq!(
        outcome(supervisor, Body::Request(ServerId::nth(1), &order)).0,
        None
    );
}

#[test]
fn a_machine_that_is_too_small_is_one_clear_line() {
    let spare = noted(RoleKind::Cpuid, 1, 1);
    let least = least(&spare);
    for free in [0, 1000, least - 1] {
        let said = machine(free, &spare).err().expect("it is too small");
        assert!(
            said.contains("cannot build the machine: `") && said.contains(" KiB are left"),
            "{said}"
        );
    }
    // Without room for a successor it runs nevertheless, and refuses what it has no memory for.
    let mut supervisor = machine(least, &spare).expect("a machine");
    upload(&mut supervisor, &with_bss(4 << 20));
    assert!(matches!(
        swaps(&mut supervisor, None),
        Some(Outcome::NoMemory(..))
    ));
}

#[test]
fn whatever_an_image_says_of_itself_it_is_an_answer() {
    let good = with_bss(1 << 20);
    let word = |at: usize, value: u64| {
        let mut bytes = good.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let first = 64;
    let nonsense = [
        (24, 0), // The entry point.
        (24, u64::MAX),
        (32, u64::MAX),         // The program headers.
        (54, u64::MAX),         // Their number and size.
        (first + 8, u64::MAX),  // A segment's offset,
        (first + 16, u64::MAX), // address,
        (first + 16, 0),
        (first + 32, u64::MAX), // bytes in the file,
        (first + 40, u64::MAX), // and in memory.
        (first + 40, 1 << 40),
    ];
    let mut supervisor = machine(40_000, &noted(RoleKind::Cpuid, 1, 1)).expect("a machine");
    for (at, value) in nonsense {
        upload(&mut supervisor, &word(at, value));
        assert_eq!(
            swaps(&mut supervisor, None),
            Some(Outcome::BadImage),
            "{value:#x} at {at}"
        );
    }
    upload(&mut supervisor, &good);
    assert_eq!(swaps(&mut supervisor, None), None);
}
