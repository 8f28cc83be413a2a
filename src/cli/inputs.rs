//! Configurations, tokens and snapshots, read from the files the flags name.

use super::args::flags::{Keys, Reading};
use crate::bolt::meta::MAGIC;
use crate::k3s::proof::Proof;
use crate::k3s::token::TokenError;
use crate::k3s::{self, Cluster, Token};
use crate::kube::{ConfigError, EncryptionConfiguration};
use crate::rekey::proof::{self, Given};
use crate::rekey::source::{SnapshotFile, Source};
use crate::rekey::{Error, Rules, data_keys, task};
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What has so many bytes is no configuration and no token.
const MOST: usize = 16 << 20;

/// Reads what has keys in it.
fn secret_bytes(path: &Path, mut from: impl Read) -> Result<Zeroizing<Vec<u8>>, Error> {
    let io = |source| Error::Open { file: path.to_owned(), source };
    // A buffer that grew by itself would leave keys behind where it was.
    let mut bytes = Zeroizing::new(Vec::with_capacity(1 << 16));
    loop {
        let room = bytes.capacity() - bytes.len();
        let read = from.by_ref().take(u64::try_from(room).unwrap_or(1)).read_to_end(&mut bytes).map_err(io)?;
        if read < room {
            return Ok(bytes);
        }
        if bytes.len() >= MOST {
            return Err(io(std::io::Error::other("it has 16 MiB or more")));
        }
        let mut wider = Zeroizing::new(Vec::with_capacity(bytes.len() * 2));
        wider.extend_from_slice(&bytes);
        bytes = wider;
    }
}

/// Reads a text with keys in it.
pub(super) fn secret_text(path: &Path, from: impl Read) -> Result<Zeroizing<String>, Error> {
    let bytes = secret_bytes(path, from)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Error::Config { file: path.to_owned(), source: ConfigError::NotText })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Reads a token; a snapshot is told by its first bytes, however long it is.
fn token_text(path: &Path, mut from: impl Read) -> Result<Zeroizing<String>, Error> {
    let io = |source| Error::Open { file: path.to_owned(), source };
    // A bbolt file has its magic number behind the header of its first page.
    let mut head = Zeroizing::new(Vec::with_capacity(20));
    from.by_ref().take(20).read_to_end(&mut head).map_err(io)?;
    if head.get(16..).is_some_and(|magic| magic == MAGIC.to_le_bytes()) {
        return Err(k3s::Error::from(TokenError::Snapshot).into());
    }
    match secret_text(path, head.as_slice().chain(from)) {
        Err(Error::Config { source: ConfigError::NotText, .. }) => {
            Err(k3s::Error::from(TokenError::NotText).into())
        }
        done => done,
    }
}

/// A pipe will do: keys need not lie in a file.
fn open(path: &Path) -> Result<std::fs::File, Error> {
    std::fs::File::open(path).map_err(|source| Error::Open { file: path.to_owned(), source })
}

/// Reads a text with keys in it from a file, or a pipe.
pub(super) fn secret_file(path: &Path) -> Result<Zeroizing<String>, Error> {
    secret_text(path, open(path)?)
}

/// A file with keys in it, and its name.
pub type NamedFile = (String, Zeroizing<Vec<u8>>);

/// The configuration files of servers.
///
/// # Errors
/// [`Error::Open`].
pub fn server_configs(paths: &[PathBuf]) -> Result<Vec<NamedFile>, Error> {
    let read = |path: &PathBuf| Ok((path.display().to_string(), secret_bytes(path, open(path)?)?));
    paths.iter().map(read).collect()
}

/// Reads an EncryptionConfiguration.
///
/// # Errors
/// [`Error::Open`], [`Error::Config`].
pub fn config(path: &Path) -> Result<EncryptionConfiguration, Error> {
    let text = secret_file(path)?;
    let parsed = EncryptionConfiguration::parse(&text);
    let parsed = parsed.map_err(|source| Error::Config { file: path.to_owned(), source })?;
    // The precedence rules are part of what upstream refuses to load.
    crate::kube::Precedence::of(&parsed)
        .map(|_| parsed)
        .map_err(|source| Error::Config { file: path.to_owned(), source })
}

