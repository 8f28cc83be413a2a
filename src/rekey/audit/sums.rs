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

/// Lines for `sha256sum -c`, to be run in the record's folder: of input,
/// output and the record itself. Files in the folder or below it are named from
/// there, so that all of it may be moved together; others by their whole path.
#[must_use]
pub fn sums(record: &Path, bytes: &[u8], files: [(&Path, &AuditedFile); 2]) -> Vec<u8> {
    let mut out = Vec::new();
    let directory = |path: &Path| absolute(path).parent().and_then(|parent| parent.canonicalize().ok());
    let here = directory(record);
    let below = |path: &Path| {
        let there = directory(path)?;
        Some(there.strip_prefix(here.as_ref()?).ok()?.join(path.file_name()?))
    };
    let mut line = |path: &Path, sum: &str| {
        let name = below(path).unwrap_or_else(|| absolute(path));
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
    fn what_lies_in_the_folder_or_below_is_named_from_there() {
        let folder = tempfile::tempdir().unwrap();
        let (here, below) = (folder.path().join("here"), folder.path().join("here/below"));
        std::fs::create_dir_all(&below).unwrap();
        std::os::unix::fs::symlink(&below, folder.path().join("link")).unwrap();
        let file = file(1);
        let names = |input: &Path, output: &Path| {
            let lines = sums(&here.join("r"), b"", [(input, &file), (output, &file)]);
            let names = String::from_utf8(lines).unwrap();
            names.lines().map(|line| line.split_once("  ").unwrap().1.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&here.join("a"), &below.join("b")), ["a", "below/b", "r"]);
        assert_eq!(names(&folder.path().join("link/a"), &here.join("below/../b")), ["below/a", "b", "r"]);
        let outside = folder.path().join("hereafter");
        assert_eq!(names(&outside, &here)[..2], [outside.display().to_string(), here.display().to_string()]);
    }

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
