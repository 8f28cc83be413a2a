pub mod bolt;
pub mod etcd;

#[cfg(test)]
mod fixture_hashes {
    use crate::{bolt, etcd};
    #[test]
    fn fixtures() {
        for dir in std::fs::read_dir("fixtures").unwrap() {
            let p = dir.unwrap().path();
            let Ok(bytes) = std::fs::read(p.join("snapshot.db")) else { continue };
            let s = etcd::Snapshot::open(&bytes, false).unwrap();
            s.verify_trailer(|| true).unwrap();
            let db = s.database().unwrap();
            let survey = bolt::survey(&db, bolt::check::Thoroughness::FULL).sound().unwrap();
            let b = etcd::history::key_bucket(&survey).unwrap();
            let h = etcd::History::read(&survey, b).unwrap();
            let mut all = etcd::Checksum::default();
            let mut cov = etcd::Checksum::default();
            for (n, e) in b.entries().enumerate() {
                let e = e.unwrap();
                all.entry(&e);
                let k = etcd::RevisionKey::parse(e.key).unwrap();
                if etcd::hash::hash_kv_covers(&h, n as u64, k) { cov.entry(&e); }
            }
            println!("{p:?} free {} dirty {} hash {} hashkv {} rev {} c {}  st {:?}", survey.free_pages, survey.dirty, etcd::status_hash(&survey, &all).unwrap(), etcd::hash::hash_kv(&cov), h.revision, h.compact_revision, std::fs::read_to_string(p.join("status-3.6.json")).ok());
        }
    }
}
