//! An etcd that knows users.

use crate::RELEASES;
use crate::server::Server;
use crate::support::program::{Bench, Ran, command, text};

/// A server with one key and the user root, whose password is `secret`.
fn locked(bench: &Bench, release: crate::Release) -> Server {
    let server = Server::fresh(release, &bench.path("server"));
    server.put("/key", b"value");
    for words in [
        &["user", "add", "root:secret"][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "reader"],
    ] {
        // Of the role some releases have made one themselves.
        drop(server.etcdctl(words, b""));
    }
    for words in [
        &["user", "add", "reader:secret"][..],
        &["user", "grant-role", "reader", "reader"],
        &["auth", "enable"],
    ] {
        let done = server.etcdctl(words, b"");
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    server
}

fn save(bench: &Bench, server: &Server, flags: &[&str], variables: &[(&str, &str)]) -> Ran {
    let (out, endpoint) = (bench.path("out.db"), server.endpoint());
    let args = [
        "snapshot",
        "save",
        text(&out),
        "--endpoints",
        &endpoint,
        "-w",
        "json",
        "--overwrite",
        "--progress",
        "none",
    ];
    let mut command = command(&[&args, flags].concat());
    command.envs(variables.iter().copied());
    Ran::from(command.output().unwrap())
}

#[test]
fn users_are_asked_for_and_passwords_never_taken_from_the_command_line() {
    for release in RELEASES {
        let bench = Bench::new();
        let server = locked(&bench, release);
        let password = ("ETCDCTL_PASSWORD", "secret");
        save(&bench, &server, &["--user", "root"], &[password]).expect(0);
        save(&bench, &server, &[], &[("ETCDCTL_USER", "root:secret")]).expect(0);
        let file = bench.file("password", "secret\n");
        save(&bench, &server, &["--user", "root", "--password-file", text(&file)], &[]).expect(0);
        std::fs::remove_file(bench.path("out.db")).unwrap();
        let denied = |ran: Ran| {
            let told = ran.expect(8).json();
            assert_eq!(told["error"]["kind"], "denied", "{told}");
        };
        denied(save(&bench, &server, &[], &[]));
        denied(save(&bench, &server, &["--user", "root"], &[("ETCDCTL_PASSWORD", "wrong")]));
        // One who may not read everything.
        denied(save(&bench, &server, &["--user", "reader"], &[password]));
        assert!(!bench.path("out.db").exists());
        let refused = save(&bench, &server, &["--user", "root:secret"], &[]).expect(2);
        assert!(!refused.out.contains("secret"), "{}", refused.out);
        save(&bench, &server, &["--user", "root"], &[]).expect(2);
    }
}

#[test]
fn an_etcd_with_users_is_compared_and_rehearsed() {
    for release in RELEASES {
        let bench = Bench::new();
        let server = locked(&bench, release);
        let password = [("ETCDCTL_PASSWORD", "secret")];
        save(&bench, &server, &["--user", "root"], &password).expect(0);
        let (out, endpoint) = (bench.path("out.db"), server.endpoint());
        let bin = release.program("etcd");
        let bin = text(bin.parent().unwrap()).to_owned();
        for words in [
            &["compare", text(&out), "--endpoints", &endpoint][..],
            &["rehearse", text(&out), "--etcd-bin-dir", &bin],
        ] {
            let run = |user: &[&str]| {
                let words = [&["snapshot"], words, &["-w", "json", "--progress", "none"], user].concat();
                Ran::from(command(&words).envs(password).output().unwrap())
            };
            let found = run(&["--user", "root"]).expect(0).json();
            assert_eq!((&found["equal"], &found["keys"]["equal"]), (&true.into(), &1.into()), "{release:?}");
            assert_eq!(run(&[]).expect(8).json()["error"]["kind"], "denied");
        }
    }
}

#[test]
fn a_user_of_an_etcd_without_users_is_nobody() {
    let bench = Bench::new();
    let server = Server::fresh(crate::Release::V36, &bench.path("server"));
    server.put("/key", b"value");
    save(&bench, &server, &["--user", "root"], &[("ETCDCTL_PASSWORD", "secret")]).expect(0);
}
