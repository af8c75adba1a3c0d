//! Answers and messages: the encoding by hand takes exactly what postcard's derive takes, and writes exactly what it writes.
#![no_main]

use atoll_protocol::PAGE;
use atoll_protocol::effect::Effect;
use atoll_protocol::message::Message;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let derived = postcard::take_from_bytes::<Effect<'_>>(bytes).ok();
    assert_eq!(Effect::take(bytes).ok(), derived);
    if let Some((effect, _)) = derived {
        let (mut by_hand, mut by_derive) = ([0; 2 * PAGE], [0; 2 * PAGE]);
        let length = effect.write(&mut by_hand).ok();
        let derived = postcard::to_slice(&effect, &mut by_derive).ok();
        assert_eq!(length.map(|length| &by_hand[..length]), derived.as_deref());
    }
    assert_eq!(
        Message::read(bytes).ok(),
        postcard::from_bytes::<Message<'_>>(bytes).ok()
    );
});
