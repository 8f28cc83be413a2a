//! A connection to one member.
//!
//! TCP and TLS are made here rather than by the gRPC library, so that what
//! is wrong with a certificate can be told, and a socket in the file system
//! will do as well.

use super::endpoint::Address;
use super::refusal::{Failure, Refusal};
use super::{Endpoint, Error};
use etcd_client::{Channel, Client, ConnectOptions};
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use zeroize::Zeroizing;

/// Who asks.
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Zeroizing<String>,
}

/// How connections are made.
pub struct Dialer {
    /// For endpoints with TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// Who asks, where etcd knows users.
    pub user: Option<User>,
    /// How long a connection may take to be made.
    pub dial: Duration,
    /// How long nothing may come.
    pub stall: Duration,
}

/// Bytes on their way before they are taken: a page, or a part of a snapshot.
const WINDOW: u32 = 8 << 20;
/// How often a silent connection is asked whether it is there: seldom enough
/// for etcd, which hangs up on clients that ask every five seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// What a connection is read from and written to.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Dialer {
    /// Connects to a member, and says who asks.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Client, Failure> {
        let channel = self.channel(endpoint).await?;
        let options = ConnectOptions::new().with_auto_token_refresh(true);
        let Some(User { name, password }) = &self.user else {
            return Client::from_channel(Channel::Tonic(channel), Some(options))
                .await
                .map_err(|error| Failure::of(&error));
        };
        let known = options.clone().with_user(name.as_str(), password.as_str());
        match Client::from_channel(Channel::Tonic(channel.clone()), Some(known)).await {
            Ok(client) => Ok(client),
            Err(error) => match Failure::of(&error) {
                // As etcdctl, which goes on as nobody.
                Failure::Refused(Refusal::NoUsers) => {
                    Client::from_channel(Channel::Tonic(channel), Some(options))
                        .await
                        .map_err(|error| Failure::of(&error))
                }
                failure => Err(failure),
            },
        }
    }

    async fn channel(&self, endpoint: &Endpoint) -> Result<tonic::transport::Channel, Failure> {
        let origin = endpoint.origin();
        let bad = |error: &dyn std::error::Error| Failure::Again(error.to_string());
        // The library would make TLS of its own for https.
        let plain = origin.replacen("https://", "http://", 1);
        let builder = tonic::transport::Endpoint::from_shared(plain).map_err(|error| bad(&error))?;
        let builder = builder
            .origin(origin.parse().map_err(|error| bad(&error as &tonic::codegen::http::uri::InvalidUri))?)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(2 * WINDOW)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(self.stall)
            .tcp_nodelay(true);
        let (address, dial) = (endpoint.address.clone(), self.dial);
        let tls = endpoint.tls.then(|| self.tls.clone()).flatten();
        if endpoint.tls && tls.is_none() {
            return Err(Failure::Tls("no TLS was set up".to_owned()));
        }
        let connector = tower::service_fn(move |_: tonic::transport::Uri| {
            let (address, tls) = (address.clone(), tls.clone());
            async move {
                let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
                timeout(dial, stream(address, tls)).await.map_err(late)?.map(TokioIo::new)
            }
        });
        builder.connect_with_connector(connector).await.map_err(|error| Failure::of_transport(&error))
    }
}

async fn stream(address: Address, tls: Option<Arc<ClientConfig>>) -> io::Result<Box<dyn Stream>> {
    let (host, port) = match address {
        Address::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
        Address::Tcp(host, port) => (host, port),
    };
    let tcp = TcpStream::connect((host.as_str(), port)).await?;
    tcp.set_nodelay(true)?;
    let Some(config) = tls else { return Ok(Box::new(tcp)) };
    let name =
        ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(Box::new(TlsConnector::from(config).connect(name, tcp).await?))
}

impl Failure {
    /// The error it is, of this endpoint.
    #[must_use]
    pub fn at(self, endpoint: &Endpoint) -> Error {
        let endpoint = endpoint.to_string();
        match self {
            Self::Again(why) => Error::Unreachable { endpoint, why },
            Self::Tls(why) => Error::Tls { endpoint, why },
            Self::Refused(why) => Error::Refused { endpoint, why },
        }
    }
}
