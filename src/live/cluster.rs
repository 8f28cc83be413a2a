//! Requests that outlive a connection, by asking again.
//!
//! There is no limit to how long it all takes, only to how long nothing
//! comes: every answer starts the clock anew.

use super::endpoint::Transport;
use super::member::Member;
use super::refusal::Failure;
use super::{Dialer, Endpoint, Error};
use crate::rekey::Progress;
use etcd_client::{Client, Error as ClientError};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How often it is looked whether the run is to stop.
const TICK: Duration = Duration::from_millis(100);
/// The first pause after a failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The members that may be asked.
pub struct Cluster<'c> {
    dialer: &'c Dialer,
    endpoints: &'c [Endpoint],
    progress: &'c dyn Progress,
    /// Which of them is asked.
    at: usize,
    client: Option<Client>,
    /// How often a request was made again.
    pub retries: u64,
}

/// Waits for something, for as long as `patience`, and no longer than the run
/// goes on; `Ok(None)` when that was too long.
///
/// # Errors
/// [`Error::Interrupted`].
pub async fn watched<T>(
    progress: &dyn Progress,
    patience: Duration,
    work: impl Future<Output = T>,
) -> Result<Option<T>, Error> {
    let mut work = pin!(work);
    let until = Instant::now() + patience;
    loop {
        if progress.stop() {
            return Err(Error::Interrupted);
        }
        let left = until.saturating_duration_since(Instant::now());
        match timeout(TICK.min(left), &mut work).await {
            Ok(done) => return Ok(Some(done)),
            Err(_) if left.is_zero() => return Ok(None),
            Err(_) => {}
        }
    }
}

impl<'c> Cluster<'c> {
    /// Begins with the first endpoint; connects when something is asked.
    #[must_use]
    pub fn new(dialer: &'c Dialer, endpoints: &'c [Endpoint], progress: &'c dyn Progress) -> Self {
        Self { dialer, endpoints, progress, at: 0, client: None, retries: 0 }
    }

