use super::*;

fn sample() -> DeferredCommands {
    let mut deferred = DeferredCommands::default();
    deferred.wait(u64::MAX, None);
    deferred.wait(0, Some("key".to_owned()));
    deferred
}

fn written(deferred: &DeferredCommands) -> Vec<u8> {
    let mut bytes = Vec::new();
    deferred.write(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_token_waits_until_it_is_completed() {
    let mut deferred = sample();
    assert!(deferred.contains(0) && !deferred.contains(1));
    assert_eq!(deferred.complete(0), Some(Some("key".to_owned())));
    assert_eq!(deferred.complete(0), None);
    assert_eq!(deferred.complete(u64::MAX), Some(None));
    assert_eq!(deferred.len(), 0);
}

#[test]
fn a_written_table_is_read_back() {
    for deferred in [DeferredCommands::default(), sample()] {
        let bytes = written(&deferred);
        assert_eq!(
            DeferredCommands::read(&mut bytes.as_slice()).unwrap(),
            deferred
        );
    }
}

#[test]
fn a_truncated_table_or_a_duplicate_token_is_refused() {
    let bytes = written(&sample());
    for length in 0..bytes.len() {
        assert!(DeferredCommands::read(&mut &bytes[..length]).is_err());
    }
    // Replace the second token by the first one.
    let mut twice = bytes;
    let second = twice.len() - 16;
    twice.copy_within(8..16, second);
    let error = DeferredCommands::read(&mut twice.as_slice()).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
}
