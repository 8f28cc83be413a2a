//! What the commands that talk to a live etcd say to people.

use super::write_out;
use crate::live::finding::{Compared, Findings, Keys};
use crate::live::member::Member;
use crate::live::rehearse::Rehearsed;
use crate::live::save::{Planned, Saved};
use std::fmt::Write;
use std::path::Path;

/// What was looked at, what was found, and whether that is as it should be.
pub type Row = [String; 3];

fn row(what: &str, found: impl Into<String>, good: bool) -> Row {
    [what.to_owned(), found.into(), if good { "ok" } else { "NOT AS IT SHOULD BE" }.to_owned()]
}

/// Something that is told, and judged by nothing.
fn note(what: &str, found: impl Into<String>) -> Row {
    [what.to_owned(), found.into(), "noted".to_owned()]
}

/// The member a snapshot comes from, and what is wrong with it.
fn member(member: &Member, storage_version: Option<&String>) -> String {
    let role = if member.leader { ", leader" } else { "" };
    let storage = storage_version.map_or(String::new(), |version| format!(", storage version {version}"));
    let mut out = format!(
        "member {} of cluster {} at {}: etcd {}{role}{storage}\n",
        member.id, member.cluster, member.endpoint, member.version
    );
    for alarm in &member.alarms {
        let _ = writeln!(out, "warning: {alarm}");
    }
    out
}

/// What `snapshot save --dry-run` says.
pub fn planned(planned: &Planned, output: &Path) -> String {
    let Planned { disk, member: asked, .. } = planned;
    format!(
        "{}the snapshot would be about {} bytes long, at revision {} or later; {} are free in {}\n\
         would write {}\nnothing was refused, and nothing was written\n",
        member(asked, None),
        disk.needed,
        asked.revision,
        disk.free,
        disk.directory,
        output.display()
    )
}

/// What `snapshot save` says.
pub fn saved(saved: &Saved) -> String {
    let Saved { snapshot, keys, storage_version, member: asked } = saved;
    let mut out = member(asked, storage_version.as_ref());
    let _ = writeln!(
        out,
        "revision {}, {keys} keys; status hash {:x}, HashKV {}",
        snapshot.revision,
        snapshot.status_hash.unwrap_or_default(),
        snapshot.hash_kv.unwrap_or_default()
    );
    let _ = writeln!(out, "SHA-256 trailer {} verified; pages, trees and records are sound", snapshot.sha256);
    let _ = writeln!(out, "wrote {} ({} bytes, mode 0600)", snapshot.file, snapshot.bytes);
    out
}

/// The first rows of a rehearsal.
pub fn rehearsal(found: &Rehearsed) -> Vec<Row> {
    vec![
        row("restored", format!("by {}", found.restored_by), true),
        row("started", format!("etcd {} ({})", found.etcd, found.etcd_path), true),
    ]
}

/// What a comparison says.
pub fn compared(found: &Compared, before: &[Row], boxed: bool) -> String {
    let mut rows = before.to_vec();
    rows.extend(keys(found));
    rows.extend(hashes(found));
    rows.extend(values(found));
    let mut out = super::table::table(boxed, ["WHAT", "FOUND", "RESULT"], &rows);
    for (name, findings) in [
        ("missing", &found.keys.missing),
        ("extra", &found.keys.extra),
        ("differing", &found.keys.differing),
        ("gone", &found.keys.gone),
    ] {
        out += &listed(name, findings);
    }
    if let Some(values) = &found.values {
        out += &listed("under an old key", &values.old_key);
        if !values.unreadable.is_empty() {
            out += "no key given opens these:\n";
            out += &write_out::unreadable(&values.unreadable);
        }
    }
    for warning in &found.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    if found.retries > 0 {
        let _ = writeln!(out, "{} requests were made again", found.retries);
    }
    if found.equal && found.all_asked() {
        let _ = writeln!(out, "equal: the live etcd holds what {} holds", found.snapshot.file);
    }
    out
}

