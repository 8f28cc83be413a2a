//! Texts of errors, as they are written down in tests/transcripts.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;

/// The variants of an enum, as its source has them.
pub fn variants(source: &str, name: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(source)).unwrap();
    let (_, body) = text.split_once(&format!("pub enum {name} {{\n")).unwrap();
    let (body, _) = body.split_once("\n}\n").unwrap();
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    names.map(|line| line.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap().to_owned()).collect()
}

/// The name of the variant a value is.
pub fn variant(error: &impl Debug) -> String {
    format!("{error:?}").split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap().to_owned()
}

/// Holds a text against its transcript, or writes that anew.
#[track_caller]
pub fn is_written_down(name: &str, told: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(name);
    if std::env::var("SNAPSHOTS").is_ok_and(|how| how == "overwrite") {
        return std::fs::write(&path, told).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    for (number, (written, told)) in (1..).zip(written.lines().zip(told.lines())) {
        assert_eq!(written, told, "line {number} of {}", path.display());
    }
    assert_eq!(written.lines().count(), told.lines().count(), "{}", path.display());
}

/// An error as it is written down: its name, what it tells, and how the
/// program ends.
pub fn told(name: &str, message: &str, remedy: &str, kind: &str, exit: u8) -> String {
    for line in [message, remedy] {
        assert!(!line.is_empty() && !line.contains('\n'), "{name}: {line}");
        assert!(!line.ends_with('.'), "{name}: {line}");
    }
    format!("{name}\nerror: {message}\n  {remedy}\nexit code {exit}, {kind}\n\n")
}
