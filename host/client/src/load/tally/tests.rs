use std::time::Duration;

use super::{LoadErrorKind, LoadTally};

#[test]
fn every_status_of_the_contract_has_a_kind() {
    let kinds = [422, 500, 413, 429, 503, 504, 404].map(|status| LoadErrorKind::of(status).name());
    let names = [
        "refused",
        "failed",
        "too_large",
        "overloaded",
        "no_leader",
        "timeout",
        "other",
    ];
    assert_eq!(kinds, names);
}

#[test]
fn turns_add_up_and_the_first_error_is_kept() {
    let turn = |example: &str| {
        let mut turn = LoadTally {
            errors: [(LoadErrorKind::Refused, 2)].into(),
            example: Some(example.to_owned()),
            elapsed: Duration::from_secs(1),
            ..LoadTally::default()
        };
        turn.latencies.record(Duration::from_millis(3));
        turn
    };
    let all = LoadTally::merged(&[turn("first"), turn("second")]);
    assert_eq!((all.done(), all.failed(), all.rate()), (2, 4, 1.0));
    assert_eq!(all.example.as_deref(), Some("first"));
    assert_eq!(LoadTally::default().rate(), 0.0);
}
