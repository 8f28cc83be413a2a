//! TLS: who is trusted, and who is not.

use crate::certificates::Authority;
use crate::server::{Server, Tls};
use crate::support::program::{Bench, Ran, command, run, text};
use crate::{RELEASES, Release, restored, save_from, snapshot};
use std::path::Path;

fn served(bench: &Bench, release: Release, tls: &Tls) -> Server {
    Server::restored_by_tls(release, &bench.path(&format!("server-{release:?}")), &snapshot(), tls)
}

fn flags(tls: &Tls, cacert: &Path) -> Vec<String> {
    let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
    vec![flag("cacert", cacert), flag("cert", &tls.client_cert), flag("key", &tls.client_key)]
}

fn save(bench: &Bench, endpoint: &str, flags: &[String]) -> Ran {
    let mut all: Vec<&str> = flags.iter().map(String::as_str).collect();
    all.extend(["-w", "json", "--overwrite"]);
    save_from(bench, endpoint, &all)
}

/// Expects that there is no TLS, and that the reason is told.
#[track_caller]
fn no_tls(ran: Ran, why: &str) {
    let told = ran.expect(8).json();
    assert_eq!(told["error"]["kind"], "tls", "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains(why), "{told}");
}

#[test]
fn servers_with_client_certificates_are_saved_and_compared() {
    for release in RELEASES {
        let bench = Bench::new();
        let authority = Authority::new(&bench.path("tls"), "authority");
        let tls = authority.tls(&["127.0.0.1", "localhost"], 2999);
        let server = served(&bench, release, &tls);
        let by_flags = save(&bench, &server.endpoint(), &flags(&tls, &tls.cacert)).expect(0).json();
        assert_eq!(by_flags["snapshot"]["hashKV"], server.hash_kv(server.revision()));
        // etcdctl's variables, and an endpoint without a scheme: certificates mean TLS.
        let out = bench.path("out.db");
        let by_variables = command(&["snapshot", "save", text(&out), "--overwrite"])
            .env("ETCDCTL_ENDPOINTS", server.endpoint().replace("https://", ""))
            .env("ETCDCTL_CACERT", &tls.cacert)
            .env("ETCDCTL_CERT", &tls.client_cert)
            .env("ETCDCTL_KEY", &tls.client_key)
            .output();
        Ran::from(by_variables.unwrap()).expect(0);
        let flags = flags(&tls, &tls.cacert);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let equal = crate::compare_with(&out, &server.endpoint(), &flags).expect(0).json();
        assert_eq!(equal["equal"], true);
    }
}

#[test]
fn certificates_of_known_clusters_are_found() {
    let bench = Bench::new();
    let authority = Authority::new(&bench.path("tls"), "authority");
    let tls = authority.tls(&["127.0.0.1"], 2999);
    let server = served(&bench, Release::V36, &tls);
    for (flag, ca, cert) in [
        ("--k3s", "server/tls/etcd/server-ca.crt", "server/tls/etcd/client"),
        ("--rke2", "server/tls/etcd/server-ca.crt", "server/tls/etcd/server-client"),
        ("--kubeadm", "etcd/ca.crt", "apiserver-etcd-client"),
    ] {
        let dir = bench.path(flag);
        let put = |from: &Path, name: String| {
            std::fs::create_dir_all(dir.join(&name).parent().unwrap()).unwrap();
            std::fs::copy(from, dir.join(name)).unwrap();
        };
        put(&tls.cacert, ca.to_owned());
        put(&tls.client_cert, format!("{cert}.crt"));
        put(&tls.client_key, format!("{cert}.key"));
        save(&bench, &server.endpoint(), &[format!("{flag}={}", text(&dir))]).expect(0);
        let lost = save(&bench, &server.endpoint(), &[format!("{flag}={}", text(&bench.path("none")))]);
        assert_eq!(lost.expect(2).json()["error"]["kind"], "certificate");
    }
}

#[test]
fn who_is_not_trusted_is_refused() {
    let bench = Bench::new();
    let authority = Authority::new(&bench.path("tls"), "authority");
    let tls = authority.tls(&["127.0.0.1"], 2999);
    let server = served(&bench, Release::V35New, &tls);
    let endpoint = server.endpoint();
    let other = Authority::new(&bench.path("other"), "other");
    no_tls(save(&bench, &endpoint, &flags(&tls, &other.cert)), "UnknownIssuer");
    // The system's own authorities do not know it either.
    no_tls(save(&bench, &endpoint, &flags(&tls, &other.cert)[1..]), "UnknownIssuer");
    // A name that is not in the certificate.
    let by_name = endpoint.replace("127.0.0.1", "localhost");
    no_tls(save(&bench, &by_name, &flags(&tls, &tls.cacert)), "not valid for name");
    // Nobody, and one whom the server does not know.
    save(&bench, &endpoint, &flags(&tls, &tls.cacert)[..1]).expect(8);
    let stranger = other.tls(&["127.0.0.1"], 2999);
    save(&bench, &endpoint, &flags(&stranger, &tls.cacert)).expect(8);
    assert!(!bench.path("out.db").exists());
    // Whoever asks for it trusts everybody; the client is still asked for its certificate.
    let mut skip = flags(&tls, &other.cert);
    skip.push("--insecure-skip-tls-verify".to_owned());
    save(&bench, &endpoint, &skip).expect(0);
}

#[test]
fn a_certificate_whose_time_is_over_is_refused() {
    let bench = Bench::new();
    let authority = Authority::new(&bench.path("tls"), "authority");
    let good = authority.tls(&["127.0.0.1"], 2999);
    let mut server = served(&bench, Release::V36, &good);
    server.stop();
    // The same server, and its certificate is that of long ago.
    authority.tls(&["127.0.0.1"], 2021);
    let mut child = server.start_unseen();
    let told = loop {
        let told = save(&bench, &server.endpoint(), &flags(&good, &good.cacert)).expect(8).json();
        if told["error"]["kind"] == "tls" {
            break told;
        }
        assert!(child.try_wait().unwrap().is_none(), "etcd ended: {told}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(told["error"]["message"].as_str().unwrap().contains("expired"), "{told}");
}

#[test]
fn a_port_that_speaks_otherwise_is_told() {
    let bench = Bench::new();
    let plain = restored(&bench, Release::V36, &snapshot());
    let authority = Authority::new(&bench.path("tls"), "authority");
    let tls = authority.tls(&["127.0.0.1"], 2999);
    let by_tls = plain.endpoint().replace("http://", "https://");
    save(&bench, &by_tls, &flags(&tls, &tls.cacert)).expect(8);
    let secure = Server::restored_by_tls(Release::V36, &bench.path("secure"), &snapshot(), &tls);
    let in_the_clear = secure.endpoint().replace("https://", "http://");
    save(&bench, &in_the_clear, &["--stall-timeout=2s".to_owned()]).expect(8);
    // Certificates that http would not use are a mistake.
    assert_eq!(
        save(&bench, &in_the_clear, &flags(&tls, &tls.cacert)).expect(2).json()["error"]["kind"],
        "usage"
    );
    let half = save(&bench, &secure.endpoint(), &flags(&tls, &tls.cacert)[..2]).expect(2).json();
    assert!(half["error"]["message"].as_str().unwrap().contains("key"), "{half}");
    run(&["snapshot", "save", "x", "--k3s", "--cacert", "y"]).expect(2);
}
