//! Exit codes.

use crate::kube::kms::Problem;
use crate::kube::rotation::RotationError;
use crate::{output, rekey};
use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Something the program did not foresee.
    Unexpected,
    /// The command line asks for what cannot be done.
    Usage,
    /// The snapshot is corrupt, or none.
    Snapshot,
    /// Keys: a value that does not open, a bad configuration.
    Keys,
    /// The file system: no such file, no permission, no space.
    Io,
    /// The output could not be proven.
    Verification,
    /// Done, but values that do not open were carried over.
    CarriedOver,
    /// A live etcd or a KMS plugin cannot be reached, or does not answer as it must.
    Live,
    /// Stopped by this signal.
    Signal(u8),
}

impl Exit {
    /// Every one, as docs/exit-codes.md lists them; of signals, those that are
    /// waited for.
    pub const ALL: [Self; 12] = [
        Self::Done,
        Self::Unexpected,
        Self::Usage,
        Self::Snapshot,
        Self::Keys,
        Self::Io,
        Self::Verification,
        Self::CarriedOver,
        Self::Live,
        Self::Signal(1),
        Self::Signal(2),
        Self::Signal(15),
    ];

    /// Its name in the documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unexpected => "unexpected",
            Self::Usage => "usage",
            Self::Snapshot => "snapshot",
            Self::Keys => "keys",
            Self::Io => "io",
            Self::Verification => "verification",
            Self::CarriedOver => "carried over",
            Self::Live => "live",
            Self::Signal(1) => "SIGHUP",
            Self::Signal(2) => "SIGINT",
            Self::Signal(15) => "SIGTERM",
            Self::Signal(_) => "signal",
        }
    }

    /// The number the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::Snapshot => 3,
            Self::Keys => 4,
            Self::Io => 5,
            Self::Verification => 6,
            Self::CarriedOver => 7,
            Self::Live => 8,
            Self::Signal(signal) => 128u8.saturating_add(signal),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl From<&rekey::Error> for Exit {
    fn from(error: &rekey::Error) -> Self {
        use rekey::Error;
        match error {
            Error::Snapshot { .. } => Self::Snapshot,
            Error::Kms(error) if error.is_unreachable() => Self::Live,
            Error::Random(_)
            | Error::Threads(_)
            | Error::Unexpected(_)
            | Error::Kms(crate::kube::kms::Error { problem: Problem::Threads(_), .. })
            | Error::K3s(
                crate::k3s::Error::Random(_) | crate::k3s::Error::Rotation(RotationError::Random(_)),
            )
            | Error::Rotation(RotationError::Random(_)) => Self::Unexpected,
            Error::Config { .. }
            | Error::Unreadable { .. }
            | Error::NotOpened { .. }
            | Error::NotForCluster { .. }
            | Error::WouldBePlaintext { .. }
            | Error::Kms(_)
            | Error::NothingUnderPrefix { .. }
            | Error::Rotation(_)
            | Error::K3s(_) => Self::Keys,
            Error::NoConfig
            | Error::ConfigBesideRecord
            | Error::NothingToWrite { .. }
            | Error::NoWriteConfig { .. }
            | Error::NamedAsArchive { .. }
            | Error::NoSnapshot { .. }
            | Error::NoSuchCommand { .. }
            | Error::NoSuchObject { .. }
            | Error::SeveralObjects { .. }
            | Error::NoSuchResource { .. }
            | Error::AuditRecord { .. }
            | Error::NoSuchPlugin { .. } => Self::Usage,
            Error::Open { .. } | Error::Unpack { .. } | Error::ReadBack { .. } | Error::InputChanged { .. } => {
                Self::Io
            }
            Error::Output(error) | Error::Replaced { source: error, .. } => error.into(),
            Error::Verification { .. } | Error::NotProven { .. } | Error::NotAsRecorded { .. } => {
                Self::Verification
            }
            Error::Interrupted => Self::Signal(super::signals::received().unwrap_or(2)),
        }
    }
}

impl From<&output::Error> for Exit {
    fn from(error: &output::Error) -> Self {
        match error {
            output::Error::Exists { .. }
            | output::Error::SameFile { .. }
            | output::Error::NotAFile { .. }
            | output::Error::NoName { .. } => Self::Usage,
            _ => Self::Io,
        }
    }
}

#[cfg(feature = "live")]
impl From<&crate::live::Error> for Exit {
    fn from(error: &crate::live::Error) -> Self {
        use crate::live::{Error, refusal::Refusal};
        match error {
            Error::Endpoint { .. }
            | Error::Transport { .. }
            | Error::OneEndpoint { .. }
            | Error::Usage { .. }
            | Error::HalfACertificate
            | Error::NoCertificates { .. }
            | Error::Pem { .. }
            | Error::NoRoots { .. }
            | Error::NoProgram { .. }
            | Error::Program { .. } => Self::Usage,
            Error::Read { .. } | Error::Scratch { .. } | Error::NoSpace { .. } => Self::Io,
            Error::Output(error) => error.into(),
            Error::Refused { why: Refusal::Corrupt, .. } | Error::Restore { .. } | Error::Start { .. } => {
                Self::Verification
            }
            Error::Unreachable { .. }
            | Error::Tls { .. }
            | Error::Stalled { .. }
            | Error::Refused { .. }
            | Error::Learner { .. }
            | Error::OtherCluster { .. }
            | Error::Nonsense { .. }
            | Error::CutShort { .. } => Self::Live,
            Error::Runtime { .. } => Self::Unexpected,
            Error::Interrupted => Self::from(&rekey::Error::Interrupted),
            Error::Rekey(error) => Self::from(error),
        }
    }
}
