//! Flags of the commands that talk to a live etcd, named as etcdctl's.
#![allow(missing_docs, reason = "a flattened field would show its text as a flag's")]

use super::args::flags::{Common, FILES, KEYS, Keys, Messages, ProgressMode, RUNNING, WriteOut};
use super::args::help;
use super::inputs;
use super::progress::Shown;
use crate::live::certificates::{LOCAL, Layout};
use crate::live::dialer::User;
use crate::live::endpoint::Transport;
use crate::live::{Dialer, Endpoint, Error, Files, tls};
use clap::{Args as Flags, Subcommand};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Heading of the flags that say where etcd is, and who asks.
const CONNECTION: &str = "Where etcd is, and who asks";

/// The commands.
#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub enum Snapshot {
    /// Save a snapshot of one member; it has its name once its sum and its pages are checked
    #[command(after_help = help::SAVE, disable_help_flag = true)]
    Save(Save),
    /// Prove that a live etcd holds what a snapshot holds
    #[command(after_help = help::COMPARE, disable_help_flag = true)]
    Compare(Compare),
    /// Restore a snapshot into a temporary directory, start etcd on it, compare, remove all of it
    #[command(after_help = help::REHEARSE, disable_help_flag = true)]
    Rehearse(Rehearse),
}

/// `snapshot save`.
#[derive(Debug, Flags)]
pub struct Save {
    /// The snapshot to write
    pub output: PathBuf,
    /// Replace a file that exists
    #[arg(long, help_heading = FILES)]
    pub overwrite: bool,
    /// Tell what would be saved, and write nothing
    ///
    /// Which member would be asked, how large its file is, and on which disk it would lie. What the run would refuse
    /// is refused.
    #[arg(long, help_heading = FILES)]
    pub dry_run: bool,
    #[command(flatten)]
    pub connection: Connection,
    /// Result as simple, table or json
    #[arg(short = 'w', long, value_enum, value_name = "HOW", default_value = "simple", help_heading = RUNNING)]
    pub write_out: WriteOut,
    #[command(flatten)]
    pub telling: Telling,
}

/// `snapshot compare`.
#[derive(Debug, Flags)]
pub struct Compare {
    /// The snapshot the cluster was restored from
    pub snapshot: PathBuf,
    #[command(flatten)]
    pub connection: Connection,
    /// Ask every member, by the addresses they give
    #[arg(long, help_heading = CONNECTION)]
    pub cluster: bool,
    #[command(flatten)]
    pub opening: Opening,
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub telling: Telling,
}

/// `snapshot rehearse`.
#[derive(Debug, Flags)]
pub struct Rehearse {
    /// The snapshot to restore
    pub snapshot: PathBuf,
    /// Where etcd and etcdutl are; else PATH is searched
    #[arg(long, value_name = "DIR", help_heading = CONNECTION)]
    pub etcd_bin_dir: Option<PathBuf>,
    #[command(flatten)]
    pub who: Who,
    #[command(flatten)]
    pub opening: Opening,
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub telling: Telling,
}

/// What a run says while it runs.
#[derive(Debug, Flags)]
pub struct Telling {
    /// Progress as auto, bar, plain, json or none
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto", help_heading = RUNNING)]
    pub progress: ProgressMode,
    #[command(flatten)]
    pub messages: Messages,
}

impl Telling {
    /// How progress is shown.
    #[must_use]
    pub fn shown(&self) -> Shown {
        Shown::counting(self.progress, self.messages)
    }
}

/// What opens live values.
#[derive(Debug, Flags)]
pub struct Opening {
    /// Open every live value, too
    ///
    /// Its first key is the one that all of them should be under.
    #[arg(long, value_name = "FILE", conflicts_with = "token_file", help_heading = KEYS)]
    pub encryption_config: Option<PathBuf>,
    #[command(flatten)]
    pub keys: Keys,
}

