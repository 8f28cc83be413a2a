//! Lines for `sha256sum -c` beside a record.

use super::{AuditedFile, absolute};
use crate::etcd::snapshot::hex;
use sha2::{Digest, Sha256};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where the sums of a record lie.
#[must_use]
pub fn sums_beside(record: &Path) -> PathBuf {
    let mut name = record.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

/// Lines for `sha256sum -c`: of input, output and the record itself. Files
/// beside the record are named without a directory, so that all of them may be
/// moved together.
#[must_use]
pub fn sums(record: &Path, bytes: &[u8], files: [(&Path, &AuditedFile); 2]) -> Vec<u8> {
    let mut out = Vec::new();
    let directory = |path: &Path| absolute(path).parent().and_then(|parent| parent.canonicalize().ok());
    let here = directory(record);
    let mut line = |path: &Path, sum: &str| {
        let name = match path.file_name() {
            Some(name) if directory(path) == here => PathBuf::from(name),
            _ => absolute(path),
        };
        // As sha256sum itself escapes names that would break a line.
        let mut escaped = Vec::new();
        for byte in name.as_os_str().as_bytes() {
            match byte {
                b'\\' => escaped.extend(b"\\\\"),
                b'\n' => escaped.extend(b"\\n"),
                b'\r' => escaped.extend(b"\\r"),
                byte => escaped.push(*byte),
            }
        }
        if escaped != name.as_os_str().as_bytes() {
            out.push(b'\\');
        }
        out.extend(sum.as_bytes());
        out.extend(b"  ");
        out.extend(escaped);
        out.push(b'\n');
    };
    for (path, file) in files {
        line(path, &file.sha256);
    }
    line(record, &hex(&Sha256::digest(bytes)));
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    #[test]
    fn names_that_would_break_a_line_are_escaped_as_sha256sum_does() {
        let file = file(1);
        let lines = sums(Path::new("/r"), b"", [(Path::new("/a\nb\\c"), &file), (Path::new("/x y"), &file)]);
        let lines = String::from_utf8(lines).unwrap();
        let lines: Vec<_> = lines.lines().collect();
        assert_eq!(lines[0], "\\00  a\\nb\\\\c");
        assert_eq!(lines[1], "00  x y");
        assert!(lines[2].ends_with("  r"));
    }
}
