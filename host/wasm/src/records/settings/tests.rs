use super::*;

fn table() -> SettingsTable {
    SettingsTable {
        semantics: 1,
        cost_table: 2,
        release: "0.1.0".to_owned(),
        values: SettingValues::from([("events".to_owned(), 1000), ("keys".to_owned(), 5)]),
    }
}

fn change() -> SettingsChange {
    SettingsChange {
        release: "0.1.0".to_owned(),
        by: "ann".to_owned(),
        values: SettingValues::from([("keys".to_owned(), 7)]),
    }
}

/// The bytes in `host/docs/formats.md`.
#[test]
fn a_table_has_the_documented_bytes() {
    let expected = [
        &[1, 1, 0, 0, 0, 2, 0, 0, 0][..],
        &[5, 0, 0, 0, 0, 0, 0, 0],
        b"0.1.0",
        &[2, 0, 0, 0, 0, 0, 0, 0],
        &[6, 0, 0, 0, 0, 0, 0, 0],
        b"events",
        &[0xe8, 3, 0, 0, 0, 0, 0, 0],
        &[4, 0, 0, 0, 0, 0, 0, 0],
        b"keys",
        &[5, 0, 0, 0, 0, 0, 0, 0],
    ];
    assert_eq!(table().encode(), expected.concat());
}

#[test]
fn a_table_and_a_change_are_read_back() {
    assert_eq!(SettingsTable::decode(&table().encode()).unwrap(), table());
    let mut bytes = Vec::new();
    change().write(&mut bytes).unwrap();
    assert_eq!(bytes[0], CHANGE);
    assert_eq!(SettingsChange::read(&bytes[1..]).unwrap(), change());
}

#[test]
fn truncated_and_trailing_bytes_are_refused() {
    let bytes = table().encode();
    for length in 0..bytes.len() {
        SettingsTable::decode(&bytes[..length]).unwrap_err();
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    SettingsTable::decode(&longer).unwrap_err();
    let mut bytes = Vec::new();
    change().write(&mut bytes).unwrap();
    for length in 1..bytes.len() {
        SettingsChange::read(&bytes[1..length]).unwrap_err();
    }
    bytes.push(0);
    SettingsChange::read(&bytes[1..]).unwrap_err();
}

#[test]
fn a_table_of_a_later_version_is_refused_with_its_version() {
    let mut bytes = table().encode().to_vec();
    bytes[0] = 2;
    let error = SettingsTable::decode(&bytes).unwrap_err();
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[test]
fn a_false_count_allocates_nothing() {
    let mut bytes = Vec::new();
    wire::put_bytes(&mut bytes, b"0.1.0").unwrap();
    wire::put_bytes(&mut bytes, b"").unwrap();
    wire::put_u64(&mut bytes, u64::MAX).unwrap();
    SettingsChange::read(&bytes).unwrap_err();
}
