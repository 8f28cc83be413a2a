//! The operator's own etcd, and the tool that restores with it.

use super::Error;
use crate::etcd::escape;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The two programs of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The server.
    pub etcd: PathBuf,
    /// What restores: `etcdutl`, or `etcdctl` of a release that still does.
    pub restorer: PathBuf,
    /// What the server says of its release.
    pub version: String,
}

impl Programs {
    /// Finds them in a directory, else in those of `PATH`.
    ///
    /// # Errors
    /// [`Error::NoProgram`], [`Error::Program`].
    pub fn find(directory: Option<&Path>) -> Result<Self, Error> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let directories: Vec<PathBuf> = match directory {
            Some(directory) => vec![directory.to_owned()],
            None => std::env::split_paths(&path).collect(),
        };
        let looked_in =
            || directory.map_or_else(|| "PATH".to_owned(), |directory| directory.display().to_string());
        let missing = |name| Error::NoProgram { name, looked_in: looked_in() };
        // They run in a directory of their own, and would not be found from there.
        let from_anywhere = |dir: &PathBuf, name: &str| std::path::absolute(dir.join(name)).ok();
        let find = |name: &str| {
            directories.iter().filter_map(|dir| from_anywhere(dir, name)).find(|path| is_program(path))
        };
        let etcd = find("etcd").ok_or_else(|| missing("etcd"))?;
        let version = said(&etcd, &["--version"])?;
        let version = version.strip_prefix("etcd Version: ").unwrap_or(&version).to_owned();
        let restorer = match (find("etcdutl"), find("etcdctl")) {
            (Some(etcdutl), _) => etcdutl,
            (None, Some(etcdctl)) if restores(&said(&etcdctl, &["version"])?) => etcdctl,
            _ => return Err(missing("etcdutl (or etcdctl of 3.4 or 3.5)")),
        };
        Ok(Self { etcd, restorer, version })
    }
}

/// `etcdctl snapshot restore` went away with 3.6.
fn restores(version: &str) -> bool {
    let number = version.strip_prefix("etcdctl version: ");
    number.is_some_and(|number| number.starts_with("3.4.") || number.starts_with("3.5."))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The first line a program says.
fn said(program: &Path, arguments: &[&str]) -> Result<String, Error> {
    let failed = |why: String| Error::Program { program: program.to_owned(), why };
    let output = command(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match text.lines().next() {
        Some(line) if output.status.success() => Ok(escape(line.trim().as_bytes())),
        _ => Err(failed(format!("asked for its version, it ended with {}", output.status))),
    }
}

/// A program of etcd's, without the variables that are meant for production:
/// each flag may be given as one.
#[must_use]
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    let meant_for_etcd = |name: &OsStr| {
        let name = name.to_string_lossy();
        // This one lets it run on processors it does not know.
        name.starts_with("ETCD") && name != "ETCD_UNSUPPORTED_ARCH"
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| meant_for_etcd(name)) {
        command.env_remove(name);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(dir: &Path, name: &str, says: &str) {
        let path = dir.join(name);
        std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_tool_that_restores_is_etcdutl_or_an_etcdctl_that_still_does() {
        let dir = tempfile::tempdir().unwrap();
        let find = || Programs::find(Some(dir.path()));
        assert!(matches!(find(), Err(Error::NoProgram { name: "etcd", .. })));
        program(dir.path(), "etcd", "etcd Version: 3.4.23");
        assert!(matches!(find(), Err(Error::NoProgram { .. })));
        program(dir.path(), "etcdctl", "etcdctl version: 3.6.1");
        assert!(matches!(find(), Err(Error::NoProgram { .. })));
        program(dir.path(), "etcdctl", "etcdctl version: 3.4.23");
        let found = find().unwrap();
        assert_eq!((found.version.as_str(), found.restorer), ("3.4.23", dir.path().join("etcdctl")));
        program(dir.path(), "etcdutl", "etcdutl version: 3.5.1");
        assert_eq!(find().unwrap().restorer, dir.path().join("etcdutl"));
    }
}