/// Reads the configuration that leads, where there is one, and those whose
/// keys read; their plugins are reached where the flags say.
///
/// # Errors
/// As [`config`]; [`Error::NoSuchPlugin`].
pub fn configs(first: Option<&Path>, keys: &Keys) -> Result<Configs, Error> {
    let mut first = first.map(config).transpose()?;
    let mut read = keys.decryption_config.iter().map(|path| config(path)).collect::<Result<Vec<_>, _>>()?;
    for (name, endpoint) in &keys.kms_endpoint {
        let mut named = false;
        for config in first.iter_mut().chain(&mut read) {
            named |= config.reach(name, endpoint);
        }
        if !named {
            return Err(Error::NoSuchPlugin { name: crate::etcd::escape(name.as_bytes()) });
        }
    }
    Ok(Configs { first, read })
}

/// Configurations.
pub struct Configs {
    /// The one that leads.
    pub first: Option<EncryptionConfiguration>,
    /// Those of `--decryption-config`.
    pub read: Vec<EncryptionConfiguration>,
}

/// Server tokens, and where they came from.
pub struct Tokens {
    /// The tokens; of variables that cannot be used, why. Only a snapshot
    /// with a record asks.
    pub tokens: Result<Vec<Token>, k3s::Error>,
    /// The files they were read from.
    pub files: Vec<PathBuf>,
}

/// The server tokens: of the files given, else of the variables K3s and RKE2
/// read, where a file goes before a text as it does for them.
///
/// # Errors
/// Of the files given: [`Error::Open`]; a text that is no token.
pub fn tokens(files: &[PathBuf]) -> Result<Tokens, Error> {
    let read = |path: &PathBuf| {
        let text = if path == Path::new("-") {
            token_text(Path::new("standard input"), std::io::stdin().lock())?
        } else {
            token_text(path, open(path)?)?
        };
        Token::parse(&text).map_err(|error| Error::from(k3s::Error::from(error)))
    };
    if files.is_empty() {
        return Ok(tokens_of_variables());
    }
    let tokens = Ok(files.iter().map(read).collect::<Result<_, _>>()?);
    Ok(Tokens { tokens, files: files.iter().filter(|path| *path != Path::new("-")).cloned().collect() })
}

/// A variable may name what is not there, and be meant for something else.
fn tokens_of_variables() -> Tokens {
    for program in ["K3S", "RKE2"] {
        let variable = format!("{program}_TOKEN_FILE");
        if let Some(path) = std::env::var_os(&variable).filter(|path| !path.is_empty()) {
            let path = PathBuf::from(path);
            let text = secret_file(&path).map_err(|error| error.to_string());
            return Tokens { tokens: token_of(&variable, text), files: vec![path] };
        }
        let variable = format!("{program}_TOKEN");
        match std::env::var(&variable).map(Zeroizing::new) {
            Ok(text) if !text.is_empty() => {
                return Tokens { tokens: token_of(&variable, Ok(text)), files: Vec::new() };
            }
            Err(std::env::VarError::NotUnicode(_)) => {
                let why = Err("it is not UTF-8".to_owned());
                return Tokens { tokens: token_of(&variable, why), files: Vec::new() };
            }
            _ => {}
        }
    }
    Tokens { tokens: Ok(Vec::new()), files: Vec::new() }
}

fn token_of(variable: &str, text: Result<Zeroizing<String>, String>) -> Result<Vec<Token>, k3s::Error> {
    let token = text.and_then(|text| Token::parse(&text).map_err(|error| error.to_string()));
    token.map(|token| vec![token]).map_err(|why| k3s::Error::Variable { variable: variable.to_owned(), why })
}

/// What opens the values of a snapshot, for reading alone: the configurations
/// given and, with a token, those in the record of a K3s or RKE2 cluster.
pub struct Opened {
    /// The keys.
    pub rules: Rules,
    /// The cluster, where a token opened its record.
    pub cluster: Option<Cluster>,
    /// The etcd keys of records, opened or not.
    pub records: Vec<String>,
}