/// Who asks, and how long nothing may come.
#[derive(Debug, Flags)]
pub struct Who {
    /// A user of etcd's own; else ETCDCTL_USER
    #[arg(long, value_name = "NAME", help_heading = CONNECTION)]
    pub user: Option<String>,
    /// The user's password, - is stdin; else ETCDCTL_PASSWORD
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    pub password_file: Option<PathBuf>,
    /// How long nothing may come
    ///
    /// After so long a time in which nothing came it is given up. However much comes may take as long as it takes.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, help_heading = CONNECTION, hide_short_help = true)]
    pub stall_timeout: Duration,
}

/// Where etcd is, and who is trusted.
#[derive(Debug, Flags)]
#[allow(clippy::option_option, reason = "a flag that may have a value")]
pub struct Connection {
    /// Members; else ETCDCTL_ENDPOINTS or 127.0.0.1:2379
    ///
    /// Members to ask, several with commas between them. https://HOST:PORT, http://HOST:PORT, unix:///PATH; without
    /// a scheme it is TLS where certificates are given.
    #[arg(long, value_name = "URL", value_delimiter = ',', help_heading = CONNECTION)]
    pub endpoints: Vec<String>,
    /// Who signed the server's; else ETCDCTL_CACERT
    ///
    /// The authority that signed the server's certificate; without one, those of the system are trusted.
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    pub cacert: Option<PathBuf>,
    /// Certificate of the client; else ETCDCTL_CERT
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    pub cert: Option<PathBuf>,
    /// Its key; else ETCDCTL_KEY
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    pub key: Option<PathBuf>,
    /// This machine's K3s [/var/lib/rancher/k3s]
    ///
    /// This machine's member, with the certificates below K3s's data directory.
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, conflicts_with_all = ["rke2", "kubeadm", "cacert", "cert", "key"], help_heading = CONNECTION)]
    pub k3s: Option<Option<PathBuf>>,
    /// This machine's RKE2 [/var/lib/rancher/rke2]
    ///
    /// This machine's member, with the certificates below RKE2's data directory.
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, conflicts_with_all = ["kubeadm", "cacert", "cert", "key"], help_heading = CONNECTION)]
    pub rke2: Option<Option<PathBuf>>,
    /// This machine's kubeadm [/etc/kubernetes/pki]
    ///
    /// This machine's member, with kubeadm's certificates in this directory.
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, conflicts_with_all = ["cacert", "cert", "key"], help_heading = CONNECTION)]
    pub kubeadm: Option<Option<PathBuf>>,
    /// Take any certificate of the server
    ///
    /// Whoever is in between reads and changes everything.
    #[arg(long, help_heading = CONNECTION, hide_short_help = true)]
    pub insecure_skip_tls_verify: bool,
    /// No TLS without a scheme; =false: TLS
    ///
    /// Endpoints without a scheme: no TLS, whatever certificates are given; with =false, TLS.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = CONNECTION, hide_short_help = true)]
    pub insecure_transport: Option<bool>,
    /// For a connection to be made
    ///
    /// How long a connection may take to be made.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration, help_heading = CONNECTION, hide_short_help = true)]
    pub dial_timeout: Duration,
    #[command(flatten)]
    pub who: Who,
}

/// A time as Go writes it: `30s`, `1m30s`, `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time such as 30s, 1m30s or 500ms".to_owned();
    let (mut rest, mut sum) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        let millis = match &rest[digits..unit] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        sum = sum.saturating_add(Duration::from_millis(number.saturating_mul(millis)));
        rest = &rest[unit..];
    }
    // A day is as good as for ever, and can be added to any time.
    if sum.is_zero() || sum > Duration::from_secs(86_400) { Err(wrong()) } else { Ok(sum) }
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

