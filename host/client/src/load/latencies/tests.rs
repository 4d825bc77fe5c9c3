use std::time::Duration;

use super::{Latencies, MAX_US};

#[test]
fn each_time_keeps_three_digits_from_a_microsecond_to_minutes() {
    for us in [1, 999, 2_048, 4_003, 250_000, 59_000_000, 599_000_000] {
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_micros(us));
        for found in [latencies.quantile_us(0.5), latencies.max_us()] {
            assert!(found.abs_diff(us) <= us / 1000, "{us}: {found}");
        }
    }
}

#[test]
fn no_time_is_too_short_or_too_long_to_count() {
    let mut latencies = Latencies::default();
    latencies.record(Duration::ZERO);
    latencies.record(Duration::MAX);
    assert_eq!((latencies.count(), latencies.quantile_us(0.1)), (2, 1));
    assert!(latencies.max_us() >= MAX_US);
}

#[test]
fn percentiles_are_those_of_what_was_recorded() {
    let mut latencies = Latencies::default();
    for milliseconds in 1..=100 {
        latencies.record(Duration::from_millis(milliseconds));
    }
    for (quantile, expected) in [
        (0.5, 50_000),
        (0.95, 95_000),
        (0.99, 99_000),
        (1.0, 100_000),
    ] {
        let found = latencies.quantile_us(quantile);
        assert!(
            found.abs_diff(expected) <= expected / 1000,
            "{quantile}: {found}"
        );
    }
    assert!(
        (latencies.mean_us() - 50_500.0).abs() < 100.0,
        "{}",
        latencies.mean_us()
    );
}

#[test]
fn merged_times_have_the_percentiles_of_all() {
    let mut all = Latencies::default();
    for milliseconds in [[5, 1, 3], [2, 4, 6]] {
        let mut turn = Latencies::default();
        for time in milliseconds {
            turn.record(Duration::from_millis(time));
        }
        all.merge(&turn);
    }
    assert_eq!(all.count(), 6);
    assert!(
        all.quantile_us(0.5).abs_diff(3_000) <= 3,
        "{}",
        all.quantile_us(0.5)
    );
}
