//! How a run is followed from outside, and stopped.

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Walking the pages.
    Checking,
    /// Opening every value once; sizes.
    Planning,
    /// Writing the output.
    Reencrypting,
    /// Making the output durable.
    Syncing,
    /// Reading both files again.
    Verifying,
}

impl Phase {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Checking => "checking",
            Self::Planning => "planning",
            Self::Reencrypting => "reencrypting",
            Self::Syncing => "making durable",
            Self::Verifying => "verifying",
        }
    }
}

/// Told what happens, from whatever thread it happens on.
pub trait Progress: Sync {
    /// A phase begins. `total` is the number of current values it will
    /// rewrite, of [`Phase::Reencrypting`]; 0 where there is nothing to count.
    fn phase(&self, phase: Phase, total: u64);

    /// So many more current values are rewritten and handed to the disk.
    fn rewritten(&self, values: u64);

    /// Whether the run is to stop.
    fn stop(&self) -> bool {
        false
    }
}

/// Tells nobody.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn phase(&self, _: Phase, _: u64) {}
    fn rewritten(&self, _: u64) {}
}
