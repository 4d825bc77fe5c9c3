use super::*;

fn micros(count: u64) -> Duration {
    Duration::from_micros(count)
}

#[test]
fn a_freeze_is_due_after_a_multiple_of_the_last_one() {
    let mut schedule = FreezeSchedule::default();
    assert!(!schedule.is_due_after(micros(99), 0));
    assert!(
        schedule.is_due_after(micros(1), 0),
        "the minimum is reached"
    );
    schedule.frozen(Duration::from_micros(100), 0);
    assert!(!schedule.is_due_after(micros(1_599), 0));
    assert!(schedule.is_due_after(micros(1), 0));
}

#[test]
fn after_a_failure_a_freeze_is_due_earlier_for_a_while() {
    let mut schedule = FreezeSchedule::default();
    schedule.frozen(Duration::from_micros(500), 0);
    schedule.failed();
    assert!(!schedule.is_due_after(micros(99), 0));
    assert!(!schedule.is_behind());
    assert!(!schedule.is_due_after(micros(400), 0));
    assert!(schedule.is_due_after(micros(1), 0));
    assert!(schedule.is_behind());
    schedule.frozen(Duration::from_micros(500), 0);
    for _ in 0..ALERT_CALLS {
        schedule.is_due_after(micros(0), 0);
    }
    assert!(!schedule.is_due_after(micros(501), 0));
}

#[test]
fn after_a_long_freeze_the_next_one_is_due_earlier() {
    let mut schedule = FreezeSchedule::default();
    schedule.frozen(LONG, 0);
    assert!(!schedule.is_due_after(micros(100_000), 0));
    assert!(schedule.is_worth_it());
    schedule.frozen(LONG * 2, 0);
    assert!(!schedule.is_due_after(micros(49_999), 0));
    assert!(!schedule.is_worth_it());
    assert!(schedule.is_due_after(micros(1), 0));
}

#[test]
fn a_memory_that_has_grown_is_frozen_at_once() {
    let mut schedule = FreezeSchedule::default();
    schedule.frozen(Duration::from_secs(1), 5);
    assert!(!schedule.is_due_after(micros(1), GROWN_BYTES + 4));
    assert!(schedule.is_due_after(micros(1), GROWN_BYTES + 5));
}
