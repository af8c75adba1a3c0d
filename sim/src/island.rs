//! A server on the host: its code in this process, its three memories in this process's.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use atoll_protocol::PANICKED;
use atoll_sdk::Server;
use atoll_sdk::activation::activate;
use atoll_sdk::effects::Surroundings;

/// A server's code with its cache; the vault is the machine's.
pub trait Island {
    /// One activation: the answer's length.
    fn activate(
        &mut self,
        message: &[u8],
        answer: &mut [u8],
        vault: &mut [u8],
        around: Surroundings<'_>,
    ) -> u64;
    /// The same code with a fresh cache.
    fn twin(&self) -> Box<dyn Island>;
}

/// An island of the server `S`.
pub struct Of<S: Server>(pub S::Cache);

thread_local! {
    /// Whether a panic is a server's.
    static IN_SERVER: Cell<bool> = const { Cell::new(false) };
}

/// A server's panic is an answer, and nothing to print.
fn keep_quiet_about_servers() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IN_SERVER.get() {
                before(info);
            }
        }));
    });
}

impl<S: Server> Of<S> {
    /// With a fresh cache.
    #[must_use]
    pub fn boxed() -> Box<dyn Island> {
        let cache = S::Cache::default();
        Box::new(Self(cache))
    }
}

impl<S: Server> Island for Of<S> {
    fn activate(
        &mut self,
        message: &[u8],
        answer: &mut [u8],
        vault: &mut [u8],
        around: Surroundings<'_>,
    ) -> u64 {
        keep_quiet_about_servers();
        IN_SERVER.set(true);
        // What a panic leaves behind is lost at the restart, as in ring 3.
        let used = catch_unwind(AssertUnwindSafe(|| {
            activate::<S>(message, answer, vault, &mut self.0, around)
        }));
        IN_SERVER.set(false);
        used.map_or(PANICKED, |used| used as u64)
    }

    fn twin(&self) -> Box<dyn Island> {
        Self::boxed()
    }
}
