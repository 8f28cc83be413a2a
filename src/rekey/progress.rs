//! How a run is followed from outside, and stopped.

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Walking the pages.
    Checking,
    /// Asking KMS plugins for data keys.
    Asking,
    /// Opening every value once; sizes.
    Planning,
    /// Writing the output.
    Reencrypting,
    /// Making the output durable.
    Syncing,
    /// Reading both files again.
    Verifying,
    /// Receiving a snapshot; counts bytes.
    Receiving,
    /// Comparing a live etcd with a snapshot; counts keys.
    Comparing,
    /// Waiting for the members' hashes.
    Hashing,
    /// Restoring a snapshot, to see whether it can be.
    Restoring,
    /// Starting an etcd on what was restored.
    Starting,
}

impl Phase {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Checking => "checking",
            Self::Asking => "asking KMS plugins",
            Self::Planning => "planning",
            Self::Reencrypting => "reencrypting",
            Self::Syncing => "making durable",
            Self::Verifying => "verifying",
            Self::Receiving => "receiving",
            Self::Comparing => "comparing",
            Self::Hashing => "hashing",
            Self::Restoring => "restoring",
            Self::Starting => "starting",
        }
    }
}

/// Told what happens, from whatever thread it happens on.
pub trait Progress: Sync {
    /// A phase begins. `total` is the number of current values it will
    /// rewrite, of [`Phase::Reencrypting`], of bytes or keys where a phase says
    /// that it counts them; 0 where there is nothing to count.
    fn phase(&self, phase: Phase, total: u64);

    /// So many more current values are rewritten and handed to the disk.
    fn rewritten(&self, values: u64);

    /// So many more of what the phase counts are done, where that is not values.
    fn counted(&self, _units: u64) {}

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
