use super::{MemorySnapshots, MemoryStore};
use crate::storage::conformance::{check_log_store, check_snapshot_store};

#[test]
fn the_log_in_memory_conforms() {
    let store = MemoryStore::new();
    check_log_store(&mut || Box::new(store.clone()));
}

#[test]
fn the_snapshots_in_memory_conform() {
    let store = MemorySnapshots::new();
    check_snapshot_store(&mut || Box::new(store.clone()));
}
