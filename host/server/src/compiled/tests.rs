use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oarlock_wasm::{GuestEngine, GuestModule, MachineLimits};

use super::*;

const QUEUE: &[u8] = include_bytes!("../../../../examples-wasm/dist/queue.wasm");

fn within(data_dir: &Path) -> CompiledDir {
    CompiledDir::new(data_dir.join("compiled"))
}

fn of_bytes(data_dir: &Path, most_bytes: u64) -> CompiledDir {
    CompiledDir {
        most_bytes,
        ..within(data_dir)
    }
}

/// Sets a file's age, as if it had last been used that long ago.
fn age(dir: &CompiledDir, name: &str, seconds: u64) {
    let file = File::options().append(true).open(dir.path(name));
    let then = SystemTime::now() - Duration::from_secs(seconds);
    file.unwrap().set_modified(then).unwrap();
}

#[test]
fn what_is_written_is_read_again_and_nothing_is_made_before() {
    let data_dir = tempfile::tempdir().unwrap();
    let dir = within(data_dir.path());
    assert_eq!(dir.read("a"), None);
    assert!(!dir.dir.exists());
    dir.write("a", b"first");
    dir.write("a", b"second");
    assert_eq!(dir.read("a"), Some(b"second".to_vec()));
    assert_eq!(fs::read_dir(&dir.dir).unwrap().count(), 1);
    dir.discard("a");
    assert_eq!(dir.read("a"), None);
}

#[test]
fn the_directory_holds_no_more_than_it_may_and_what_is_used_stays() {
    let data_dir = tempfile::tempdir().unwrap();
    let dir = of_bytes(data_dir.path(), 100);
    for (name, seconds) in [("a", 40), ("b", 30), (".tmp-half-written", 20), ("c", 10)] {
        dir.write(name, &[7; 25]);
        age(&dir, name, seconds);
    }
    assert!(dir.read("a").is_some(), "used now, though it is the oldest");
    dir.write("d", &[7; 50]);
    let held = |name: &str| dir.path(name).exists();
    assert!(held("a") && held("c") && held("d"));
    assert!(!held("b") && !held(".tmp-half-written"));
    dir.write("too-large", &[7; 101]);
    assert!(!held("too-large") && held("a") && held("d"));
}

#[test]
fn files_of_others_in_the_directory_stay() {
    let data_dir = tempfile::tempdir().unwrap();
    let dir = of_bytes(data_dir.path(), 100);
    dir.write("a", &[7; 50]);
    let theirs = dir.dir.join("thesis.txt");
    fs::write(&theirs, [7; 200]).unwrap();
    fs::create_dir(dir.dir.join("photos")).unwrap();
    dir.write("b", &[7; 50]);
    assert_eq!(dir.read("b"), Some(vec![7; 50]));
    assert!(dir.read("a").is_some(), "they count for nothing either");
    assert!(theirs.exists());
}

#[cfg(unix)]
#[test]
fn a_directory_that_others_may_write_to_is_closed_before_anything_is_read() {
    use std::os::unix::fs::PermissionsExt;
    let data_dir = tempfile::tempdir().unwrap();
    let dir = within(data_dir.path());
    dir.write("a", b"code");
    fs::set_permissions(&dir.dir, fs::Permissions::from_mode(0o777)).unwrap();
    dir.read("a");
    let mode = fs::metadata(&dir.dir).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[cfg(unix)]
#[test]
fn what_only_points_to_a_directory_is_not_used() {
    let data_dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("a.code"), b"forged").unwrap();
    let dir = within(data_dir.path());
    std::os::unix::fs::symlink(elsewhere.path(), &dir.dir).unwrap();
    assert_eq!(dir.read("a"), None);
    dir.write("b", b"code");
    assert!(!elsewhere.path().join("b.code").exists());
}

#[test]
fn a_disk_that_takes_nothing_costs_no_more_than_compiling() {
    let data_dir = tempfile::tempdir().unwrap();
    fs::write(data_dir.path().join("compiled"), b"in the way").unwrap();
    let dir = within(data_dir.path());
    dir.write("a", b"code");
    assert_eq!(dir.read("a"), None);
}

#[test]
fn an_engine_finds_what_one_before_it_compiled() {
    let data_dir = tempfile::tempdir().unwrap();
    let load = || {
        let store = Arc::new(within(data_dir.path()));
        let engine = GuestEngine::new().unwrap().with_store(store);
        GuestModule::load(&engine, QUEUE, &MachineLimits::default()).unwrap()
    };
    let files = || {
        let files = fs::read_dir(data_dir.path().join("compiled")).unwrap();
        files.map(|file| file.unwrap().path()).collect::<Vec<_>>()
    };
    let first = load();
    let [image] = &files()[..] else {
        panic!("{:?}", files());
    };
    let written = fs::metadata(image).unwrap();
    assert_eq!(load().description(), first.description());
    let found = fs::metadata(image).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(written.ino(), found.ino(), "it was not written again");
    }
    assert_eq!(written.len(), found.len());
    // A bit that tips over on the disk.
    let mut bytes = fs::read(image).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(image, &bytes).unwrap();
    assert_eq!(load().description(), first.description());
    assert_ne!(fs::read(image).unwrap(), bytes, "it was compiled again");
}
