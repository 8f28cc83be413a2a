//! A plugin behind its socket: gRPC, asked from threads that wait.
//!
//! A call is repeated, with growing pauses, until its timeout is over: a
//! plugin may be starting, or its KMS be out of reach for a moment. What is
//! refused for good is not asked again.

use super::envelope::Wrapped;
use super::messages::{
    DecryptRequest, DecryptRequestV1, DecryptResponse, EncryptRequest, EncryptRequestV1, EncryptResponse,
    StatusRequest, StatusResponse, VersionRequest, VersionResponse,
};
use super::plugin::{Plugin, Version, socket};
use super::service::{Failure, KeyService, Sealed, Status};
use crate::etcd::escape;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use std::error::Error as _;
use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use zeroize::Zeroizing;

/// The version of the interface that v1 plugins are told.
const V1BETA1: &str = "v1beta1";
/// The first pause before a call is repeated; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A plugin behind its socket. It is connected to by the first call.
pub struct Client {
    plugin: Plugin,
    connection: OnceLock<Result<Connection, String>>,
    calls: AtomicU64,
}

/// The runtime goes last: what runs on it ends first.
struct Connection {
    channel: Channel,
    runtime: Runtime,
}

/// An attempt that brought no answer.
struct Attempt {
    code: Code,
    /// The plugin did not say so itself.
    on_the_way: bool,
    why: String,
}

impl Attempt {
    fn of(status: &tonic::Status) -> Self {
        let mut why = format!("{:?}", status.code());
        if !status.message().is_empty() {
            let _ = write!(why, ": {}", escape(status.message().as_bytes()));
        }
        let mut cause = status.source();
        while let Some(source) = cause {
            // The innermost one tells what the system said.
            if source.source().is_none() {
                let _ = write!(why, ": {}", escape(source.to_string().as_bytes()));
            }
            cause = source.source();
        }
        Self { code: status.code(), on_the_way: status.source().is_some(), why }
    }

    /// Whether another attempt may bring an answer. A plugin's own errors are
    /// Unknown to Go's library where it does not say more.
    fn may_pass(&self) -> bool {
        let for_now = [
            Code::Unknown,
            Code::Internal,
            Code::Unavailable,
            Code::Aborted,
            Code::ResourceExhausted,
            Code::DeadlineExceeded,
            Code::Cancelled,
        ];
        self.on_the_way || for_now.contains(&self.code)
    }

    fn failure(self) -> Failure {
        let not_there = [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled];
        if self.on_the_way || not_there.contains(&self.code) {
            Failure::Unreachable(self.why)
        } else {
            Failure::Refused(self.why)
        }
    }
}

impl Client {
    /// The plugin a configuration names.
    #[must_use]
    pub fn of(plugin: Plugin) -> Self {
        Self { plugin, connection: OnceLock::new(), calls: AtomicU64::new(0) }
    }

    fn connect(&self) -> Result<Connection, String> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("kms").enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let path = socket(self.plugin.reached_at());
        let connector = tower::service_fn(move |_: http::Uri| {
            let path = path.clone();
            async move {
                let nowhere = || std::io::Error::other("its endpoint names no socket");
                Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path.ok_or_else(nowhere)?).await?))
            }
        });
        let channel = {
            let _within = runtime.enter();
            // Go's servers want a host, as upstream's client sends it.
            Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector)
        };
        Ok(Connection { channel, runtime })
    }

    /// Calls a method until it answers, refuses, or its time is over. Who is
    /// not patient takes the first refusal for the last.
    fn call<Q, A>(&self, method: &'static str, ask: &Q, patient: bool) -> Result<A, Failure>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let connection = self.connection.get_or_init(|| self.connect());
        let connection = connection.as_ref().map_err(|why| Failure::Threads(why.clone()))?;
        let deadline = Instant::now() + self.plugin.timeout;
        let mut pause = PAUSE;
        loop {
            self.calls.fetch_add(1, Ordering::Relaxed);
            let left = deadline.saturating_duration_since(Instant::now());
            let once = once(connection.channel.clone(), method, ask.clone());
            // Waited for by channel: who asks may be within another runtime.
            let (answered, answer) = sync_channel(1);
            connection.runtime.spawn(async move {
                let _ = answered.send(tokio::time::timeout(left, once).await);
            });
            let failed = match answer.recv() {
                Ok(Ok(Ok(answer))) => return Ok(answer),
                Ok(Ok(Err(failed))) => failed,
                Ok(Err(_)) => return Err(Failure::Unreachable("it takes too long".to_owned())),
                Err(ended) => return Err(Failure::Threads(ended.to_string())),
            };
            let last = !failed.may_pass() || Instant::now() + pause >= deadline;
            match failed.failure() {
                failure if last => return Err(failure),
                failure @ Failure::Refused(_) if !patient => return Err(failure),
                _ => {}
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

async fn once<Q, A>(channel: Channel, method: &'static str, ask: Q) -> Result<A, Attempt>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| Attempt::of(&tonic::Status::from_error(Box::new(error))))?;
    let codec = tonic_prost::ProstCodec::<Q, A>::default();
    let answer = grpc.unary(tonic::Request::new(ask), PathAndQuery::from_static(method), codec).await;
    answer.map(tonic::Response::into_inner).map_err(|status| Attempt::of(&status))
}

/// A random id of a request, in the form of a UUID.
fn uid() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::Threads(error.to_string()))?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut out = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        out += if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
        let _ = write!(out, "{byte:02x}");
    }
    Ok(out)
}

