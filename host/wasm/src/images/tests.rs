use super::*;

fn micros(count: u64) -> Duration {
    Duration::from_micros(count)
}

#[test]
fn a_freeze_is_due_once_the_work_since_the_last_one_is_worth_it() {
    let mut pace = FreezeSchedule::default();
    assert!(!pace.is_due_after(micros(99), 0));
    assert!(pace.is_due_after(micros(1), 0), "there is a least of work");
    pace.frozen(Duration::from_micros(100), 0);
    assert!(!pace.is_due_after(micros(1_599), 0));
    assert!(pace.is_due_after(micros(1), 0));
}

#[test]
fn after_a_failure_it_is_due_earlier_for_a_while() {
    let mut pace = FreezeSchedule::default();
    pace.frozen(Duration::from_micros(500), 0);
    pace.failed();
    assert!(!pace.is_due_after(micros(99), 0));
    assert!(!pace.is_behind());
    assert!(!pace.is_due_after(micros(400), 0));
    assert!(pace.is_due_after(micros(1), 0));
    assert!(pace.is_behind());
    pace.frozen(Duration::from_micros(500), 0);
    for _ in 0..ALERT_CALLS {
        pace.is_due_after(micros(0), 0);
    }
    assert!(!pace.is_due_after(micros(501), 0));
}

#[test]
fn after_a_long_freeze_the_next_one_is_due_earlier() {
    let mut pace = FreezeSchedule::default();
    pace.frozen(LONG, 0);
    assert!(!pace.is_due_after(micros(100_000), 0));
    assert!(pace.is_worth_it());
    pace.frozen(LONG * 2, 0);
    assert!(!pace.is_due_after(micros(49_999), 0));
    assert!(!pace.is_worth_it());
    assert!(pace.is_due_after(micros(1), 0));
}

#[test]
fn a_memory_that_has_grown_is_frozen_whatever_the_work_was() {
    let mut pace = FreezeSchedule::default();
    pace.frozen(Duration::from_secs(1), 5);
    assert!(!pace.is_due_after(micros(1), GROWN_BYTES + 4));
    assert!(pace.is_due_after(micros(1), GROWN_BYTES + 5));
}

#[test]
fn it_says_which_way_a_guest_takes() {
    assert_eq!(RollbackMethod::Images.to_string(), "memory images");
    let because = "it has 2 memories".to_owned();
    let replay = RollbackMethod::Replay { because };
    assert_eq!(replay.to_string(), "replay (it has 2 memories)");
}