fn listed(name: &str, findings: &Findings) -> String {
    let mut out = String::new();
    for finding in &findings.listed {
        let _ = writeln!(out, "{name}: {}: {}", finding.key, finding.what);
    }
    let shown = u64::try_from(findings.listed.len()).unwrap_or(0);
    if findings.count > shown {
        let _ = writeln!(out, "{name}: and {} more", findings.count - shown);
    }
    out
}

fn keys(found: &Compared) -> Vec<Row> {
    let Keys { snapshot, equal, changed_since, deleted_since, unproven, new_since, .. } = &found.keys;
    let Keys { missing, extra, differing, gone, .. } = &found.keys;
    let mut rows = vec![
        row(
            "keys",
            format!(
                "{equal} of {snapshot} byte for byte, at their revisions up to {}",
                found.snapshot.revision
            ),
            found.keys.equal(),
        ),
        row("missing, extra, differing", format!("{}, {}, {}", missing.count, extra.count, differing.count), {
            missing.count + extra.count + differing.count == 0
        }),
    ];
    if changed_since + deleted_since + new_since > 0 {
        let compacted = if *unproven > 0 {
            format!("; what {unproven} of them held before is compacted")
        } else {
            "; they held before what the snapshot holds".to_owned()
        };
        let compacted = if changed_since + deleted_since > 0 { compacted } else { String::new() };
        rows.push(note(
            "written since",
            format!("{changed_since} changed, {deleted_since} deleted, {new_since} new{compacted}"),
        ));
    }
    if gone.count > 0 {
        rows.push(row(
            "gone",
            format!("{}: deleted since, or never there; the revision is compacted", gone.count),
            false,
        ));
    }
    if let Some(count) = found.live.keys_then {
        let same = u64::try_from(count).ok() == Some(*snapshot);
        rows.push(row("keys etcd counts", format!("{count} at revision {}", found.snapshot.revision), same));
    }
    rows
}

fn hashes(found: &Compared) -> Vec<Row> {
    let mut rows = Vec::new();
    for member in &found.hashes.members {
        let name = format!("HashKV of {}", member.endpoint);
        rows.push(match (member.hash, member.hash_revision, &member.error) {
            (Some(hash), Some(revision), _) => row(&name, format!("{hash} at revision {revision}"), true),
            (_, _, error) => row(&name, error.clone().unwrap_or_else(|| "none".to_owned()), false),
        });
    }
    let asked = found.hashes.members.len();
    rows.push(match found.hashes.agree {
        Some(agree) if asked > 1 => {
            row("members agree", if agree { "one HashKV" } else { "their histories differ" }, agree)
        }
        Some(_) if hash_of_all(found) => row("members agree", "one was asked", true),
        Some(_) => note("members agree", "one answered"),
        None => row("members agree", "they were never at one revision, or did not answer", false),
    });
    rows.push(match found.hashes.as_snapshot {
        Some(same) => row("HashKV of the snapshot", found.snapshot.hash_kv.to_string(), same),
        None => [
            "HashKV of the snapshot",
            "cannot be compared: the live history was compacted otherwise",
            "not shown",
        ]
        .map(str::to_owned),
    });
    rows
}

fn hash_of_all(found: &Compared) -> bool {
    found.hashes.members.iter().all(|member| member.hash.is_some())
}

fn values(found: &Compared) -> Vec<Row> {
    let Some(values) = &found.values else {
        return vec![note("values opened", "none: neither a configuration nor a token was given".to_owned())];
    };
    let mut rows: Vec<Row> = values
        .seals
        .iter()
        .filter(|seal| seal.seal.provider != "identity" || seal.resource == "secrets")
        .map(|seal| {
            let under = format!("{} {}", seal.seal.provider, seal.seal.key);
            note(&format!("{} opened", seal.resource), format!("{} under {}", seal.count, under.trim_end()))
        })
        .collect();
    rows.push(row("under an old key", values.old_key.count.to_string(), values.old_key.count == 0));
    rows.push(row("not opened", values.unreadable_count.to_string(), values.unreadable_count == 0));
    rows
}
