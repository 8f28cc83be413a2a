//! Help: what stands below the flags, and how much is shown.
//!
//! Clap's long layout takes three lines a flag. Here both kinds of help are in
//! the short layout, a line a flag: `-h` leaves out what few need, `--help`
//! has every flag, and the manual pages have the whole text.

use clap::{Arg, Command};

/// Examples are run by a test, each in a directory where the files it reads are.
pub const PROGRAM: &str = "Examples:
  etcd-rekey status snapshot.db
  etcd-rekey reencrypt --help";

/// Of `reencrypt`.
pub const REENCRYPT: &str = "Example:
  etcd-rekey reencrypt snapshot.db --encryption-config enc.yaml -o rekeyed.db";

/// Of `rotate-keys`.
pub const ROTATE_KEYS: &str = "Examples:
  etcd-rekey rotate-keys on-demand-server-1 --token-file token -o rekeyed
  etcd-rekey rotate-keys snapshot.db --encryption-config enc.yaml --write-config next.yaml -o out.db";

/// Of `prepare`.
pub const PREPARE: &str = "Examples:
  etcd-rekey prepare on-demand-server-1 --token-file token -o prepared
  etcd-rekey prepare --encryption-config enc.yaml --write-config prepared.yaml";

/// Of `rotate`.
pub const ROTATE: &str = "Examples:
  etcd-rekey rotate prepared --token-file token -o rotated
  etcd-rekey rotate --encryption-config prepared.yaml --write-config next.yaml";

/// Of `enable`.
pub const ENABLE: &str = "Example:
  etcd-rekey enable on-demand-server-1 --token-file token -o sealed";

/// Of `disable`.
pub const DISABLE: &str = "Example:
  etcd-rekey disable on-demand-server-1 --token-file token -o plain";

/// Of `verify`.
pub const VERIFY: &str = "Examples:
  etcd-rekey verify rekeyed.db --against snapshot.db \\
      --encryption-config new.yaml --decryption-config old.yaml
  etcd-rekey verify rekeyed.db --against snapshot.db --report audit.json";

/// Of `check`.
pub const CHECK: &str = "Example:
  etcd-rekey check snapshot.db";

/// Of `status`.
pub const STATUS: &str = "Example:
  etcd-rekey status snapshot.db --encryption-config enc.yaml";

/// Of `list`.
pub const LIST: &str = "Example:
  etcd-rekey list snapshot.db --resource secrets --name 'default-*'";

/// Of `get`.
pub const GET: &str = "Example:
  etcd-rekey get snapshot.db team-b/size-4096 --encryption-config enc.yaml";

/// Of `snapshot`.
#[cfg(feature = "live")]
pub const SNAPSHOT: &str = "Example:
  etcd-rekey snapshot save --help";

/// Of `snapshot save`; the test has an etcd at this address.
#[cfg(feature = "live")]
pub const SAVE: &str = "Examples:
  etcd-rekey snapshot save snapshot.db --k3s
  etcd-rekey snapshot save snapshot.db --endpoints http://127.0.0.1:2379";

/// Of `snapshot compare`.
#[cfg(feature = "live")]
pub const COMPARE: &str = "Example:
  etcd-rekey snapshot compare rekeyed.db --kubeadm --cluster --encryption-config new.yaml";

/// Of `snapshot rehearse`.
#[cfg(feature = "live")]
pub const REHEARSE: &str = "Example:
  etcd-rekey snapshot rehearse rekeyed.db --encryption-config new.yaml";

/// Of `completions`.
pub const COMPLETIONS: &str = "To have them in this shell: source <(etcd-rekey completions bash)
For good, put the script where the shell looks for it:
  bash  ~/.local/share/bash-completion/completions/etcd-rekey
  zsh   _etcd-rekey in a directory of $fpath
  fish  ~/.config/fish/completions/etcd-rekey.fish

Example:
  etcd-rekey completions bash > etcd-rekey.bash";

/// Of `man`.
pub const MAN: &str = "Example:
  etcd-rekey man --dir .";

/// As clap's own, with a line less.
const TEMPLATE: &str = "{about-with-newline}{usage-heading} {usage}\n\n{all-args}{after-help}";

/// A command as its help is shown on a terminal, `brief` or with every flag.
#[must_use]
pub fn for_terminal(command: Command, brief: bool) -> Command {
    let show = move |arg: Arg| {
        let rare = arg.is_hide_short_help_set();
        let hidden = arg.is_hide_set() || (rare && brief);
        let takes_values = arg.get_action().takes_values();
        let arg = arg.hide_short_help(false).hide(hidden).long_help(None);
        if takes_values { arg.hide_possible_values(true) } else { arg }
    };
    command.help_template(TEMPLATE).mut_args(show).mut_subcommands(move |sub| for_terminal(sub, brief))
}
