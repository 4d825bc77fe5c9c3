use std::time::Duration;

use hyper::StatusCode;

use super::{Kind, MAX_LATENCY_US, Tally};

#[test]
fn percentiles_are_those_of_what_was_done() {
    let mut tally = Tally::new().unwrap();
    for milliseconds in 1..=100 {
        tally.count(Kind::Done, Duration::from_millis(milliseconds));
    }
    tally.count(Kind::Refused, Duration::from_secs(500));
    let near = |quantile, expected: u64| {
        let found = tally.latencies.value_at_quantile(quantile);
        assert!(
            found.abs_diff(expected) <= expected / 500,
            "{quantile}: {found}"
        );
    };
    near(0.5, 50_000);
    near(0.99, 99_000);
    assert_eq!((tally.done(), tally.failed()), (100, 1));
}

#[test]
fn no_latency_is_too_short_or_too_long_to_count() {
    let mut tally = Tally::new().unwrap();
    tally.count(Kind::Done, Duration::ZERO);
    tally.count(Kind::Done, Duration::MAX);
    assert_eq!(tally.done(), 2);
    assert!(tally.latencies.max() >= MAX_LATENCY_US);
}

#[test]
fn every_status_of_the_contract_has_a_kind_and_errors_keep_the_first_words() {
    let kinds = [200, 422, 500, 413, 429, 503, 504, 404]
        .map(|code| Kind::of(StatusCode::from_u16(code).unwrap()).name());
    assert_eq!(
        kinds,
        [
            "done",
            "refused",
            "failed",
            "too_large",
            "overloaded",
            "no_leader",
            "timeout",
            "other"
        ]
    );
    let mut tally = Tally::new().unwrap();
    tally.example(|| "first".to_owned());
    tally.example(|| "second".to_owned());
    assert_eq!(tally.example.as_deref(), Some("first"));
}
