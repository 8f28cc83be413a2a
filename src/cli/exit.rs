//! Exit codes.

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
    /// A live etcd cannot be reached, or does not answer as it must.
    Live,
    /// Stopped by this signal.
    Signal(u8),
}

impl Exit {
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
            Error::Random(_)
            | Error::Threads(_)
            | Error::K3s(
                crate::k3s::Error::Random(_) | crate::k3s::Error::Rotation(RotationError::Random(_)),
            )
            | Error::Rotation(RotationError::Random(_)) => Self::Unexpected,
            Error::Config { .. }
            | Error::Unreadable { .. }
            | Error::NotForCluster { .. }
            | Error::WouldBePlaintext { .. }
            | Error::KmsWriter { .. }
            | Error::NothingUnderPrefix { .. }
            | Error::Rotation(_)
            | Error::K3s(_) => Self::Keys,
            Error::NoConfig
            | Error::ConfigBesideRecord
            | Error::NothingToWrite { .. }
            | Error::NoWriteConfig { .. }
            | Error::NamedAsArchive { .. }
            | Error::NoSnapshot { .. }
            | Error::Output(
                output::Error::Exists { .. }
                | output::Error::SameFile { .. }
                | output::Error::NotAFile { .. }
                | output::Error::NoName { .. },
            ) => Self::Usage,
            Error::Open { .. }
            | Error::Unpack { .. }
            | Error::Output(_)
            | Error::ReadBack { .. }
            | Error::InputChanged { .. } => Self::Io,
            Error::Verification { .. } | Error::NotProven { .. } => Self::Verification,
            Error::Interrupted => Self::Signal(super::signals::received().unwrap_or(2)),
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
            | Error::Program { .. }
            | Error::Output(
                output::Error::Exists { .. }
                | output::Error::SameFile { .. }
                | output::Error::NotAFile { .. }
                | output::Error::NoName { .. },
            ) => Self::Usage,
            Error::Read { .. } | Error::Scratch { .. } | Error::NoSpace { .. } | Error::Output(_) => Self::Io,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_the_documents_name() {
        let all = [
            (Exit::Done, 0),
            (Exit::Unexpected, 1),
            (Exit::Usage, 2),
            (Exit::Snapshot, 3),
            (Exit::Keys, 4),
            (Exit::Io, 5),
            (Exit::Verification, 6),
            (Exit::CarriedOver, 7),
            (Exit::Live, 8),
            (Exit::Signal(2), 130),
            (Exit::Signal(15), 143),
        ];
        for (exit, code) in all {
            assert_eq!(exit.code(), code);
        }
    }
}
