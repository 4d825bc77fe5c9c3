use super::*;

fn limits(fuel_per_command: u64) -> MachineLimits {
    MachineLimits {
        fuel_per_command,
        ..MachineLimits::default()
    }
}

fn encoded(limits: &MachineLimits) -> Vec<u8> {
    ReplicatedSettings::proposed(limits).encode().to_vec()
}

#[test]
fn at_level_0_the_flags_apply() {
    let dir = tempfile::tempdir().expect("a directory");
    let own = encoded(&limits(1));
    store(&dir.path().join(FILE), &Content { own, cluster: None }).unwrap();
    let start = StartLimits::read(dir.path(), &limits(3), false).unwrap();
    assert_eq!((start.machine, start.load), (limits(3), limits(3)));
}

#[test]
fn from_level_1_on_entries_before_the_raise_keep_the_limits_that_they_had() {
    let dir = tempfile::tempdir().expect("a directory");
    let content = Content {
        own: encoded(&limits(1)),
        cluster: Some(encoded(&limits(2))),
    };
    store(&dir.path().join(FILE), &content).unwrap();
    let start = StartLimits::read(dir.path(), &limits(3), false).unwrap();
    assert_eq!(start.machine, limits(1));
    assert_eq!(start.load.fuel_per_command, 2);
    assert_eq!(start.load.semantics, GuestSemantics::LATEST);
}

#[test]
fn a_new_node_loads_its_module_for_the_latest_level() {
    let dir = tempfile::tempdir().expect("a directory");
    let start = StartLimits::read(dir.path(), &limits(3), true).unwrap();
    assert_eq!(start.machine, limits(3));
    assert_eq!(start.load.semantics, GuestSemantics::LATEST);
}

#[test]
fn a_corrupt_file_is_ignored_and_settings_of_a_later_release_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join(FILE);
    fs::write(&file, b"{").unwrap();
    let start = StartLimits::read(dir.path(), &limits(3), false).unwrap();
    assert_eq!(start.machine, limits(3));
    let mut later = encoded(&limits(2));
    // The version of the semantics follows that of the format.
    later[1] = 200;
    let own = encoded(&limits(1));
    let cluster = Some(later);
    store(&file, &Content { own, cluster }).unwrap();
    let refused = StartLimits::read(dir.path(), &limits(3), false).unwrap_err();
    assert!(refused.to_string().contains("run release"), "{refused}");
}

#[test]
fn each_flag_that_differs_is_a_warning_that_names_it() {
    let cluster = ReplicatedSettings::proposed(&MachineLimits::default());
    let flags = MachineLimits {
        keys: 7,
        ..limits(3)
    };
    let given = GivenLimits::from([
        ("fuel-per-command", "--fuel-per-command".to_owned()),
        ("max-command-bytes", "--max-command-bytes".to_owned()),
    ]);
    let warnings = warnings(&cluster.differences(&flags), &given);
    // Other limits have their defaults, which no one has set.
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let expected =
        "--fuel-per-command is 3, but the cluster's setting `fuel_per_command` is 1000000000";
    assert!(warnings[0].starts_with(expected), "{warnings:?}");
}
