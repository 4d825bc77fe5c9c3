use super::*;

#[test]
fn the_defaults_are_valid() {
    assert_eq!(MachineLimits::default().validate(), Ok(()));
}

#[test]
fn a_limit_of_0_or_over_its_maximum_is_refused_by_name() {
    type Set = fn(&mut MachineLimits, u64);
    let fields: [(&str, Set); 14] = [
        ("fuel_per_command", |l, to| l.fuel_per_command = to),
        ("fuel_per_query", |l, to| l.fuel_per_query = to),
        ("fuel_per_snapshot", |l, to| l.fuel_per_snapshot = to),
        ("memory_bytes", |l, to| l.memory_bytes = to),
        ("stack_bytes", |l, to| l.stack_bytes = to),
        ("table_elements", |l, to| l.table_elements = to),
        ("command_bytes", |l, to| l.command_bytes = to),
        ("reply_bytes", |l, to| l.reply_bytes = to),
        ("snapshot_bytes", |l, to| l.snapshot_bytes = to),
        ("module_bytes", |l, to| l.module_bytes = to),
        ("batch_bytes", |l, to| l.batch_bytes = to),
        ("batch_share", |l, to| l.batch_share = to),
        ("entry_bytes", |l, to| l.entry_bytes = to),
        ("transfer_bytes", |l, to| l.transfer_bytes = to),
    ];
    for (name, set) in fields {
        let mut limits = MachineLimits::default();
        set(&mut limits, 0);
        assert_eq!(limits.validate(), Err(LimitsError::Zero { name }));
        set(&mut limits, u64::MAX);
        match limits.validate() {
            Ok(()) => assert!(name.starts_with("fuel") || name == "snapshot_bytes"),
            Err(LimitsError::TooLarge {
                name: found, max, ..
            }) => {
                assert_eq!(found, name);
                set(&mut limits, max);
                assert_eq!(limits.validate(), Ok(()));
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn keys_deferred_commands_and_events_may_be_switched_off() {
    let limits = MachineLimits {
        keys: 0,
        key_bytes: 0,
        key_ttl_ms: 0,
        deferred: 0,
        events: 0,
        event_bytes: 0,
        ..MachineLimits::default()
    };
    assert_eq!(limits.validate(), Ok(()));
}
