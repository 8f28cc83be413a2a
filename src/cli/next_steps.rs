//! What to do with an output: the closing lines, with this run's names in them.

use super::args::Rewrite;
use crate::k3s::Verb;
use crate::rekey::Report;
use crate::rekey::task::RecordReport;
use std::fmt::Write;

/// The closing lines of a run.
pub fn text(report: &Report, args: &Rewrite, verb: Verb) -> String {
    match &report.k3s {
        Some(record) => k3s(report, record, args, verb),
        None => kubernetes(report, args, verb),
    }
}

fn kubernetes(report: &Report, args: &Rewrite, verb: Verb) -> String {
    let Some(output) = &report.output else { return String::new() };
    let output = &output.file;
    let changed = args.write_config.as_ref();
    let config = changed.or(args.encryption_config.as_ref()).map(|path| path.display().to_string());
    let config = config.unwrap_or_default();
    let mut out = String::new();
    if let (Some(_), false) = (changed, matches!(verb, Verb::Disable)) {
        let _ = writeln!(
            out,
            "wrote {config} (mode 0600): the only copy of the key that opens the output; keep it apart from the snapshot"
        );
    }
    let _ = write!(
        out,
        "\nNext, with every kube-apiserver stopped:\n  \
         1. on every control plane, put {config} in place as --encryption-provider-config\n  \
         2. restore every etcd member from this one file (members restored from different files would differ):\n     \
         etcdutl snapshot restore {output} --data-dir NEW_DATA_DIR --name NAME --initial-cluster … --initial-advertise-peer-urls …\n  \
         3. start etcd, then kube-apiserver\n\
         The old key still lies in the input, in other snapshots and in the old data directories.\n"
    );
    out
}

fn k3s(report: &Report, record: &RecordReport, args: &Rewrite, verb: Verb) -> String {
    let Some(output) = &report.output else { return String::new() };
    let (output, input, program) = (&output.file, &report.input.file, record.program);
    let data = format!("/var/lib/rancher/{program}/server");
    let mut out = String::new();
    let copies = "the new encryption configuration lies in this snapshot, sealed with the server token";
    match &args.write_config {
        Some(path) => {
            let _ = writeln!(
                out,
                "wrote {} (mode 0600): {copies}, and in this file; there is no other copy",
                path.display()
            );
        }
        None => {
            let _ =
                writeln!(out, "{copies}; there is no other copy (--write-config FILE leaves one, for escrow)");
        }
    }
    let mut config = String::new();
    if program == "k3s" && !matches!(verb, Verb::Disable) {
        config += "secrets-encryption: true";
        if record.provider.as_deref() == Some("secretbox") {
            config += ", secrets-encryption-provider: secretbox";
        }
    } else if record.provider.as_deref() == Some("secretbox") {
        config += "secrets-encryption-provider: secretbox";
    }
    let config = if config.is_empty() { String::new() } else { format!(" (with {config})") };
    let others = "every other server";
    let _ = write!(
        out,
        "\nNext; from the snapshot on, no secrets-encrypt command on the old cluster:\n  \
         1. stop {program} on all servers and keep it from starting by itself; start no other server before the first one is verified\n  \
         2. on the first server, with its usual configuration{config} and the same token:\n     \
         {program} server --cluster-reset --cluster-reset-restore-path={output}\n     \
         and wait for \"membership has been reset\"\n  \
         3. start {program} there; see that it is ready, that secrets can be read, and that `{program} secrets-encrypt status` says\n     \
         stage {} (until the others are back it may say that a hash does not match: expected)\n  \
         4. on {others}, one at a time: save what is in {data}/db/snapshots, then remove {data}/db,\n     \
         {data}/cred/encryption-config.json and {data}/cred/encryption-state.json, start {program}, wait until it is ready.\n     \
         A server started with its old database can take the restored one down: stop it, and do this step\n  \
         5. delete the Node of a server that is gone (kubectl delete node NAME): then all hashes match\n",
        record.stage
    );
    if !record.servers.is_empty() {
        let _ = writeln!(out, "Control-plane servers in the snapshot: {}", record.servers.join(", "));
    }
    let _ = write!(
        out,
        "The old key still lies in {input}, in other snapshots, in {data}/db/etcd-old-* which the restore leaves behind,\n\
         and on the disks of the other servers: destroy them once all is well.\n\
         Do not put {output} into {data}/db/snapshots under a name that begins with etcd-snapshot or on-demand: retention would delete it.\n"
    );
    out
}
