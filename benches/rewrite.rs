//! How long a rewrite takes, against copying the same file and making the copy
//! durable, in one run: `cargo bench --bench rewrite`.
//!
//! `BENCH_SECRETS`, `BENCH_SIZE` and `BENCH_DIR` choose another snapshot and
//! place; `BENCH_RUNS` how often each is timed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error>;

fn setting(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

/// A run's time, and the most anonymous memory it was seen to have, in KiB.
fn timed(command: &mut Command) -> Result<(f64, u64), Failure> {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let anonymous = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = anonymous.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    };
    let seconds = begun.elapsed().as_secs_f64();
    if ended.success() { Ok((seconds, peak)) } else { Err(format!("{command:?} failed").into()) }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() -> Result<(), Failure> {
    let dir = tempfile::tempdir_in(setting("BENCH_DIR", "."))?;
    let path = |name: &str| dir.path().join(name);
    let (input, old, new, out) = (path("in.db"), path("old.yaml"), path("new.yaml"), path("out.db"));
    let make = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/make-snapshot");
    let make = |out: &Path, config: &Path, secrets: &str, seed: &str| {
        let mut command = Command::new(&make);
        command.arg(out).arg("--config-out").arg(config).args(["--secrets", secrets, "--seed", seed]);
        command.args(["--size", &setting("BENCH_SIZE", "8192")]);
        timed(&mut command)
    };
    let secrets: u64 = setting("BENCH_SECRETS", "104000").parse()?;
    make(&input, &old, &secrets.to_string(), "1")?;
    make(&path("other.db"), &new, "1", "2")?;
    let bytes = std::fs::metadata(&input)?.len();
    println!("{secrets} secrets of {} bytes, a snapshot of {bytes} bytes", setting("BENCH_SIZE", "8192"));

    let rewrite = |more: &[&str]| {
        let _ = std::fs::remove_file(&out);
        let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-rekey"));
        command.arg("reencrypt").arg(&input).arg("--encryption-config").arg(&new);
        command
            .arg("--decryption-config")
            .arg(&old)
            .arg("-o")
            .arg(&out)
            .args(["--progress", "none"])
            .args(more);
        timed(&mut command)
    };
    let copy = || {
        let _ = std::fs::remove_file(path("copy.db"));
        let script = "cp \"$0\" \"$1\" && sync \"$1\"";
        timed(Command::new("sh").args(["-c", script]).arg(&input).arg(path("copy.db")))
    };
    let (mut written, mut verified, mut copied, mut peak) = (vec![], vec![], vec![], 0);
    for _ in 0..setting("BENCH_RUNS", "5").parse::<u32>()? {
        copied.push(copy()?.0);
        let (seconds, kib) = rewrite(&["--no-verify"])?;
        written.push(seconds);
        peak = peak.max(kib);
        let (seconds, kib) = rewrite(&[])?;
        verified.push(seconds);
        peak = peak.max(kib);
    }
    let copied = median(&mut copied);
    println!("cp + sync                     {copied:6.2} s");
    for (name, times) in
        [("rewrite, durable, unverified", &mut written), ("rewrite, durable, verified", &mut verified)]
    {
        let seconds = median(times);
        println!("{name:29} {seconds:6.2} s   {:.2} of cp + sync", seconds / copied);
    }
    println!("peak anonymous memory         {:6} MiB", peak >> 10);
    Ok(())
}
