use std::time::Duration;

use super::{LONGEST_WAIT, Replay, Rounds, node_timeout, random_bits, share};

#[test]
fn every_endpoint_is_tried_once_before_the_first_pause() {
    let mut rounds = Rounds::new(1, 3);
    assert_eq!(rounds.position(), 1);
    assert_eq!(rounds.advance(7), Duration::ZERO);
    assert_eq!(rounds.position(), 2);
    assert_eq!(rounds.advance(7), Duration::ZERO);
    assert_eq!(rounds.position(), 0);
    assert!(!rounds.all_were_tried());
    assert!(rounds.advance(7) > Duration::ZERO);
    assert!(rounds.all_were_tried());
    assert_eq!(rounds.position(), 1);
}

#[test]
fn pauses_grow_up_to_their_limit_with_any_jitter() {
    for jitter in [0, 1, u64::MAX / 2, u64::MAX] {
        let mut rounds = Rounds::new(0, 1);
        let waits: Vec<_> = (0..1000).map(|_| rounds.advance(jitter)).collect();
        assert!(
            waits
                .iter()
                .all(|wait| *wait <= LONGEST_WAIT && *wait >= Duration::from_millis(10))
        );
        assert!(waits[999] >= LONGEST_WAIT / 2);
        assert!(waits[0] <= Duration::from_millis(20));
    }
}

#[test]
fn an_attempt_leaves_time_for_another_endpoint_only_if_a_retry_is_safe() {
    let ten = Duration::from_secs(10);
    assert_eq!(share(ten, 3, Replay::Safe), Duration::from_secs(5));
    assert_eq!(share(ten, 1, Replay::Safe), ten);
    assert_eq!(share(ten, 3, Replay::OnlyUnsent), ten);
    assert_eq!(
        share(Duration::from_millis(300), 3, Replay::Safe),
        Duration::from_millis(300)
    );
}

#[test]
fn the_nodes_timeout_ends_before_the_clients() {
    assert_eq!(
        node_timeout(Duration::from_secs(10)),
        Duration::from_millis(9800)
    );
    assert_eq!(
        node_timeout(Duration::from_millis(100)),
        Duration::from_millis(90)
    );
    assert_eq!(node_timeout(Duration::ZERO), Duration::ZERO);
}

#[test]
fn random_bits_differ() {
    assert_ne!(random_bits(), random_bits());
}
