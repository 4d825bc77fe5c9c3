use super::*;

fn new<'n>(name: &'n str, language: Language, parent: &'n Path) -> NewProject<'n> {
    NewProject {
        name,
        language,
        kind: ProjectKind::StateMachine,
        parent,
        sdk: None,
    }
}

#[test]
fn invalid_names_are_refused() {
    let long = "a".repeat(MAX_NAME_BYTES + 1);
    for language in Language::ALL {
        for name in ["counter", "my-guest-2", "a"] {
            assert!(check_name(name, language).is_ok(), "{name}");
        }
        for name in ["", "Counter", "2guests", "-a", "a/b", "..", "a_b", &long] {
            assert!(check_name(name, language).is_err(), "{name}");
        }
    }
    for name in ["fn", "test"] {
        assert!(check_name(name, Language::Rust).is_err(), "{name}");
        assert!(check_name(name, Language::Python).is_ok(), "{name}");
    }
}

#[test]
fn an_existing_directory_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    create(new("seats", Language::Rust, dir.path())).unwrap();
    let manifest = dir.path().join("seats/Cargo.toml");
    fs::write(&manifest, "mine").unwrap();
    let refused = create(new("seats", Language::C, dir.path())).unwrap_err();
    assert!(refused.to_string().contains("already exists"), "{refused}");
    assert_eq!(fs::read_to_string(&manifest).unwrap(), "mine");
    assert!(!dir.path().join("seats/wit").exists());
}

#[test]
fn every_placeholder_is_replaced() {
    for language in Language::ALL {
        let dir = tempfile::tempdir().unwrap();
        let created = create(new("my-seats", language, dir.path())).unwrap();
        for name in created.files {
            let text = fs::read_to_string(dir.path().join("my-seats").join(name)).unwrap();
            assert!(!text.contains("{{"), "{name}: {text}");
        }
        let readme = fs::read_to_string(dir.path().join("my-seats/README.md")).unwrap();
        assert!(readme.contains("build/my-seats.wasm"), "{readme}");
        let found = crate::Project::find(&dir.path().join("my-seats")).unwrap();
        assert_eq!(
            (found.name.as_str(), found.language),
            ("my-seats", language)
        );
    }
}

#[test]
fn a_queue_with_rules_is_a_project_in_rust() {
    let dir = tempfile::tempdir().unwrap();
    let queue = |language| NewProject {
        kind: ProjectKind::Queue,
        ..new("my-queue", language, dir.path())
    };
    let refused = create(queue(Language::C)).unwrap_err();
    assert!(refused.is_usage(), "{refused}");
    let created = create(queue(Language::Rust)).unwrap();
    for name in created.files {
        let text = fs::read_to_string(created.folder.join(name)).unwrap();
        for placeholder in ["{{name}}", "{{sdk}}", "{{queue}}"] {
            assert!(!text.contains(placeholder), "{name}: {text}");
        }
    }
    let manifest = fs::read_to_string(created.folder.join("Cargo.toml")).unwrap();
    assert!(
        manifest.contains("examples-wasm/queue\", default-features = false"),
        "{manifest}"
    );
}

#[test]
fn a_project_has_the_wit_of_this_repository() {
    let dir = tempfile::tempdir().unwrap();
    create(new("seats", Language::C, dir.path())).unwrap();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let copy = dir.path().join("seats/wit");
    assert_eq!(names(&wit), names(&copy));
    for name in names(&wit) {
        let read = |folder: &Path| fs::read_to_string(folder.join(&name)).unwrap();
        assert_eq!(read(&wit), read(&copy));
    }
}

#[test]
fn a_directory_that_is_not_an_sdk_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let with_sdk = |language| NewProject {
        sdk: Some(dir.path()),
        ..new("seats", language, dir.path())
    };
    for language in [Language::Rust, Language::Python] {
        let refused = create(with_sdk(language)).unwrap_err();
        assert!(refused.is_usage(), "{refused}");
    }
    assert!(!dir.path().join("seats").exists());
}

#[test]
fn a_queue_needs_a_complete_source_tree() {
    let dir = tempfile::tempdir().unwrap();
    let sdk = dir.path().join("guest-sdk");
    fs::create_dir(&sdk).unwrap();
    fs::write(sdk.join("Cargo.toml"), "").unwrap();
    let refused = create(NewProject {
        kind: ProjectKind::Queue,
        sdk: Some(&sdk),
        ..new("seats", Language::Rust, dir.path())
    })
    .unwrap_err();
    assert!(refused.is_usage(), "{refused}");
    assert!(
        refused.to_string().contains("`guest-sdk` of a complete"),
        "{refused}"
    );
}

/// The copy builds only if it has each file that the SDK's manifests and sources name; `long_new` builds one.
#[test]
fn the_copy_of_the_sdk_is_a_workspace_with_what_its_packages_use() {
    let files = sdk::sources(ProjectKind::Queue);
    let copy = Sdk::Copied(sdk::workspace(&files), files);
    assert!(copy.dependency(None).contains("vendor/oarlock/guest-sdk"));
    assert!(
        copy.queue_dependency()
            .contains("vendor/oarlock/examples-wasm/queue")
    );
    let files = copy.files();
    for path in [
        "guest-sdk/src/lib.rs",
        "guest-sdk/macros/Cargo.toml",
        "examples-wasm/queue/src/schema.json",
        "wit/world.wit",
        "Cargo.toml",
    ] {
        let path = format!("vendor/oarlock/{path}");
        assert!(files.iter().any(|(name, _)| *name == path), "{path}");
    }
    let plain = sdk::sources(ProjectKind::StateMachine);
    let manifest: toml::Table = sdk::workspace(&plain).parse().unwrap();
    let dependencies = manifest["workspace"]["dependencies"].as_table().unwrap();
    assert!(dependencies.contains_key("postcard") && !dependencies.contains_key("wasmtime"));
    assert_eq!(
        manifest["workspace"]["members"].as_array().unwrap().len(),
        2
    );
}
