//! Rogue servers, one test each: a server breaks one rule, and exactly that server is faulted, with the right reason. Nothing else has
//! changed: committed vaults, guest memory, the vCPU's registers and the guest's console are those of a run in which the rogue merely
//! answered nothing.
//!
//! Runs count instructions, so that all of them are the same up to the misdeed. The digests are the kernel's own (feature `digest`).
#![forbid(unsafe_code)]

#[path = "rogue/busy.rs"]
mod busy;
#[path = "rogue/effects.rs"]
mod effects;
#[path = "rogue/encoding.rs"]
mod encoding;
#[path = "rogue/instruction.rs"]
mod instruction;
#[path = "rogue/keep.rs"]
mod keep;
#[path = "rogue/memory.rs"]
mod memory;
#[path = "rogue/outcome.rs"]
mod outcome;
#[path = "rogue/ticket.rs"]
mod ticket;
#[path = "rogue/time.rs"]
mod time;

/// One test for each misdeed of a kind: its name, the misdeed, the reason, and the effect that is to blame. Makes sure that every misdeed
/// of the kind has its test.
macro_rules! rogue_tests {
    ($kind:ident { $($test:ident: $deed:ident => $reason:expr, $effect:expr;)* }) => {
        $(
            #[test]
            fn $test() {
                $crate::outcome::assert_contained(atoll_rogue::$kind::$deed.into(), $reason, $effect);
            }
        )*

        #[test]
        fn every_misdeed_of_this_kind_has_its_test() {
            assert_eq!(atoll_rogue::$kind::ALL, [$(atoll_rogue::$kind::$deed),*]);
        }
    };
}
pub(crate) use rogue_tests;
