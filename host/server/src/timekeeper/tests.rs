//! When the guest is to be woken. That it is, the tests of `http` show on a real node.

use super::*;

#[test]
fn a_guest_that_did_not_ask_is_not_woken() {
    assert_eq!(due_in(0, 1_000), None);
}

#[test]
fn a_time_that_has_come_is_due_at_once_and_another_later() {
    assert_eq!(due_in(1_000, 1_000), Some(Duration::ZERO));
    assert_eq!(due_in(1_000, 5_000), Some(Duration::ZERO));
    assert_eq!(due_in(1_500, 1_000), Some(Duration::from_millis(500)));
}
