use super::*;

fn sample() -> Deferred {
    let mut deferred = Deferred::default();
    deferred.wait(u64::MAX, None);
    deferred.wait(0, Some("key".to_owned()));
    deferred
}

fn written(deferred: &Deferred) -> Vec<u8> {
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
fn they_are_read_as_they_were_written() {
    for deferred in [Deferred::default(), sample()] {
        let bytes = written(&deferred);
        assert_eq!(Deferred::read(&mut bytes.as_slice()).unwrap(), deferred);
    }
}

#[test]
fn what_is_cut_short_or_comes_twice_is_refused() {
    let bytes = written(&sample());
    for length in 0..bytes.len() {
        assert!(Deferred::read(&mut &bytes[..length]).is_err());
    }
    // The first token stands in place of the second, too.
    let mut twice = bytes;
    let second = twice.len() - 16;
    twice.copy_within(8..16, second);
    let error = Deferred::read(&mut twice.as_slice()).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
}
