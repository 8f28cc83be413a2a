//! SIGINT, SIGTERM and SIGHUP: noted, and acted on by the run itself, so that
//! it can leave nothing behind.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

static RECEIVED: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Begins to take note of signals. Where that is refused, they end the
/// program as they always do.
pub fn watch() {
    let received = RECEIVED.get_or_init(|| Arc::new(AtomicUsize::new(0)));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let number = usize::try_from(signal).unwrap_or(0);
        let _ = signal_hook::flag::register_usize(signal, Arc::clone(received), number);
    }
}

/// The signal that was received, if one was.
#[must_use]
pub fn received() -> Option<u8> {
    let number = RECEIVED.get()?.load(Ordering::Relaxed);
    u8::try_from(number).ok().filter(|number| *number != 0)
}
