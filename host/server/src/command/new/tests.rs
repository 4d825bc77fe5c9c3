use super::*;

#[test]
fn names_that_are_none_are_refused_before_anything_is_written() {
    for name in ["counter", "my-guest-2", "a"] {
        assert!(check_name(name).is_ok(), "{name}");
    }
    let long = "a".repeat(MAX_NAME_BYTES + 1);
    for name in [
        "", "Counter", "2guests", "-a", "a/b", "..", "a_b", "fn", "test", &long,
    ] {
        assert!(check_name(name).is_err(), "{name}");
    }
}

#[test]
fn a_folder_that_is_there_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let args = || NewArgs::of("seats", dir.path(), None);
    new(args()).unwrap();
    let manifest = dir.path().join("seats/Cargo.toml");
    fs::write(&manifest, "mine").unwrap();
    let refused = new(args()).unwrap_err().to_string();
    assert!(refused.contains("is there already"), "{refused}");
    assert_eq!(fs::read_to_string(&manifest).unwrap(), "mine");
}

#[test]
fn every_place_is_filled_in() {
    let dir = tempfile::tempdir().unwrap();
    new(NewArgs::of("my-seats", dir.path(), None)).unwrap();
    for (name, _) in FILES {
        let text = fs::read_to_string(dir.path().join("my-seats").join(name)).unwrap();
        assert!(!text.contains("{{"), "{name}: {text}");
    }
    let readme = fs::read_to_string(dir.path().join("my-seats/README.md")).unwrap();
    assert!(readme.contains("release/my_seats.wasm"), "{readme}");
}

#[test]
fn an_sdk_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let args = NewArgs::of("seats", dir.path(), Some(dir.path()));
    assert!(new(args).is_err());
    assert!(!dir.path().join("seats").exists());
}
