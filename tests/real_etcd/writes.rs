//! What an API server does to an etcd, so that the tests have something to find.

use crate::key_space::{KeySpace, SECRETS};
use crate::sealing::Key;
use crate::secret::secret;
use crate::server::Server;

/// Creates, replaces and deletes secrets, and writes on condition, as an API server does.
pub fn write_as_an_api_server_does(server: &Server, live: &mut KeySpace, key: &Key) {
    let secrets = live.secrets();
    let [replaced, deleted, swapped, ..] = secrets.as_slice() else {
        panic!("a fixture has more secrets than {secrets:?}");
    };
    let created = format!("{SECRETS}default/made-after-the-restore");
    let plain = secret("default", "made-after-the-restore", "token", b"new");
    live.sealed(&created, server.put(&created, &key.seal(&plain)).revision, &plain);

    let before = server.at(replaced, live.revision_of(replaced));
    let plain = key.open(&before.value).expect("a secret of ours");
    live.sealed(replaced, server.put(replaced, &key.seal(&plain)).revision, &plain);

    server.delete(deleted);
    live.remove(deleted);

    let swap = format!("del {swapped}\nput /swapped yes");
    let revision = live.revision_of(swapped);
    let late = server.if_unchanged(swapped, revision - 1, &swap);
    assert!(!late.succeeded, "{swapped} was not written at revision {}", revision - 1);
    let done = server.if_unchanged(swapped, revision, &swap);
    assert!(done.succeeded, "{swapped} was written at revision {revision}");
    live.remove(swapped);
    live.plain("/swapped", done.revision, b"yes");
}

/// Fills a new server with secrets that have a history, and a key that is no secret.
pub fn fill(server: &Server, key: &Key) -> KeySpace {
    let mut live = KeySpace::default();
    let mut put = |number: usize, value: &[u8]| {
        let name = format!("s{number}");
        let at = format!("{SECRETS}default/{name}");
        let plain = secret("default", &name, "data", value);
        live.sealed(&at, server.put(&at, &key.seal(&plain)).revision, &plain);
    };
    for number in 0..50 {
        // From no bytes to more than a page, at and around the size of a block.
        put(number, &vec![b'v'; number * number * 3 + number % 17]);
    }
    for number in [3, 4, 4, 49] {
        put(number, b"replaced");
    }
    for number in [5, 6] {
        let gone = format!("{SECRETS}default/s{number}");
        server.delete(&gone);
        live.remove(&gone);
    }
    let value = b"no secret";
    live.plain("/elsewhere", server.put("/elsewhere", value).revision, value);
    live
}
