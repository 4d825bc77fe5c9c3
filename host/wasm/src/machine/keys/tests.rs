use super::*;

fn limits() -> MachineLimits {
    MachineLimits {
        keys: 3,
        key_bytes: 10_000,
        key_ttl_ms: 1_000,
        ..MachineLimits::default()
    }
}

fn body(text: &str) -> Sha256 {
    Sha256::of(text.as_bytes())
}

fn accepted(reply: &str) -> StoredReply {
    StoredReply::Accepted(Bytes::copy_from_slice(reply.as_bytes()))
}

fn store(table: &mut KeyTable, key: &str, reply: &str, time_ms: u64) {
    table.store(
        key.to_owned(),
        body(key),
        accepted(reply),
        time_ms,
        &limits(),
    );
}

fn is_stored(table: &KeyTable, key: &str) -> bool {
    table.look_up(key, body(key)) != KeyLookup::New
}

#[test]
fn the_same_body_gets_the_first_reply_and_another_body_does_not() {
    let mut table = KeyTable::default();
    assert_eq!(table.look_up("k", body("k")), KeyLookup::New);
    store(&mut table, "k", "reply", 0);
    assert_eq!(
        table.look_up("k", body("k")),
        KeyLookup::Same(&accepted("reply"))
    );
    assert_eq!(table.look_up("k", body("other")), KeyLookup::Other);
    assert_eq!(table.look_up("K", body("k")), KeyLookup::New);
}

#[test]
fn over_the_limit_of_keys_the_oldest_is_dropped() {
    let mut table = KeyTable::default();
    for (time_ms, key) in ["a", "b", "c", "d"].into_iter().enumerate() {
        store(&mut table, key, "", time_ms as u64);
    }
    assert_eq!(table.len(), 3);
    assert!(!is_stored(&table, "a"));
    assert!(["b", "c", "d"].iter().all(|key| is_stored(&table, key)));
}

#[test]
fn over_the_limit_of_bytes_the_oldest_keys_are_dropped() {
    let mut table = KeyTable::default();
    store(&mut table, "a", &"x".repeat(4_000), 0);
    store(&mut table, "b", &"x".repeat(4_000), 0);
    assert_eq!(table.len(), 2);
    store(&mut table, "c", &"x".repeat(8_000), 0);
    assert_eq!(table.len(), 1);
    assert!(is_stored(&table, "c"));
    // A key over the limit on its own is not stored.
    store(&mut table, "d", &"x".repeat(10_000), 0);
    assert_eq!(table, KeyTable::default());
}

#[test]
fn a_key_expires() {
    let mut table = KeyTable::default();
    store(&mut table, "a", "", 100);
    store(&mut table, "b", "", 101);
    table.drop_expired(1_100, &limits());
    assert!(is_stored(&table, "a"));
    table.drop_expired(1_101, &limits());
    assert!(!is_stored(&table, "a") && is_stored(&table, "b"));
    table.drop_expired(u64::MAX, &limits());
    assert_eq!(table, KeyTable::default());
}

#[test]
fn a_completion_replaces_the_reply_and_its_bytes_are_counted() {
    let mut table = KeyTable::default();
    let deferred = |table: &mut KeyTable, key: &str, token| {
        table.store(
            key.to_owned(),
            body(key),
            StoredReply::Deferred(token),
            0,
            &limits(),
        );
    };
    deferred(&mut table, "k", 7);
    table.complete("k", 7, accepted("late"), &limits());
    assert_eq!(
        table.look_up("k", body("k")),
        KeyLookup::Same(&accepted("late"))
    );
    let mut at_once = KeyTable::default();
    store(&mut at_once, "k", "late", 0);
    assert_eq!(table, at_once, "the bytes are counted in the same way");
    deferred(&mut table, "big", 8);
    table.complete("big", 8, accepted(&"x".repeat(10_000)), &limits());
    assert_eq!(table, KeyTable::default());
}

#[test]
fn a_completion_does_not_change_the_key_of_another_command() {
    let mut table = KeyTable::default();
    store(&mut table, "k", "reply", 0);
    table.complete("k", 7, accepted("of another command"), &limits());
    table.complete("unknown", 7, accepted(""), &limits());
    assert_eq!(
        table.look_up("k", body("k")),
        KeyLookup::Same(&accepted("reply"))
    );
    assert_eq!(table.len(), 1);
}

fn sample() -> KeyTable {
    let mut table = KeyTable::default();
    let replies = [
        accepted("yes"),
        StoredReply::Rejected(Bytes::from_static(b"no")),
        StoredReply::Deferred(7),
    ];
    for (position, reply) in replies.into_iter().enumerate() {
        let key = format!("key-{position}");
        let digest = body(&key);
        table.store(key, digest, reply, position as u64, &limits());
    }
    table
}

fn written(table: &KeyTable) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.write(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_written_table_is_read_back() {
    for table in [KeyTable::default(), sample()] {
        let bytes = written(&table);
        let read = KeyTable::read(&mut bytes.as_slice(), &limits()).unwrap();
        assert_eq!(read, table);
        assert_eq!(written(&read), bytes);
    }
}

#[test]
fn a_truncated_or_inconsistent_table_is_refused() {
    let bytes = written(&sample());
    for length in 0..bytes.len() {
        assert!(KeyTable::read(&mut &bytes[..length], &limits()).is_err());
    }
    let one = &bytes[8..8 + 8 + 5 + 32 + 8 + 1 + 8 + 3];
    let mut twice = 2_u64.to_le_bytes().to_vec();
    twice.extend_from_slice(one);
    assert!(KeyTable::read(&mut twice.as_slice(), &limits()).is_err());
    twice.extend_from_slice(one);
    let error = KeyTable::read(&mut twice.as_slice(), &limits()).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
    // The tag of the first reply.
    let mut unknown = bytes.clone();
    unknown[8 + 8 + 5 + 32 + 8] = 9;
    let error = KeyTable::read(&mut unknown.as_slice(), &limits()).unwrap_err();
    assert!(error.to_string().contains("unknown tag 9"), "{error}");
    // A false length allocates no memory.
    let mut huge = bytes;
    huge[8 + 8 + 5 + 32 + 8 + 1..][..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(KeyTable::read(&mut huge.as_slice(), &limits()).is_err());
}

#[test]
fn a_table_over_the_current_limits_keeps_the_newest_keys() {
    let bytes = written(&sample());
    let limits = MachineLimits {
        keys: 1,
        ..limits()
    };
    let read = KeyTable::read(&mut bytes.as_slice(), &limits).unwrap();
    assert_eq!(read.len(), 1);
    assert!(is_stored(&read, "key-2"));
}
