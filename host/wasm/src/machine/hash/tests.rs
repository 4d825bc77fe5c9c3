use std::collections::BTreeSet;

use bytes::Bytes;

use super::*;
use crate::guest::effects::{Completion, GuestEvent};
use crate::records::envelope::EnvelopeError;
use crate::records::failure::GuestFailure;
use crate::testing::at;

fn after(outcomes: &[CommandOutcome], effects: &Effects, wake_at_ms: u64) -> StateHash {
    let mut hash = StateHash::first(Sha256::default());
    hash.extend(at(1), outcomes, effects, wake_at_ms);
    hash
}

fn accepted(reply: &'static [u8]) -> CommandOutcome {
    CommandOutcome::Accepted(Bytes::from_static(reply))
}

fn event(topic: &str, payload: &'static [u8]) -> Effects {
    Effects {
        events: vec![GuestEvent {
            topic: topic.to_owned(),
            payload: Bytes::from_static(payload),
        }],
        ..Effects::default()
    }
}

fn completion(token: u64, accepted: bool, reply: &'static [u8]) -> Effects {
    Effects {
        completions: vec![Completion {
            token,
            accepted,
            reply: Bytes::from_static(reply),
        }],
        ..Effects::default()
    }
}

#[test]
fn the_hash_covers_outcomes_and_effects() {
    let none = Effects::default();
    let rejected = CommandOutcome::Rejected(Bytes::from_static(b"a"));
    let hashes = [
        after(&[], &none, 0),
        after(&[], &none, 1),
        after(&[accepted(b"a")], &none, 0),
        after(&[rejected], &none, 0),
        after(&[accepted(b"b")], &none, 0),
        after(&[accepted(b"ab"), accepted(b"")], &none, 0),
        after(&[accepted(b"a"), accepted(b"b")], &none, 0),
        after(&[accepted(b"b"), accepted(b"a")], &none, 0),
        after(&[CommandOutcome::Deferred(1)], &none, 0),
        after(&[CommandOutcome::Deferred(2)], &none, 0),
        after(&[CommandOutcome::KeyReused], &none, 0),
        after(
            &[CommandOutcome::Malformed(EnvelopeError::Truncated)],
            &none,
            0,
        ),
        after(&[CommandOutcome::Failed(GuestFailure::OutOfFuel)], &none, 0),
        after(
            &[CommandOutcome::Failed(GuestFailure::OutOfMemory)],
            &none,
            0,
        ),
        after(&[], &event("t", b"p"), 0),
        after(&[], &event("tp", b""), 0),
        after(&[], &completion(1, true, b"r"), 0),
        after(&[], &completion(1, false, b"r"), 0),
        after(&[], &completion(2, true, b"r"), 0),
    ];
    let different: BTreeSet<Sha256> = hashes.iter().map(|hash| hash.0).collect();
    assert_eq!(different.len(), hashes.len());
}

#[test]
fn the_hash_covers_index_time_and_history() {
    let first = StateHash::first(Sha256::default());
    let mut moments = BTreeSet::from([first.0]);
    for moment in [
        Moment::default(),
        at(1),
        at(2),
        Moment {
            time_ms: 7,
            ..at(1)
        },
    ] {
        let mut hash = first;
        hash.extend(moment, &[], &Effects::default(), 0);
        assert!(moments.insert(hash.0));
    }
    let mut twice = first;
    twice.extend(at(1), &[], &Effects::default(), 0);
    twice.extend(at(2), &[], &Effects::default(), 0);
    assert!(moments.insert(twice.0));
}

#[test]
fn the_hash_does_not_cover_the_message_of_a_failure() {
    let trap = |message: &str| {
        let message = message.to_owned();
        after(
            &[CommandOutcome::Failed(GuestFailure::Trap { message })],
            &Effects::default(),
            0,
        )
    };
    assert_eq!(trap("here"), trap("there"));
}

#[test]
fn another_module_starts_another_chain() {
    assert_ne!(
        StateHash::first(Sha256::of(b"one")),
        StateHash::first(Sha256::of(b"two"))
    );
}

/// All nodes of a cluster must use the same format, so a change needs a new version.
#[test]
fn the_chain_is_as_documented() {
    let mut digest = sha2::Sha256::new();
    digest.update(b"oarlock state hash 1");
    digest.update([0; 32]);
    let first: [u8; 32] = digest.finalize().into();
    let mut link = sha2::Sha256::new();
    link.update(first);
    for number in [1_u64, 1_000, 1] {
        link.update(number.to_le_bytes());
    }
    link.update([0]);
    link.update(2_u64.to_le_bytes());
    link.update(b"ok");
    for number in [0_u64, 0, 9] {
        link.update(number.to_le_bytes());
    }
    let expected: [u8; 32] = link.finalize().into();
    assert_eq!(
        after(&[accepted(b"ok")], &Effects::default(), 9).0,
        Sha256(expected)
    );
}
