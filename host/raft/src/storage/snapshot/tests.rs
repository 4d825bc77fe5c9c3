use tempfile::TempDir;

use super::SnapshotFiles;
use crate::storage::conformance::check_snapshot_store;

#[test]
fn the_snapshots_on_disk_conform() {
    let dir = TempDir::new().unwrap();
    check_snapshot_store(&mut || Box::new(SnapshotFiles::open(dir.path()).unwrap()));
}
