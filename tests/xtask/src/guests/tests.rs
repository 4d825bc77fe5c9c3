use super::*;

#[test]
fn every_kept_guest_is_built_from_the_sources_as_they_stand() {
    let stale = stale(&crate::root()).unwrap();
    assert!(
        stale.is_empty(),
        "{stale:?}; run `cargo xtask guests` and commit what it writes"
    );
}

#[test]
fn no_kept_guest_holds_a_path_of_the_machine_that_built_it() {
    for guest in &GUESTS {
        let module = fs::read(crate::root().join(guest.module)).unwrap();
        for path in [
            "/root/",
            "/home/",
            "/Users/",
            "/tmp/",
            crate::root().to_str().unwrap(),
            ".cargo",
            "registry/src",
            // Of a registry. The standard library has a file `slice/index.rs`.
            "src/index.",
        ] {
            let found = module
                .windows(path.len())
                .any(|bytes| bytes == path.as_bytes());
            assert!(!found, "{} holds {path:?}", guest.module);
        }
    }
}

#[test]
fn every_kept_guest_names_the_contract_that_it_was_built_for() {
    for guest in &GUESTS {
        let module = fs::read(crate::root().join(guest.module)).unwrap();
        assert_eq!(
            &module[..8],
            b"\0asm\x01\0\0\0",
            "{} is a core module",
            guest.module
        );
        for export in ["machine", "queries", "timers", "about", "layout"] {
            let name = format!("oarlock:state-machine/{export}@0.1.0#");
            assert!(
                module
                    .windows(name.len())
                    .any(|bytes| bytes == name.as_bytes()),
                "{}: {name}",
                guest.module
            );
        }
    }
}

/// A repository in small: enough for the hashes, nothing to compile.
fn small() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut lock = "version = 4\n".to_owned();
    for guest in &GUESTS {
        write(
            &root.join(guest.folder).join("src/lib.rs"),
            guest.name.as_bytes(),
        )
        .unwrap();
        write(&root.join(guest.module), b"module").unwrap();
        let package = format!(
            "[[package]]\nname = \"{}\"\nversion = \"0.1.0\"\n",
            guest.package
        );
        // Some packages contain several guests.
        if !lock.contains(&package) {
            lock += &package;
        }
    }
    write(&root.join("Cargo.lock"), lock.as_bytes()).unwrap();
    write(
        &root.join("Cargo.toml"),
        b"[workspace.package]\nedition = \"2024\"\n",
    )
    .unwrap();
    write(
        &root.join("rust-toolchain.toml"),
        b"[toolchain]\nchannel = \"1.0.0\"\n",
    )
    .unwrap();
    write(&root.join("wit/world.wit"), b"world").unwrap();
    write(&root.join("guest-sdk/src/lib.rs"), b"sdk").unwrap();
    let sources = Sources::read(root).unwrap();
    let entry = |guest: &Guest| Entry {
        name: guest.name.to_owned(),
        module: sha256(b"module"),
        sources: sources.hash(guest).unwrap(),
    };
    let entries: Vec<Entry> = GUESTS.iter().map(entry).collect();
    write(&root.join(RECORD), record::write(&entries).as_bytes()).unwrap();
    folder
}

#[track_caller]
fn assert_stale(folder: &tempfile::TempDir, names: &[&str], why: &str) {
    let stale = stale(folder.path()).unwrap();
    assert_eq!(
        stale.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        names
    );
    assert!(
        stale.iter().all(|(_, reason)| reason.contains(why)),
        "{stale:?} does not name {why:?}"
    );
}

#[test]
fn nothing_is_stale_after_a_build() {
    assert_stale(&small(), &[], "");
}

#[test]
fn a_changed_source_makes_its_guest_stale() {
    let folder = small();
    write(
        &folder.path().join("examples-wasm/kv/src/lib.rs"),
        b"changed",
    )
    .unwrap();
    assert_stale(&folder, &["kv"], "sources have changed");
}

#[test]
fn a_changed_sdk_or_contract_makes_every_guest_stale() {
    for shared in [
        "guest-sdk/src/lib.rs",
        "wit/world.wit",
        "wit/new.wit",
        "rust-toolchain.toml",
    ] {
        let folder = small();
        write(
            &folder.path().join(shared),
            b"[toolchain]\nchannel = \"2.0.0\"\n",
        )
        .unwrap();
        assert_stale(
            &folder,
            &GUESTS.map(|guest| guest.name),
            "sources have changed",
        );
    }
}

#[test]
fn a_changed_test_makes_no_guest_stale() {
    let folder = small();
    for path in [
        "examples-wasm/kv/src/tests.rs",
        "examples-wasm/kv/tests/all.rs",
        "guest-sdk/README.md",
    ] {
        write(&folder.path().join(path), b"new").unwrap();
    }
    assert_stale(&folder, &[], "");
}

#[test]
fn a_module_that_was_replaced_or_removed_is_stale() {
    let folder = small();
    write(&folder.path().join("tests/guests/faulty.wasm"), b"other").unwrap();
    assert_stale(&folder, &["faulty"], "is not the module that");
    fs::remove_file(folder.path().join("tests/guests/faulty.wasm")).unwrap();
    assert_stale(&folder, &["faulty"], "is not there");
}

#[test]
fn a_guest_that_the_record_does_not_name_is_stale() {
    let folder = small();
    let path = folder.path().join(RECORD);
    let text = fs::read_to_string(&path).unwrap();
    let without: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("queue "))
        .collect();
    write(&path, without.join("\n").as_bytes()).unwrap();
    assert_stale(&folder, &["queue"], "does not name it");
}
