//! What is asked of a plugin.

use super::envelope::{Kind, Wrapped};
use zeroize::Zeroizing;

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// The version of the interface it speaks.
    pub version: String,
    /// `ok`, or what ails it; of v1 always `ok`.
    pub healthz: String,
    /// The id of the key that seals now; empty of v1.
    pub key_id: String,
}

/// A data key that a plugin has just sealed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sealed {
    /// The sealed data key.
    pub source: Vec<u8>,
    /// The id of the key that sealed it; empty of v1.
    pub key_id: String,
    /// What else the plugin wants to see again.
    pub annotations: Vec<(String, Vec<u8>)>,
}

impl Sealed {
    /// As it stands in values.
    #[must_use]
    pub fn wrapped(&self, kind: Kind) -> Wrapped<'_> {
        let annotations = self.annotations.iter();
        Wrapped {
            kind,
            source: &self.source,
            key_id: &self.key_id,
            annotations: annotations.map(|(name, value)| (name.as_str(), value.as_slice())).collect(),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// None came in time. Texts of others are escaped.
    Unreachable(String),
    /// It was an error.
    Refused(String),
    /// Nobody could ask.
    Threads(String),
}

/// A plugin, as it can be asked from any thread.
pub trait KeyService: Send + Sync {
    /// How it is (`Status`; of v1 `Version`).
    ///
    /// # Errors
    /// [`Failure`].
    fn status(&self) -> Result<Status, Failure>;

    /// Seals a data key.
    ///
    /// # Errors
    /// [`Failure`].
    fn encrypt(&self, plain: &[u8]) -> Result<Sealed, Failure>;

    /// Opens a data key. Who is not patient takes the first refusal for the
    /// last, though another attempt might succeed.
    ///
    /// # Errors
    /// [`Failure`].
    fn decrypt(&self, wrapped: &Wrapped<'_>, patient: bool) -> Result<Zeroizing<Vec<u8>>, Failure>;

    /// How many calls were made, those repeated among them.
    fn calls(&self) -> u64;
}
