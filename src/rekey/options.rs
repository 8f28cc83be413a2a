//! What a run was asked to do.

use std::path::PathBuf;

/// What a run was asked to do, besides its rules.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The output.
    pub output: PathBuf,
    /// Replace an output that is there.
    pub force: bool,
    /// Take a file without a trailer.
    pub skip_hash_check: bool,
    /// Let sealed values become plaintext.
    pub allow_plaintext: bool,
    /// Carry over what no key opens.
    pub keep_unreadable: bool,
    /// Plan only.
    pub dry_run: bool,
    /// Do not prove the output.
    pub no_verify: bool,
    /// Leave out superseded revisions and deleted keys.
    pub compact: bool,
    /// Where to leave the configuration the output needs.
    pub write_config: Option<PathBuf>,
    /// Where to leave an audit record; the sums of the files go beside it.
    pub report: Option<PathBuf>,
    /// Files, besides the input, that must not be written over.
    pub sources: Vec<PathBuf>,
    /// Threads of the pool; 0 for one a core.
    pub threads: usize,
}
