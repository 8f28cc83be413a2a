//! SIGINT, SIGTERM and SIGHUP: noted, and acted on by the run itself, so that
//! it can leave nothing behind.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

static RECEIVED: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Begins to take note of signals. Where that is refused, they end the
/// program as they always do.
pub fn watch() {
    let received = RECEIVED.get_or_init(|| Arc::new(AtomicUsize::new(0)));
    let ignored = ignored();
    // Under `nohup` SIGHUP is to be ignored, and stays so.
    let wanted = |signal: &i32| ignored & (1 << (signal - 1)) == 0;
    for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(wanted) {
        let number = usize::try_from(signal).unwrap_or(0);
        let _ = signal_hook::flag::register_usize(signal, Arc::clone(received), number);
    }
}

/// Has a limit of file sizes met by the write that goes beyond it, as an
/// error, and not by the end of the program.
pub fn outlive_size_limit() {
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

/// The signals the program was told to ignore as it was started, one bit a
/// signal from the lowest on.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// The signal that was received, if one was.
#[must_use]
pub fn received() -> Option<u8> {
    let number = RECEIVED.get()?.load(Ordering::Relaxed);
    u8::try_from(number).ok().filter(|number| *number != 0)
}
