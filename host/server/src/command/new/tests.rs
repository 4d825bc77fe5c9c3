use super::*;

#[test]
fn invalid_names_are_refused() {
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
fn an_existing_directory_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let args = || NewArgs::of("seats", dir.path(), None);
    new(args()).unwrap();
    let manifest = dir.path().join("seats/Cargo.toml");
    fs::write(&manifest, "mine").unwrap();
    let refused = new(args()).unwrap_err().to_string();
    assert!(refused.contains("already exists"), "{refused}");
    assert_eq!(fs::read_to_string(&manifest).unwrap(), "mine");
}

#[test]
fn every_placeholder_is_replaced() {
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
fn a_directory_that_is_not_an_sdk_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let args = NewArgs::of("seats", dir.path(), Some(dir.path()));
    assert!(new(args).is_err());
    assert!(!dir.path().join("seats").exists());
}
