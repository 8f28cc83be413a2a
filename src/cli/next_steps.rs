//! What to do with an output: the closing lines, with this run's names in them.

use super::args::flags::Rewrite;
use crate::k3s::Verb;
use crate::rekey::Report;
use crate::rekey::outputs::beside;
use crate::rekey::report::{RecordReport, SealReport};
use std::fmt::Write;
use std::path::{Component, Path};

/// The closing lines of a run.
pub fn text(report: &Report, args: &Rewrite, verb: Verb) -> String {
    let Some(output) = &report.output else { return String::new() };
    // K3s changes its directory before it looks for the file.
    let path = shell(Path::new(&output.file));
    let run = Run { report, args, verb, output: &path };
    let mut out = run.unreadable();
    out += &match &report.k3s {
        Some(record) => run.k3s(record),
        None => run.kubernetes(),
    };
    out
}

/// A path as a shell takes it from any directory.
fn shell(path: &Path) -> String {
    let mut path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // What leads up and down again is told as it lies there.
    if path.components().any(|part| part == Component::ParentDir)
        && let (Ok(folder), Some(name)) = (beside(&path).canonicalize(), path.file_name())
    {
        path = folder.join(name);
    }
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%=".contains(c);
    if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn name(key: &SealReport) -> String {
    format!("{} {}", key.provider, key.key)
}

struct Run<'r> {
    report: &'r Report,
    args: &'r Rewrite,
    verb: Verb,
    /// Where the output lies.
    output: &'r str,
}

