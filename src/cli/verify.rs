//! `verify`.

use super::args::{Verify, WriteOut};
use super::progress::Shown;
use super::{Exit, inputs, write_out};
use crate::rekey::Error;
use crate::rekey::proof::{self, Given};
use crate::rekey::verify::{Allowed, Verified, verify};
use serde_json::json;

/// Runs the command.
pub fn run(args: &Verify) -> Exit {
    let how = args.common.write_out;
    let found = match prove(args) {
        Ok(found) => found,
        Err(error) => return write_out::error(&error, how),
    };
    if how == WriteOut::Json {
        let written = write_out::json(&json!({
            "verified": found.proven(),
            "records": found.records,
            "values": found.values,
            "carriedOver": found.carried_over,
            "differences": found.differences,
        }));
        return if found.proven() { written } else { Exit::Verification };
    }
    if !found.proven() {
        return write_out::error(&Error::Verification { differences: found.differences }, how);
    }
    let mut text = format!(
        "verified: {} records are equal, {} values opened with the keys that write now\n",
        found.records, found.values
    );
    if found.carried_over > 0 {
        text += &format!("{} values open with no key and are the same in both\n", found.carried_over);
    }
    if let Some((_, output)) = found.hashes {
        text += &format!("status hash {:x}, HashKV {}\n", output.status, output.kv);
    }
    write_out::text(&text)
}

fn prove(args: &Verify) -> Result<Verified, Error> {
    let output = inputs::snapshot(&args.snapshot, false)?;
    let input = inputs::snapshot(&args.against, args.common.skip_hash_check)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.running.threads)
        .build()
        .map_err(|e| Error::Threads(e.to_string()))?;
    let progress = Shown::new(&args.running, "values");
    let source = inputs::explained(&input, input.read(false))?;
    let written = inputs::explained(&output, output.read(true))?;
    let read = inputs::configs(&args.keys.decryption_config)?;
    let config = args.encryption_config.as_ref();
    let config = config.map(|path| Ok::<_, Error>((path.clone(), inputs::config(path)?)));
    let given = Given {
        config: config.transpose()?,
        read,
        tokens: inputs::tokens(&args.keys.token_file)?.tokens,
        etcd_prefix: args.keys.etcd_prefix.clone(),
        compacted: args.compact,
    };
    let (rules, proof) = proof::of((&input, &source), (&output, &written), given)?;
    let allowed = Allowed {
        unreadable: args.keep_unreadable,
        plaintext: args.allow_plaintext,
        compacted: args.compact,
        record: proof.as_ref(),
    };
    let found = pool.install(|| verify((&input, &source), (&output, &written), &rules, allowed, &progress));
    input.unchanged()?;
    output.unchanged()?;
    found
}
