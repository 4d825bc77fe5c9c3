use super::*;

#[test]
fn a_kept_module_is_read_back_and_replaced() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(read(dir.path()).unwrap().is_none());
    for bytes in [&b"one"[..], b"two", b"two"] {
        keep(dir.path(), bytes).unwrap();
        let (_, found) = read(dir.path()).unwrap().expect("it was kept");
        assert_eq!(found, bytes);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_corrupt_file_is_ignored() {
    let dir = tempfile::tempdir().expect("a directory");
    keep(dir.path(), b"one").unwrap();
    let (path, _) = read(dir.path()).unwrap().expect("it was kept");
    fs::write(path, b"onE").unwrap();
    assert!(read(dir.path()).unwrap().is_none());
}

#[test]
fn every_task_queue_of_a_release_is_found_by_its_digest() {
    assert!(built_in::find(built_in::digest()).is_some());
    assert!(built_in::find(Sha256([7; 32])).is_none());
}
