use super::*;

fn values<const N: usize>(values: [(&str, u64); N]) -> SettingValues {
    values
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn proposed() -> ReplicatedSettings {
    ReplicatedSettings::proposed(&MachineLimits::default())
}

#[test]
fn the_table_is_in_the_order_of_names_and_sets_what_it_gets() {
    assert!(SETTINGS.is_sorted_by(|one, next| one.name < next.name));
    for setting in &SETTINGS {
        let mut limits = MachineLimits::default();
        (setting.set)(&mut limits, 123_456);
        assert_eq!((setting.get)(&limits), 123_456, "{}", setting.name);
        let changed = ReplicatedSettings::proposed(&limits).differences(&MachineLimits::default());
        let names: Vec<_> = changed.iter().map(|changed| changed.name).collect();
        let expected = (!setting.is_derived()).then_some(setting.name);
        assert_eq!(names, expected.as_slice());
    }
}

#[test]
fn every_limit_that_decides_an_outcome_is_a_setting() {
    let all = MachineLimits {
        fuel_per_command: 1,
        fuel_per_query: 2,
        memory_per_query: 3,
        queries_waiting: 4,
        fuel_per_snapshot: 5,
        memory_bytes: 6 << 16,
        restore_memory_bytes: 7 << 16,
        semantics: GuestSemantics::LATEST,
        stack_bytes: 8 << 16,
        table_elements: 9,
        command_bytes: 10,
        reply_bytes: 11,
        event_bytes: 12,
        events: 13,
        snapshot_bytes: 14,
        module_bytes: 15,
        keys: 16,
        key_bytes: 17,
        key_ttl_ms: 18,
        deferred: 19,
        batch_bytes: 20 << 20,
        batch_share: 21,
        entry_bytes: 22 << 20,
        transfer_bytes: 23 << 20,
    };
    let settings = ReplicatedSettings::decode(&ReplicatedSettings::proposed(&all).encode());
    let other_node = MachineLimits::default();
    assert_eq!(
        settings.unwrap().limits_on(&other_node),
        MachineLimits {
            fuel_per_query: other_node.fuel_per_query,
            memory_per_query: other_node.memory_per_query,
            queries_waiting: other_node.queries_waiting,
            ..all
        }
    );
}

#[test]
fn a_change_applies_wholly_or_not_at_all() {
    let mut settings = proposed();
    settings
        .change(&values([("keys", 5), ("events", 6)]))
        .unwrap();
    let limits = settings.limits_on(&MachineLimits::default());
    assert_eq!((limits.keys, limits.events), (5, 6));
    let before = settings.clone();
    for (wrong, text) in [
        (("no_such", 1), "no_such"),
        (("command_bytes", 0), "command_bytes"),
        (("command_bytes", u64::MAX), "command_bytes"),
        (("restore_memory_bytes", 1), "follows"),
        (("snapshot_bytes", 1), "raised"),
        (("table_elements", 1), "raised"),
        (("module_bytes", 1), "raised"),
        (("fuel_per_snapshot", 1), "raised"),
    ] {
        let refusal = settings.change(&values([("keys", 9), wrong])).unwrap_err();
        assert!(refusal.to_string().contains(text), "{refusal}");
        assert_eq!(settings, before);
    }
}

#[test]
fn a_state_that_was_reached_under_more_memory_can_still_be_restored() {
    let mut settings = proposed();
    let highest = MachineLimits::default().memory_bytes;
    settings
        .change(&values([("memory_bytes", 1 << 20)]))
        .unwrap();
    let limits = settings.limits_on(&MachineLimits::default());
    assert_eq!(limits.memory_bytes, 1 << 20);
    assert_eq!(limits.restore_memory_bytes, highest);
    settings
        .change(&values([("memory_bytes", 2 << 20)]))
        .unwrap();
    settings
        .change(&values([("memory_bytes", 1 << 20)]))
        .unwrap();
    let limits = settings.limits_on(&MachineLimits::default());
    assert_eq!(limits.restore_memory_bytes, highest);
}

#[test]
fn settings_of_a_later_release_are_refused_and_the_release_is_named() {
    let table = |change: fn(&mut SettingsTable)| {
        let mut table = SettingsTable::decode(&proposed().encode()).unwrap();
        table.release = "7.8.9".to_owned();
        change(&mut table);
        ReplicatedSettings::decode(&table.encode())
    };
    table(|_| ()).unwrap();
    let refused = [
        table(|table| table.semantics = GuestSemantics::LATEST.version() + 1),
        table(|table| table.cost_table = COST_TABLE + 1),
        table(|table| {
            table.values.insert("new_in_7".to_owned(), 1);
        }),
    ];
    for refused in refused {
        let error = refused.unwrap_err();
        assert!(
            error.to_string().contains("release 7.8.9 or a later one"),
            "{error}"
        );
    }
    let invalid = table(|table| {
        table.values.insert("command_bytes".to_owned(), 0);
    });
    assert!(matches!(invalid, Err(SettingsFault::Limits(_))));
}

#[test]
fn a_setting_that_an_earlier_release_did_not_write_has_its_default() {
    let mut table = SettingsTable::decode(&proposed().encode()).unwrap();
    table.values.remove("stack_bytes").unwrap();
    assert_eq!(ReplicatedSettings::decode(&table.encode()), Ok(proposed()));
}

#[test]
fn a_raise_adopts_rules_and_keeps_limits() {
    let mut settings = proposed().with_semantics(GuestSemantics::Native);
    settings.change(&values([("keys", 5)])).unwrap();
    let raised = ReplicatedSettings::proposed(&MachineLimits {
        keys: 9,
        ..MachineLimits::default()
    });
    let settings = settings.with_rules_of(&raised);
    assert_eq!(settings.values()["keys"], 5);
    assert_eq!(settings.semantics(), GuestSemantics::LATEST);
}