/// Gathers what opens the values of a snapshot.
///
/// # Errors
/// As [`config`] and [`tokens`]; a token that does not fit.
pub fn opened(flags: &Reading, file: &SnapshotFile, source: &Source<'_>) -> Result<Opened, Error> {
    let Reading { encryption_config, keys, .. } = flags;
    let config_file = encryption_config.as_deref();
    let Configs { first, read } = configs(config_file, keys)?;
    let mut read: Vec<_> = first.into_iter().chain(read).collect();
    let tokens = tokens(&keys.token_file)?.tokens;
    let gathering = task::gather(file, source, &keys.etcd_prefix)?;
    let records = gathering.records(false);
    let mut cluster = None;
    if gathering.holds_record() || !keys.token_file.is_empty() {
        let tokens = tokens?;
        if !tokens.is_empty() {
            let opened = gathering.open(&tokens)?;
            read.extend(opened.configs());
            cluster = Some(opened);
        }
    }
    let rules = Rules::reading(&read, &keys.etcd_prefix)
        .map_err(|source| Error::Config { file: config_file.unwrap_or(Path::new("-")).to_owned(), source })?;
    Ok(Opened { rules, cluster, records })
}

/// A snapshot file, and what was read of it.
pub type Side<'s> = (&'s SnapshotFile, &'s Source<'s>);

/// What an output is to be proven by: see [`proof::of`].
///
/// # Errors
/// As [`proof::of`]; [`k3s::Error::NoRecord`] where a token was given, and
/// there is nothing it could open.
pub fn proof(
    (input, output): (Side<'_>, Side<'_>),
    config: Option<&PathBuf>,
    keys: &Keys,
    compacted: bool,
) -> Result<(Rules, Option<Proof>), Error> {
    let Configs { first, read } = configs(config.map(PathBuf::as_path), keys)?;
    let given = Given {
        config: config.cloned().zip(first),
        read,
        tokens: tokens(&keys.token_file)?.tokens,
        etcd_prefix: keys.etcd_prefix.clone(),
        compacted,
    };
    match proof::of(input, output, given) {
        Err(Error::NoConfig) if !keys.token_file.is_empty() => Err(k3s::Error::NoRecord.into()),
        done => done,
    }
}

/// Asks KMS plugins for the data keys of everything that is to be read. What
/// one that is out of reach leaves closed is listed as such.
///
/// # Errors
/// As [`data_keys::fetch`], but for the plugins themselves.
pub fn data_keys(rules: &Rules, file: &SnapshotFile, source: &Source<'_>) -> Result<(), Error> {
    match data_keys::fetch(file, source, rules, false, &|| false) {
        Err(Error::Kms(_)) => Ok(()),
        done => done,
    }
}

/// Opens a snapshot to be read. A zip archive is unpacked where temporary
/// files go.
///
/// # Errors
/// As [`SnapshotFile::open`].
pub fn snapshot(path: &Path, skip_hash_check: bool) -> Result<SnapshotFile, Error> {
    SnapshotFile::open(path, skip_hash_check, &std::env::temp_dir())
}

/// What was found wrong with a snapshot, unless its trailer is: that explains
/// whatever else is.
///
/// # Errors
/// [`Error::Snapshot`].
pub fn explained<T>(file: &SnapshotFile, found: Result<T, Error>) -> Result<T, Error> {
    if found.is_err() {
        file.snapshot()?.verify_trailer(|| true).map_err(|mismatch| file.error(mismatch))?;
    }
    found
}

/// Reads a snapshot whose trailer is verified first.
///
/// # Errors
/// [`Error::Snapshot`].
pub fn verified(file: &SnapshotFile, unused_bytes: bool) -> Result<Source<'_>, Error> {
    file.snapshot()?.verify_trailer(|| true).map_err(|mismatch| file.error(mismatch))?;
    file.read(unused_bytes)
}
