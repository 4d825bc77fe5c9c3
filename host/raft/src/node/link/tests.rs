use super::*;

const MIN: Duration = Duration::from_millis(50);
const MAX: Duration = Duration::from_secs(1);

#[test]
fn pauses_double_up_to_the_limit_and_reset() {
    let mut backoff = Backoff::new(MIN, MAX);
    for full_ms in [50, 100, 200, 400, 800, 1000, 1000] {
        let full = Duration::from_millis(full_ms);
        let pause = backoff.next();
        assert!(
            full / 2 <= pause && pause <= full,
            "{pause:?} is not within {full:?} and its half"
        );
    }
    backoff.reset();
    assert!(backoff.next() <= MIN);
}

#[test]
fn pauses_are_random() {
    let pauses: std::collections::BTreeSet<_> = (0..32).map(|_| jittered(MAX)).collect();
    assert!(pauses.len() > 16, "{pauses:?}");
}
