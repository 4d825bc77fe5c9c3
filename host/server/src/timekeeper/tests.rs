//! The time of the next wake-up. The tests of `http` wake a guest on a real node.

use super::*;

#[test]
fn without_a_request_there_is_no_wake_up() {
    assert_eq!(due_in(0, 1_000), None);
}

#[test]
fn a_past_time_is_due_at_once_and_a_future_time_later() {
    assert_eq!(due_in(1_000, 1_000), Some(Duration::ZERO));
    assert_eq!(due_in(1_000, 5_000), Some(Duration::ZERO));
    assert_eq!(due_in(1_500, 1_000), Some(Duration::from_millis(500)));
}
