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

fn spend(table: &mut KeyTable, key: &str, reply: &str, time_ms: u64) {
    table.spend(
        key.to_owned(),
        body(key),
        accepted(reply),
        time_ms,
        &limits(),
    );
}

fn is_known(table: &KeyTable, key: &str) -> bool {
    table.look_up(key, body(key)) != KeyLookup::New
}

#[test]
fn the_same_body_gets_the_first_answer_and_another_one_does_not() {
    let mut table = KeyTable::default();
    assert_eq!(table.look_up("k", body("k")), KeyLookup::New);
    spend(&mut table, "k", "reply", 0);
    assert_eq!(
        table.look_up("k", body("k")),
        KeyLookup::Same(&accepted("reply"))
    );
    assert_eq!(table.look_up("k", body("other")), KeyLookup::Other);
    assert_eq!(table.look_up("K", body("k")), KeyLookup::New);
}

#[test]
fn the_oldest_key_goes_when_there_are_too_many() {
    let mut table = KeyTable::default();
    for (time_ms, key) in ["a", "b", "c", "d"].into_iter().enumerate() {
        spend(&mut table, key, "", time_ms as u64);
    }
    assert_eq!(table.len(), 3);
    assert!(!is_known(&table, "a"));
    assert!(["b", "c", "d"].iter().all(|key| is_known(&table, key)));
}

#[test]
fn the_oldest_keys_go_when_they_take_too_many_bytes() {
    let mut table = KeyTable::default();
    spend(&mut table, "a", &"x".repeat(4_000), 0);
    spend(&mut table, "b", &"x".repeat(4_000), 0);
    assert_eq!(table.len(), 2);
    spend(&mut table, "c", &"x".repeat(8_000), 0);
    assert_eq!(table.len(), 1);
    assert!(is_known(&table, "c"));
    // One that is too large alone is not kept, and leaves nothing behind.
    spend(&mut table, "d", &"x".repeat(10_000), 0);
    assert_eq!(table, KeyTable::default());
}

#[test]
fn a_key_is_forgotten_after_its_time() {
    let mut table = KeyTable::default();
    spend(&mut table, "a", "", 100);
    spend(&mut table, "b", "", 101);
    table.forget_old(1_100, &limits());
    assert!(is_known(&table, "a"));
    table.forget_old(1_101, &limits());
    assert!(!is_known(&table, "a") && is_known(&table, "b"));
    table.forget_old(u64::MAX, &limits());
    assert_eq!(table, KeyTable::default());
}

#[test]
fn a_completion_replaces_the_answer_and_is_counted() {
    let mut table = KeyTable::default();
    let deferred = |table: &mut KeyTable, key: &str, token| {
        table.spend(
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
    spend(&mut at_once, "k", "late", 0);
    assert_eq!(table, at_once, "bytes are counted alike");
    deferred(&mut table, "big", 8);
    table.complete("big", 8, accepted(&"x".repeat(10_000)), &limits());
    assert_eq!(table, KeyTable::default());
}

#[test]
fn a_completion_of_an_earlier_command_does_not_touch_the_key_of_a_later_one() {
    let mut table = KeyTable::default();
    spend(&mut table, "k", "reply", 0);
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
    let answers = [
        accepted("yes"),
        StoredReply::Rejected(Bytes::from_static(b"no")),
        StoredReply::Deferred(7),
    ];
    for (position, answer) in answers.into_iter().enumerate() {
        let key = format!("key-{position}");
        let digest = body(&key);
        table.spend(key, digest, answer, position as u64, &limits());
    }
    table
}

fn written(table: &KeyTable) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.write(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_table_is_read_as_it_was_written() {
    for table in [KeyTable::default(), sample()] {
        let bytes = written(&table);
        let read = KeyTable::read(&mut bytes.as_slice(), &limits()).unwrap();
        assert_eq!(read, table);
        assert_eq!(written(&read), bytes);
    }
}

#[test]
fn a_table_that_is_cut_short_or_contradicts_itself_is_refused() {
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
    // The tag of the first answer.
    let mut unknown = bytes.clone();
    unknown[8 + 8 + 5 + 32 + 8] = 9;
    let error = KeyTable::read(&mut unknown.as_slice(), &limits()).unwrap_err();
    assert!(error.to_string().contains("unknown tag 9"), "{error}");
    // A length that lies takes no memory.
    let mut huge = bytes;
    huge[8 + 8 + 5 + 32 + 8 + 1..][..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(KeyTable::read(&mut huge.as_slice(), &limits()).is_err());
}

#[test]
fn a_table_over_todays_limits_keeps_the_newest() {
    let bytes = written(&sample());
    let limits = MachineLimits {
        keys: 1,
        ..limits()
    };
    let read = KeyTable::read(&mut bytes.as_slice(), &limits).unwrap();
    assert_eq!(read.len(), 1);
    assert!(is_known(&read, "key-2"));
}
