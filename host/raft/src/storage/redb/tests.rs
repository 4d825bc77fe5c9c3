use tempfile::TempDir;

use super::{Identity, RedbStore};
use crate::storage::conformance::check_log_store;

fn identity() -> Identity {
    Identity {
        node_id: "node-1".into(),
        cluster_id: "test".to_owned(),
    }
}

#[test]
fn the_log_on_disk_conforms() {
    let dir = TempDir::new().unwrap();
    check_log_store(&mut || Box::new(RedbStore::open(dir.path(), &identity()).unwrap()));
}