impl Who {
    /// The user, with the password; never from the command line.
    ///
    /// # Errors
    /// [`Error::Usage`]; a password file that cannot be read.
    pub fn user(&self) -> Result<Option<User>, Error> {
        let usage = |why: &str, remedy| Error::Usage { why: why.to_owned(), remedy };
        let remedy = "give the password in ETCDCTL_PASSWORD, or a file of it as --password-file";
        if self.user.as_ref().is_some_and(|user| user.contains(':')) {
            return Err(usage(
                "a password does not belong on a command line, where everybody reads it",
                remedy,
            ));
        }
        let text = |name: &str| -> Result<Option<Zeroizing<String>>, Error> {
            let text = variable(name).map(OsString::into_string).transpose();
            Ok(text.map_err(|_| usage(&format!("{name} is not UTF-8"), remedy))?.map(Zeroizing::new))
        };
        let named = text("ETCDCTL_USER")?;
        let named = named
            .as_ref()
            .map(|named| named.split_once(':').map_or((named.as_str(), None), |(n, p)| (n, Some(p))));
        let (name, beside) = match (&self.user, named) {
            (Some(user), _) => (user.clone(), None),
            (None, Some((name, password))) => {
                (name.to_owned(), password.map(|password| Zeroizing::new(password.to_owned())))
            }
            (None, None) => return Ok(None),
        };
        let password = match &self.password_file {
            Some(file) if file == Path::new("-") => {
                Some(inputs::secret_text(Path::new("standard input"), std::io::stdin().lock())?)
            }
            Some(file) => Some(inputs::secret_file(file)?),
            None => text("ETCDCTL_PASSWORD")?.or(beside),
        };
        let password = password.ok_or_else(|| usage("a user was given, and no password", remedy))?;
        let password = Zeroizing::new(password.trim_end_matches(['\n', '\r']).to_owned());
        Ok(Some(User { name, password }))
    }
}

/// Where to connect to, and how.
pub struct Connecting {
    /// The members to ask.
    pub endpoints: Vec<Endpoint>,
    /// How connections are made.
    pub dialer: Dialer,
    /// What goes for endpoints that members name.
    pub transport: Transport,
}

impl Connection {
    fn layout(&self) -> Option<(Layout, Option<&Path>)> {
        let given = [(&self.k3s, Layout::K3s), (&self.rke2, Layout::Rke2), (&self.kubeadm, Layout::Kubeadm)];
        given.into_iter().find_map(|(flag, layout)| flag.as_ref().map(|dir| (layout, dir.as_deref())))
    }

    fn files(&self) -> Result<Files, Error> {
        if let Some((layout, directory)) = self.layout() {
            return layout.find(directory.unwrap_or(Path::new(layout.directory())));
        }
        let file =
            |flag: &Option<PathBuf>, name: &str| flag.clone().or_else(|| variable(name).map(PathBuf::from));
        Ok(Files {
            cacert: file(&self.cacert, "ETCDCTL_CACERT"),
            cert: file(&self.cert, "ETCDCTL_CERT"),
            key: file(&self.key, "ETCDCTL_KEY"),
        })
    }

    /// Reads what the flags and variables name.
    ///
    /// # Errors
    /// [`Error`].
    pub fn connecting(&self) -> Result<Connecting, Error> {
        let files = self.files()?;
        let transport =
            Transport { certificates: files != Files::default(), insecure: self.insecure_transport };
        let named = variable("ETCDCTL_ENDPOINTS").map(|text| text.to_string_lossy().into_owned());
        let texts: Vec<String> = if !self.endpoints.is_empty() {
            self.endpoints.clone()
        } else if self.layout().is_some() {
            vec![LOCAL.to_owned()]
        } else {
            let text = named.unwrap_or_else(|| "127.0.0.1:2379".to_owned());
            text.split(',').map(str::to_owned).collect()
        };
        let endpoints = texts.iter().map(|text| Endpoint::parse(text, transport));
        let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
        let tls = if endpoints.iter().any(|endpoint| endpoint.tls) {
            Some(Arc::new(tls::config(&files, self.insecure_skip_tls_verify)?))
        } else {
            None
        };
        let dialer =
            Dialer { tls, user: self.who.user()?, dial: self.dial_timeout, stall: self.who.stall_timeout };
        Ok(Connecting { endpoints, dialer, transport })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_gos() {
        for (text, millis) in [("30s", 30_000), ("1m30s", 90_000), ("500ms", 500), ("2h", 7_200_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)));
        }
        for text in ["", "30", "s", "1x", "0s", "-1s", "48h", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
