use std::time::Duration;

use hyper::StatusCode;

use super::{Kind, Tally};

#[test]
fn only_what_was_done_has_a_latency() {
    let mut tally = Tally::new().unwrap();
    tally.count(Kind::Done, Duration::from_millis(3));
    tally.count(Kind::Refused, Duration::from_secs(500));
    assert!(tally.latencies.max_us() < 4_000);
    assert_eq!((tally.done(), tally.failed()), (1, 1));
}

#[test]
fn every_status_of_the_contract_has_a_kind_and_errors_keep_the_first_words() {
    let statuses = [200, 422, 500, 413, 429, 503, 504, 404];
    let kinds = statuses.map(|code| Kind::of(StatusCode::from_u16(code).unwrap()).name());
    let names = [
        "done",
        "refused",
        "failed",
        "too_large",
        "overloaded",
        "no_leader",
        "timeout",
        "other",
    ];
    assert_eq!(kinds, names);
    let mut tally = Tally::new().unwrap();
    tally.example(|| "first".to_owned());
    tally.example(|| "second".to_owned());
    assert_eq!(tally.example.as_deref(), Some("first"));
}
