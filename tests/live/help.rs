//! The help of each command fits a screen, and its examples work.

use crate::server::Server;
use crate::support::program::{Bench, text};
use crate::support::screen::{
    examples, fits_a_screen, flags_are_documented, help, nearly_right_flags_are_suggested, shell,
};
use crate::{Release, snapshot};

const COMMANDS: [&str; 3] = ["save", "compare", "rehearse"];

#[test]
fn help_fits_a_screen_and_its_flags_are_documented_and_suggested() {
    for name in COMMANDS {
        let words = ["snapshot", name];
        fits_a_screen(&words);
        let lines = |flag| help(&["snapshot", name, flag]).lines().count();
        assert!(lines("-h") < lines("--help"));
        nearly_right_flags_are_suggested(&words);
        flags_are_documented(&words, &["flags.md", "live.md"]);
    }
    let all = help(&["snapshot", "--help"]);
    assert!(
        COMMANDS.iter().all(|name| all.contains(&format!("\n  {name} "))) && all.contains("Example"),
        "{all}"
    );
}

#[test]
fn every_example_works() {
    let bench = Bench::new();
    std::fs::copy(snapshot(), bench.path("rekeyed.db")).unwrap();
    let rotated = crate::support::folder("kube-rotated");
    std::fs::copy(rotated.join("old.yaml"), bench.path("new.yaml")).unwrap();
    // Every value is under the key that writes.
    let (from, to) = (bench.path("rekeyed.db"), bench.path("one-key.db"));
    let config = bench.path("new.yaml");
    crate::run(&["reencrypt", text(&from), "--encryption-config", text(&config), "-o", text(&to)]).expect(0);
    std::fs::rename(to, from).unwrap();
    let server = Server::restored(Release::V36, &bench.path("server"), &bench.path("rekeyed.db"));
    let programs = Release::V36.program("etcd");
    let programs = text(programs.parent().unwrap()).to_owned();
    for name in COMMANDS {
        for example in examples(&help(&["snapshot", name, "--help"])) {
            // In the place of a machine's own etcd, and of the one in PATH.
            let endpoints = format!("--endpoints {}", server.endpoint());
            let line = ["--k3s", "--kubeadm", "--endpoints http://127.0.0.1:2379"]
                .iter()
                .fold(example, |line, there| line.replace(there, &endpoints));
            let _ = std::fs::remove_file(bench.path("snapshot.db"));
            shell(&bench, &format!("PATH={programs}:$PATH; {line}"));
        }
    }
}
