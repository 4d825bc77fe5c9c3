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

fn limited_to(data_dir: &Path, max_bytes: u64) -> CompiledDir {
    CompiledDir {
        max_bytes,
        ..within(data_dir)
    }
}

/// Sets the time since the last use of a file.
fn age(dir: &CompiledDir, name: &str, seconds: u64) {
    let file = File::options().append(true).open(dir.path(name));
    let then = SystemTime::now() - Duration::from_secs(seconds);
    file.unwrap().set_modified(then).unwrap();
}

#[test]
fn written_code_is_read_back_and_the_directory_is_created_by_the_first_write() {
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
fn the_least_recently_used_files_are_removed_at_the_limit() {
    let data_dir = tempfile::tempdir().unwrap();
    let dir = limited_to(data_dir.path(), 100);
    for (name, seconds) in [("a", 40), ("b", 30), (".tmp-incomplete", 20), ("c", 10)] {
        dir.write(name, &[7; 25]);
        age(&dir, name, seconds);
    }
    assert!(dir.read("a").is_some(), "written first, and used now");
    dir.write("d", &[7; 50]);
    let held = |name: &str| dir.path(name).exists();
    assert!(held("a") && held("c") && held("d"));
    assert!(!held("b") && !held(".tmp-incomplete"));
    dir.write("too-large", &[7; 101]);
    assert!(!held("too-large") && held("a") && held("d"));
}

#[test]
fn files_that_are_not_of_the_cache_stay() {
    let data_dir = tempfile::tempdir().unwrap();
    let dir = limited_to(data_dir.path(), 100);
    dir.write("a", &[7; 50]);
    let other = dir.dir.join("thesis.txt");
    fs::write(&other, [7; 200]).unwrap();
    fs::create_dir(dir.dir.join("photos")).unwrap();
    dir.write("b", &[7; 50]);
    assert_eq!(dir.read("b"), Some(vec![7; 50]));
    assert!(
        dir.read("a").is_some(),
        "other files don't count towards the limit"
    );
    assert!(other.exists());
}

#[cfg(unix)]
#[test]
fn a_read_first_removes_the_access_of_other_users() {
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
fn a_symbolic_link_to_a_directory_is_not_used() {
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
fn a_cache_that_can_not_be_written_is_ignored() {
    let data_dir = tempfile::tempdir().unwrap();
    fs::write(
        data_dir.path().join("compiled"),
        b"a file instead of a directory",
    )
    .unwrap();
    let dir = within(data_dir.path());
    dir.write("a", b"code");
    assert_eq!(dir.read("a"), None);
}

#[test]
fn an_engine_uses_the_code_that_an_earlier_engine_compiled() {
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
        assert_eq!(written.ino(), found.ino(), "the file was not written again");
    }
    assert_eq!(written.len(), found.len());
    // One corrupt bit on disk.
    let mut bytes = fs::read(image).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(image, &bytes).unwrap();
    assert_eq!(load().description(), first.description());
    assert_ne!(
        fs::read(image).unwrap(),
        bytes,
        "the module was compiled again"
    );
}
