//! What a run says of itself: counts of the plan, and what the second reader
//! found.

use super::error::Error;
use super::plan::Plan;
use super::report::{FileReport, PluginReport, Report, SealReport, ValuesReport};
use super::residue;
use super::rules::{Rules, State};
use super::source::{SnapshotFile, Source};
use super::tally::Count;
use super::task::Prepared;
use super::verified::Verified;
use crate::etcd::Hashes;
use crate::kube::Provider;
use std::time::Duration;

/// What a run is about to do. `output_bytes` is the length of the output.
#[must_use]
pub fn before(
    file: &SnapshotFile,
    source: &Source<'_>,
    prepared: &Prepared,
    plan: &Plan,
    output_bytes: u64,
) -> Report {
    let rules = &prepared.rules;
    let seal = |state| {
        let seal = rules.seal(state);
        SealReport { provider: seal.provider, key: seal.name }
    };
    let values = plan.values.rows().map(|(resource, (from, to), count)| ValuesReport {
        resource: resource.to_string(),
        from: seal(*from),
        to: seal(*to),
        rewritten: from != to,
        current: count.current,
        old: count.old,
    });
    let sealed = |count: &Count| count.current;
    let to_plain: u64 =
        plan.values.rows().filter(|(_, (_, to), _)| *to == State::Plain).map(|(_, _, c)| c.current).sum();
    Report {
        input: FileReport {
            file: file.path.display().to_string(),
            bytes: u64::try_from(file.map.len()).unwrap_or(u64::MAX),
            sha256: String::new(),
            revision: source.history.revision,
            status_hash: None,
            hash_kv: None,
        },
        output: None,
        values: values.collect(),
        secrets: sealed(&plan.reseal) + sealed(&plan.unchanged) - to_plain,
        only_secrets: rules.only_secrets(),
        rewritten: plan.reseal.current,
        rewritten_old: plan.reseal.old,
        unchanged: plan.unchanged.all(),
        carried_over: plan.unreadable.clone(),
        carried_over_records: prepared.unopened.clone(),
        keys: prepared.keys.clone(),
        foreign_sealed: plan.foreign_sealed,
        residue: residue::scan(&source.db, &source.survey.used),
        verified: false,
        records: 0,
        dry_run: false,
        output_bytes,
        disk: None,
        estimated_seconds: None,
        dropped: plan.dropped,
        compacted: prepared.besides.compact,
        stage: prepared.record.as_ref().map(|record| record.stage.clone()),
        config_hash: prepared.record.as_ref().map(|record| record.config_hash.clone()),
        k3s: prepared.record.clone(),
        kms: Vec::new(),
        warnings: prepared.warnings.iter().cloned().chain(warnings(rules, plan, output_bytes)).collect(),
    }
}

fn warnings(rules: &Rules, plan: &Plan, output_bytes: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    let by_gcm: u64 = plan
        .values
        .rows()
        .filter_map(|(_, (from, to), count)| match to {
            State::Key(number) if from != to => {
                let key = rules.keyring().keys().get(usize::from(*number))?;
                key.is_of(Provider::Aesgcm).then_some(count.all())
            }
            _ => None,
        })
        .sum();
    if by_gcm > 200_000 {
        warnings.push(format!(
            "{by_gcm} values were sealed with aesgcm; Kubernetes advises another key after 200000"
        ));
    }
    if plan.oversize > 0 {
        warnings.push(format!(
            "{} values are close to or above etcd's request limit of 1.5 MiB and may be refused when written again",
            plan.oversize
        ));
    }
    for (limit, name) in [(8u64 << 30, "8 GiB"), (2 << 30, "2 GiB")] {
        if output_bytes > limit / 10 * 9 {
            warnings.push(format!("the output is close to or above etcd's quota of {name}"));
            break;
        }
    }
    warnings
}

/// About how long a run takes whose reading alone took so long: it reads the
/// input again to write the output, and both to prove it. Told in whole
/// seconds, with what a disk of 200 MB/s takes to make the output durable.
#[must_use]
pub fn estimated_seconds(reading: Duration, output_bytes: u64) -> u64 {
    let disk = Duration::from_millis(output_bytes / 200_000);
    (reading * 3 + disk).as_secs().max(1)
}

/// What was asked of KMS plugins. A dry run has opened what the run will open,
/// and confirms nothing; of data keys that are not kept it has asked once, and
/// the run asks twice, to write and to prove.
#[must_use]
pub fn plugins(rules: &Rules, dry_run: bool) -> Vec<PluginReport> {
    let mut reports: Vec<PluginReport> = Vec::new();
    let mut last = None;
    for sealer in rules.keyring().plugins() {
        let remote = sealer.remote();
        let (data_keys, not_kept) = remote.met();
        let to_come = match (dry_run, sealer.writes()) {
            (false, _) => 0,
            (true, true) => sealer.calls_to_confirm(),
            (true, false) => not_kept,
        };
        match reports.last_mut() {
            // A pair is one plugin.
            Some(report) if last.is_some_and(|last| std::sync::Arc::ptr_eq(last, remote)) => {
                report.calls += to_come;
            }
            _ => reports.push(PluginReport {
                name: crate::etcd::escape(remote.plugin().name.as_bytes()),
                version: remote.plugin().version.name(),
                endpoint: crate::etcd::escape(remote.plugin().reached_at().as_bytes()),
                data_keys,
                calls: remote.calls() + to_come,
            }),
        }
        last = Some(remote);
    }
    reports.retain(|report| report.calls > 0);
    reports
}

/// Takes over what the second reader found.
///
/// # Errors
/// [`Error::Verification`] when the counts differ.
pub fn proven(report: &mut Report, found: &Verified) -> Result<(), Error> {
    let mut differences = Vec::new();
    let lost = found.under_write_key.current != report.secrets
        || found.carried_over != u64::try_from(report.carried_over.len()).unwrap_or(0);
    if lost {
        differences.push("the counts of plan and proof differ".to_owned());
    }
    if !differences.is_empty() {
        return Err(Error::Verification { differences });
    }
    let hashes = found.hashes;
    let set = |file: &mut FileReport, hashes: Option<Hashes>| {
        file.status_hash = hashes.map(|hashes| hashes.status);
        file.hash_kv = hashes.map(|hashes| hashes.kv);
    };
    set(&mut report.input, hashes.map(|(input, _)| input));
    if let Some(output) = &mut report.output {
        set(output, hashes.map(|(_, output)| output));
    }
    report.verified = true;
    report.records = found.records;
    Ok(())
}