impl Run<'_> {
    /// Whether anything was taken away from a key that sealed it.
    fn left_a_key(&self) -> bool {
        let moved = |from: &str| from != "identity" && !from.starts_with("kms-");
        self.report.values.iter().any(|row| row.rewritten && moved(&row.from.provider))
    }

    /// Whether anything was taken away from a KMS plugin, or from its old key.
    fn left_a_plugin(&self) -> bool {
        self.report.values.iter().any(|row| row.rewritten && row.from.provider.starts_with("kms-"))
    }

    /// Whether a restored cluster needs a plugin.
    fn needs_a_plugin(&self) -> bool {
        self.report.values.iter().any(|row| row.to.provider.starts_with("kms-"))
    }

    fn sealed_plaintext(&self) -> bool {
        self.report.values.iter().any(|row| row.rewritten && row.from.provider == "identity")
    }

    fn unreadable(&self) -> String {
        let current = self.report.carried_over.iter().filter(|value| value.current).count();
        if current == 0 {
            return String::new();
        }
        format!(
            "\nNO KEY OPENS {current} CURRENT VALUES OF THE OUTPUT: restored, its kube-apiserver does not become ready, and one\n\
             such value is enough for that. Find their keys, and run it again with --decryption-config, before you restore it.\n"
        )
    }

    fn kubernetes(&self) -> String {
        let args = self.args;
        let given = args.write_config.as_ref().or(args.encryption_config.as_ref());
        let config = given.map(|path| path.display().to_string()).unwrap_or_default();
        let plugin = if self.needs_a_plugin() { ", and see that its KMS plugin runs there" } else { "" };
        let mut out = String::new();
        if args.write_config.is_some() {
            out += &format!("wrote {config} (mode 0600)");
            out += if self.report.keys.made.is_empty() {
                ": the configuration of the output, with no key but those that were given\n"
            } else {
                ": the only copy of the key that opens the output; keep it apart from the snapshot\n"
            };
        }
        let _ = write!(
            out,
            "\nNext, with every kube-apiserver stopped:\n  \
             1. on every control plane, put {config} in place as --encryption-provider-config{plugin}\n  \
             2. restore every etcd member from this one file (members restored from different files would differ):\n     \
             etcdutl snapshot restore {} --data-dir NEW_DATA_DIR --name NAME --initial-cluster … --initial-advertise-peer-urls …\n  \
             3. start etcd, then kube-apiserver\n",
            self.output
        );
        out += &self.plaintext();
        let places = "in the input, in other snapshots and in the old data directories";
        if self.sealed_plaintext() {
            let _ = writeln!(out, "The values still lie as plaintext {places}.");
        }
        if self.left_a_key() && !matches!(self.verb, Verb::Disable) {
            let _ = writeln!(out, "The old key still lies {places}.");
        }
        if self.left_a_plugin() {
            let _ = writeln!(
                out,
                "What the KMS sealed still lies {places}, and opens as long as the KMS keeps its key."
            );
        }
        out
    }

    fn k3s(&self, record: &RecordReport) -> String {
        let program = record.program;
        let data = format!("/var/lib/rancher/{program}/server");
        let mut out = self.copies();
        let config = self.configuration(record);
        let output = self.output;
        // A server without an agent has no Node, so that one Node is no proof of one server.
        let alone = record.servers.len() == 1;
        let others =
            if alone { "only where there are other servers, of which the snapshot shows none: " } else { "" };
        let _ = write!(
            out,
            "\nNext; from the snapshot on, no secrets-encrypt command on the old cluster:\n  \
             1. stop {program} on all servers and keep it from starting by itself; start no other server before the first one is verified\n  \
             2. on the first server, with its usual configuration{config} and the same token:\n     \
             {program} server --cluster-reset --cluster-reset-restore-path={output}\n     \
             and wait for \"membership has been reset\"\n  \
             3. start {program} there; see that it is ready, that secrets can be read, and that `{program} secrets-encrypt status` says\n     \
             stage {} (until the others are back it may say that a hash does not match: expected)\n  \
             4. {others}on every other server, one at a time: save what is in {data}/db/snapshots, then remove {data}/db,\n     \
             {data}/cred/encryption-config.json and {data}/cred/encryption-state.json, start {program}, wait until it is ready.\n     \
             A server started with its old database can take the restored one down: stop it, and do this step\n  \
             5. delete the Node of a server that is gone (kubectl delete node NAME): then all hashes match\n",
            record.stage
        );
        if !record.servers.is_empty() {
            let _ = writeln!(out, "Control-plane servers in the snapshot: {}", record.servers.join(", "));
        }
        out += &self.plaintext();
        out += &self.unfinished(record);
        let input = &self.report.input.file;
        let places = format!(
            "in {input}, in other snapshots, in {data}/db/etcd-old-* which the restore leaves behind,\n\
             and on the disks of the other servers"
        );
        if self.sealed_plaintext() {
            let _ = writeln!(out, "Secrets still lie as plaintext {places}: destroy them once all is well.");
        }
        out += &self.enabled(record);
        if matches!(self.verb, Verb::Disable) {
            out += "The key stays in the record, unused, for a later `enable`.\n";
        } else if self.report.keys.dropped.is_empty() {
            out += "No key was retired: the cluster still needs every key of the record.\n";
        } else if self.verb == Verb::Enable && self.report.keys.made.is_empty() {
            // The key that writes is an old one too: which are meant has to be said.
            let names: Vec<_> = self.report.keys.dropped.iter().map(name).collect();
            let _ = writeln!(
                out,
                "Keys of earlier days, which the output does without ({}), still lie {places}: destroy them once all is well.",
                names.join(", ")
            );
        } else {
            let _ = writeln!(out, "The old key still lies {places}: destroy them once all is well.");
        }
        let _ = writeln!(
            out,
            "Do not put {output} into {data}/db/snapshots under a name that begins with etcd-snapshot or on-demand: retention would delete it."
        );
        out
    }

    /// What `enable` seals with, where the record had a key already: as K3s does.
    fn enabled(&self, record: &RecordReport) -> String {
        let Some(key) = &record.first_key else { return String::new() };
        if self.verb != Verb::Enable || !self.report.keys.made.is_empty() {
            return String::new();
        }
        format!(
            "Sealed with the key that was there already, {}: `enable` made no new one. Whoever has that key opens the output;\n\
             `rotate-keys` on the output makes a new one:\n  etcd-rekey rotate-keys {} --token-file TOKEN -o OUT\n",
            name(key),
            self.output
        )
    }

    /// Where the configuration is, and whether a key in it is nowhere else.
    fn copies(&self) -> String {
        let wrote = self.args.write_config.as_ref().map(|path| path.display());
        let lies = "lies in this snapshot, sealed with the server token";
        match (wrote, self.report.keys.made.is_empty()) {
            (Some(path), false) => format!(
                "wrote {path} (mode 0600): the new encryption configuration {lies}, and in this file; there is no other copy\n"
            ),
            (Some(path), true) => {
                format!("wrote {path} (mode 0600): the encryption configuration, which also {lies}\n")
            }
            (None, false) => format!(
                "the new encryption configuration {lies}; there is no other copy (--write-config FILE leaves one, for escrow)\n"
            ),
            (None, true) => format!("the encryption configuration {lies}\n"),
        }
    }

    /// What the servers have to be configured with.
    fn configuration(&self, record: &RecordReport) -> String {
        let mut lines = Vec::new();
        if record.program == "k3s" && !matches!(self.verb, Verb::Disable) {
            lines.push("secrets-encryption: true".to_owned());
        }
        let changed = record.provider_before.is_some() && record.provider_before != record.provider;
        if let Some(provider) = record.provider.as_ref().filter(|provider| changed || *provider == "secretbox")
        {
            lines.push(format!("secrets-encryption-provider: {provider}"));
        }
        if lines.is_empty() { String::new() } else { format!(" (with {})", lines.join(", ")) }
    }

    /// What is left to do where a step is not the whole of a rotation.
    fn unfinished(&self, record: &RecordReport) -> String {
        let (program, output) = (record.program, self.output);
        let (has, next) = match self.verb {
            Verb::Prepare => ("the old key still writes, and the new one waits behind it", "rotate"),
            Verb::Rotate => ("the new key writes, and the old one still opens what it sealed", "reencrypt"),
            Verb::Reencrypt { skip: true } => {
                ("the first key seals everything, and the others stay in the record", "reencrypt")
            }
            _ => return String::new(),
        };
        let force = if self.verb == (Verb::Reencrypt { skip: true }) && record.stage != "rotate" {
            " --force"
        } else {
            ""
        };
        format!(
            "The rotation is not finished: {has}. Its next step is `{next}`:\n  \
             etcd-rekey {next}{force} {output} --token-file TOKEN -o OUT before the restore, or `{program} secrets-encrypt {next}{force}` after it\n"
        )
    }

    fn plaintext(&self) -> String {
        if !matches!(self.verb, Verb::Disable) {
            return String::new();
        }
        format!("{} holds every secret as plaintext: whoever reads it reads them.\n", self.output)
    }
}
