//! What an answer of etcd that is none means.
//!
//! Source: etcd `api/v3rpc/rpctypes/error.go`.

use crate::etcd::escape;
use etcd_client::Error as ClientError;
use std::error::Error as StdError;
use std::fmt;
use tokio_rustls::rustls;
use tonic::{Code, Status};

/// What etcd will not do, however often it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The revision is no longer there.
    Compacted,
    /// The revision is not there yet.
    FutureRevision,
    /// The answer is larger than what is taken.
    TooLarge,
    /// A user was given, and etcd knows none.
    NoUsers,
    /// Who asks may not; in etcd's words.
    Denied(String),
    /// Members found that their data differ.
    Corrupt,
    /// Anything else; in etcd's words.
    Other(String),
}

impl Refusal {
    /// A short, stable name for machine output.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Denied(_) | Self::NoUsers => "denied",
            Self::Corrupt => "corrupt-cluster",
            _ => "refused",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Denied(_) => {
                "give a user with the role root: --user NAME, and the password in ETCDCTL_PASSWORD or as --password-file"
            }
            Self::NoUsers => "leave --user away",
            Self::Corrupt => {
                "its members were restored from different files, or one is damaged: stop them, and restore all of them from one file"
            }
            _ => "see to the member, or ask another one",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compacted => f.write_str("the revision has been compacted"),
            Self::FutureRevision => f.write_str("the revision lies in the future"),
            Self::TooLarge => f.write_str("one value is larger than what is taken at once"),
            Self::NoUsers => f.write_str("authentication is not enabled"),
            Self::Corrupt => f.write_str("the cluster has raised the alarm CORRUPT"),
            Self::Denied(why) | Self::Other(why) => f.write_str(why),
        }
    }
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It may succeed another time, or with another member.
    Again(String),
    /// There is no connection by TLS.
    Tls(String),
    /// It was refused.
    Refused(Refusal),
}

impl Failure {
    /// Tells what the client met.
    #[must_use]
    pub fn of(error: &ClientError) -> Self {
        match error {
            ClientError::GRpcStatus(status) => Self::of_status(status),
            ClientError::TransportError(error) => Self::of_transport(error),
            ClientError::IoError(error) => Self::of_transport(error),
            other => Self::Refused(Refusal::Other(shown(&other.to_string()))),
        }
    }

    /// Tells what a connection met.
    #[must_use]
    pub fn of_transport(error: &(dyn StdError + 'static)) -> Self {
        match tls(error) {
            Some(error) => Self::Tls(shown(&error.to_string())),
            None => Self::Again(shown(&chain(error))),
        }
    }

    fn of_status(status: &Status) -> Self {
        let message = status.message();
        let says = |text: &str| message.contains(text);
        let denied = || Self::Refused(Refusal::Denied(shown(message)));
        if says("required revision has been compacted") {
            return Self::Refused(Refusal::Compacted);
        }
        if says("required revision is a future revision") {
            return Self::Refused(Refusal::FutureRevision);
        }
        // Streams tell what the store of users says under no code at all.
        let of_users = says("auth: ") || says("authentication failed") || says("user name is empty");
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => denied(),
            Code::InvalidArgument | Code::Unknown if of_users => denied(),
            Code::FailedPrecondition if says("authentication is not enabled") => {
                Self::Refused(Refusal::NoUsers)
            }
            Code::DataLoss => Self::Refused(Refusal::Corrupt),
            Code::OutOfRange if says("too large") => Self::Refused(Refusal::TooLarge),
            Code::ResourceExhausted if says("larger than max") => Self::Refused(Refusal::TooLarge),
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
            | Code::Internal
            | Code::Unknown => match status.source().map(|source| (tls(source), chain(source))) {
                Some((Some(error), _)) => Self::Tls(shown(&error.to_string())),
                Some((None, why)) => Self::Again(shown(&why)),
                None => Self::Again(shown(message)),
            },
            _ => Self::Refused(Refusal::Other(shown(message))),
        }
    }
}

/// A server may say anything.
fn shown(text: &str) -> String {
    escape(text.as_bytes())
}

/// What TLS has to say, wherever it is wrapped.
fn tls<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e rustls::Error> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // The source of an error of the system is the source of what it wraps.
        let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) = inside.and_then(|inside| tls(inside)) {
            return Some(found);
        }
        at = error.source();
    }
    None
}

/// All that an error says, from outside in, nothing twice.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut at = Some(error);
    while let Some(error) = at {
        let text = error.to_string();
        if !said.iter().any(|earlier| earlier.contains(&text)) {
            said.push(text);
        }
        at = error.source();
    }
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: Code, message: &str) -> Failure {
        Failure::of(&ClientError::GRpcStatus(Status::new(code, message)))
    }

    #[test]
    fn answers_of_etcd_are_told_apart() {
        let refused = Failure::Refused;
        let compacted = "etcdserver: mvcc: required revision has been compacted";
        assert_eq!(of(Code::OutOfRange, compacted), refused(Refusal::Compacted));
        let future = "etcdserver: mvcc: required revision is a future revision";
        assert_eq!(of(Code::OutOfRange, future), refused(Refusal::FutureRevision));
        let large = "Error, decoded message length too large: found 9 bytes, the limit is: 8 bytes";
        assert_eq!(of(Code::OutOfRange, large), refused(Refusal::TooLarge));
        assert_eq!(of(Code::DataLoss, "etcdserver: corrupt cluster"), refused(Refusal::Corrupt));
        let empty = "etcdserver: user name is empty";
        assert_eq!(of(Code::InvalidArgument, empty), refused(Refusal::Denied(empty.to_owned())));
        let stream = "auth: user name is empty";
        assert_eq!(of(Code::Unknown, stream), refused(Refusal::Denied(stream.to_owned())));
        let again = |text: &str| Failure::Again(text.to_owned());
        assert_eq!(of(Code::Unavailable, "etcdserver: leader changed"), again("etcdserver: leader changed"));
        assert_eq!(of(Code::Unknown, "a\x1b[m"), again("a\\x1b[m"));
    }

    #[test]
    fn an_error_of_tls_is_found_inside_others() {
        let inner = std::io::Error::other(rustls::Error::DecryptError);
        let outer = std::io::Error::other(inner);
        assert_eq!(Failure::of_transport(&outer), Failure::Tls(rustls::Error::DecryptError.to_string()));
        let plain = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(Failure::of_transport(&plain), Failure::Again("connection refused".to_owned()));
    }
}