    /// The endpoint that is asked.
    #[must_use]
    pub fn endpoint(&self) -> &'c Endpoint {
        &self.endpoints[self.at % self.endpoints.len()]
    }

    /// Asks one member, then the next, again and again with longer pauses,
    /// until one answers. `patience` is how long one answer may take.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Tls`] and [`Error::Interrupted`] at once;
    /// [`Error::Unreachable`] and [`Error::Stalled`] when nothing came for
    /// the time of the dialer, or of `patience` where that is longer.
    pub async fn ask<T>(
        &mut self,
        what: &'static str,
        patience: Duration,
        request: impl AsyncFn(&mut Client) -> Result<T, ClientError>,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let mut pause = PAUSES.0;
        loop {
            let failure = match self.try_once(what, patience, &request).await? {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            self.client = None;
            if begun.elapsed() + pause > self.dialer.stall.max(patience) {
                return Err(failure);
            }
            self.retries += 1;
            self.at = (self.at + 1) % self.endpoints.len();
            watched(self.progress, pause, std::future::pending::<()>()).await?;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// The inner error is one that may go away.
    async fn try_once<T>(
        &mut self,
        what: &'static str,
        patience: Duration,
        request: &impl AsyncFn(&mut Client) -> Result<T, ClientError>,
    ) -> Result<Result<T, Error>, Error> {
        let endpoint = self.endpoint();
        let mut client = match self.client.take() {
            Some(client) => client,
            None => {
                // On the heap: what the library makes of a request is large.
                let connecting = Box::pin(self.dialer.connect(endpoint));
                match watched(self.progress, self.dialer.stall, connecting).await? {
                    Some(Ok(client)) => client,
                    Some(Err(failure)) => return lasting(failure, endpoint),
                    None => return Ok(Err(stalled(endpoint, "connecting", self.dialer.stall))),
                }
            }
        };
        match watched(self.progress, patience, Box::pin(request(&mut client))).await? {
            Some(Ok(answer)) => {
                self.client = Some(client);
                Ok(Ok(answer))
            }
            Some(Err(error)) => lasting(Failure::of(&error), endpoint),
            None => Ok(Err(stalled(endpoint, what, patience))),
        }
    }

    /// Asks every member for its status, once each; those that do not answer
    /// are told with why.
    ///
    /// # Errors
    /// As [`Cluster::ask`]; what goes away is an answer here.
    pub async fn members(&mut self) -> Result<Vec<Result<Member, Error>>, Error> {
        let mut members = Vec::new();
        for at in 0..self.endpoints.len() {
            (self.at, self.client) = (at, None);
            let name = self.endpoint().to_string();
            let status = async |client: &mut Client| Ok(Member::ask(client, &name).await);
            let answer = match self.try_once("asking for its status", self.dialer.stall, &status).await {
                Ok(Ok(Ok(member))) => Ok(member),
                Ok(Ok(Err(failure))) => lasting(failure, self.endpoint())?,
                Ok(Err(error)) => Err(error),
                Err(error) => return Err(error),
            };
            members.push(answer);
        }
        let first = members.iter().position(Result::is_ok).unwrap_or(0);
        if first != self.at {
            (self.at, self.client) = (first, None);
        }
        Ok(members)
    }

    /// Waits before the same thing is asked again, because of what was answered.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub async fn pause(&self) -> Result<(), Error> {
        watched(self.progress, PAUSES.0, sleep(PAUSES.0)).await.map(|_| ())
    }
}

/// The endpoints of every member, as the cluster lists them; learners are left
/// out, which do not answer for it.
///
/// # Errors
/// As [`Cluster::ask`]; [`Error::Usage`] for a member that lists none.
pub async fn discover(
    dialer: &Dialer,
    endpoints: &[Endpoint],
    transport: Transport,
    progress: &dyn Progress,
) -> Result<Vec<Endpoint>, Error> {
    let mut cluster = Cluster::new(dialer, endpoints, progress);
    let listing = async |client: &mut Client| client.member_list().await;
    let answer = cluster.ask("listing the members", dialer.stall, listing).await?;
    let voting = answer.members().iter().filter(|member| !member.is_learner());
    voting
        .map(|member| {
            let nowhere = || Error::Usage {
                why: format!("the member {:x} has not started, or lists no address", member.id()),
                remedy: "see to it; or leave --cluster away, and name the members to ask with --endpoints",
            };
            let url = member.client_urls().first().ok_or_else(nowhere)?;
            Endpoint::parse(url, transport)
        })
        .collect()
}

fn lasting<T>(failure: Failure, endpoint: &Endpoint) -> Result<Result<T, Error>, Error> {
    match failure {
        Failure::Again(_) => Ok(Err(failure.at(endpoint))),
        _ => Err(failure.at(endpoint)),
    }
}

fn stalled(endpoint: &Endpoint, what: &'static str, patience: Duration) -> Error {
    Error::Stalled { endpoint: endpoint.to_string(), what, seconds: patience.as_secs() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::endpoint::Transport;
    use crate::rekey::Silent;

    fn nowhere() -> Vec<Endpoint> {
        // A port that is taken, and not listened on.
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        drop(taken);
        vec![Endpoint::parse(&format!("http://127.0.0.1:{port}"), Transport::default()).unwrap()]
    }

    fn dialer(stall: u64) -> Dialer {
        let (dial, stall) = (Duration::from_millis(200), Duration::from_millis(stall));
        Dialer { tls: None, user: None, dial, stall }
    }

    #[test]
    fn who_is_not_there_is_asked_again_for_a_while() {
        let (dialer, endpoints) = (dialer(500), nowhere());
        let mut cluster = Cluster::new(&dialer, &endpoints, &Silent);
        let asked = crate::live::run(async {
            cluster.ask("asking", dialer.stall, async |client: &mut Client| client.status().await).await
        });
        assert!(matches!(asked.map(|_| ()), Err(Error::Unreachable { .. })));
        assert!(cluster.retries >= 1, "{}", cluster.retries);
    }

    #[test]
    fn nothing_is_waited_for_once_the_run_is_to_stop() {
        struct Stopped;
        impl Progress for Stopped {
            fn phase(&self, _: crate::rekey::Phase, _: u64) {}
            fn rewritten(&self, _: u64) {}
            fn stop(&self) -> bool {
                true
            }
        }
        let waited = crate::live::run(async {
            watched(&Stopped, Duration::from_secs(60), std::future::pending::<()>()).await
        });
        assert!(matches!(waited, Err(Error::Interrupted)));
    }
}