impl KeyService for Client {
    fn status(&self) -> Result<Status, Failure> {
        Ok(match self.plugin.version {
            Version::V1 => {
                let ask = VersionRequest { version: V1BETA1.to_owned() };
                let answer: VersionResponse = self.call("/v1beta1.KeyManagementService/Version", &ask, true)?;
                Status { version: answer.version, healthz: "ok".to_owned(), key_id: String::new() }
            }
            Version::V2 => {
                let answer: StatusResponse =
                    self.call("/v2.KeyManagementService/Status", &StatusRequest {}, true)?;
                Status { version: answer.version, healthz: answer.healthz, key_id: answer.key_id }
            }
        })
    }

    fn encrypt(&self, plain: &[u8]) -> Result<Sealed, Failure> {
        let answer: EncryptResponse = match self.plugin.version {
            Version::V1 => {
                let ask = EncryptRequestV1 { version: V1BETA1.to_owned(), plain: plain.to_vec() };
                self.call("/v1beta1.KeyManagementService/Encrypt", &ask, true)?
            }
            Version::V2 => {
                let ask = EncryptRequest { plaintext: plain.to_vec(), uid: uid()? };
                self.call("/v2.KeyManagementService/Encrypt", &ask, true)?
            }
        };
        if self.plugin.version == Version::V1 {
            return Ok(Sealed { source: answer.ciphertext, ..Sealed::default() });
        }
        let mut annotations: Vec<_> = answer.annotations.into_iter().collect();
        annotations.sort_unstable();
        Ok(Sealed { source: answer.ciphertext, key_id: answer.key_id, annotations })
    }

    fn decrypt(&self, wrapped: &Wrapped<'_>, patient: bool) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut answer: DecryptResponse = match self.plugin.version {
            Version::V1 => {
                let ask = DecryptRequestV1 { version: V1BETA1.to_owned(), cipher: wrapped.source.to_vec() };
                self.call("/v1beta1.KeyManagementService/Decrypt", &ask, patient)?
            }
            Version::V2 => {
                let annotations = wrapped.annotations.iter();
                let ask = DecryptRequest {
                    ciphertext: wrapped.source.to_vec(),
                    uid: uid()?,
                    key_id: wrapped.key_id.to_owned(),
                    annotations: annotations
                        .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
                        .collect(),
                };
                self.call("/v2.KeyManagementService/Decrypt", &ask, patient)?
            }
        };
        Ok(Zeroizing::new(std::mem::take(&mut answer.plaintext)))
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn attempt(code: Code, message: &str, source: bool) -> Attempt {
        let mut status = tonic::Status::new(code, message);
        if source {
            status.set_source(Arc::new(std::io::Error::other("words of the system\n")));
        }
        Attempt::of(&status)
    }

    #[test]
    fn what_a_plugin_refuses_is_told_from_what_does_not_reach_it() {
        let unreachable = |why: &str| Failure::Unreachable(why.to_owned());
        let refused = |why: &str| Failure::Refused(why.to_owned());
        for (code, message, source, again, failure) in [
            (Code::Unknown, "no key", false, true, refused("Unknown: no key")),
            (Code::Internal, "", false, true, refused("Internal")),
            (Code::PermissionDenied, "no\x1b", false, false, refused("PermissionDenied: no\\x1b")),
            (Code::Unavailable, "gone", false, true, unreachable("Unavailable: gone")),
            (Code::DeadlineExceeded, "", false, true, unreachable("DeadlineExceeded")),
            (Code::Unknown, "x", true, true, unreachable("Unknown: x: words of the system\\n")),
            (Code::PermissionDenied, "", true, true, unreachable("PermissionDenied: words of the system\\n")),
        ] {
            assert_eq!(attempt(code, message, source).may_pass(), again, "{code:?} {message}");
            assert_eq!(attempt(code, message, source).failure(), failure);
        }
    }

    #[test]
    fn ids_of_requests_are_random_uuids() {
        let ids: std::collections::BTreeSet<String> = (0..200).map(|_| uid().unwrap()).collect();
        assert_eq!(ids.len(), 200);
        for id in ids {
            let parts: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12]);
            assert!(
                id.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
            );
            assert_eq!(id.as_bytes()[14], b'4');
            assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
        }
    }
}
