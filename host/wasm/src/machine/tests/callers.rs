//! A guest sees who has sent a command or a query.

use std::collections::BTreeMap;

use super::*;
use crate::records::caller::GuestCaller;
use crate::records::query::MachineQuery;
use crate::testing::scripted_in_memory;

fn caller(name: &str, queues: &[&str]) -> GuestCaller {
    let values = queues.iter().map(|queue| (*queue).to_owned()).collect();
    let scopes = BTreeMap::from([("queues".to_owned(), values)]);
    GuestCaller::new(name, scopes).unwrap()
}

fn ann() -> GuestCaller {
    caller("ann", &["a", "b"])
}

fn bob() -> GuestCaller {
    GuestCaller::new("bob", BTreeMap::new()).unwrap()
}

fn called(caller: &GuestCaller, command: &[u8]) -> Bytes {
    Envelope::called(caller, None, command).unwrap()
}

#[test]
fn each_command_of_a_batch_has_its_own_caller() {
    for module in [scripted(), scripted_in_memory()] {
        let mut node = Node::new(module);
        let outcomes = node.entry(&[
            called(&ann(), b"f"),
            plain(b"f"),
            plain(b"a"),
            called(&bob(), b"f"),
        ]);
        assert_eq!(
            outcomes,
            [
                accepted("annqueuesa"),
                accepted(""),
                accepted(1_u64.to_le_bytes()),
                accepted("bob"),
            ]
        );
        assert_eq!(node.send("f"), accepted(""));
    }
}

#[test]
fn a_command_of_a_failed_batch_runs_alone_with_its_caller() {
    let mut node = Node::new(scripted());
    let outcomes = node.entry(&[
        called(&ann(), b"f"),
        called(&ann(), b"t"),
        called(&bob(), b"f"),
    ]);
    assert_eq!(codes(&outcomes), ["accepted", "trap", "accepted"]);
    assert_eq!(outcomes[2], accepted("bob"));
}

#[test]
fn a_replay_shows_the_same_callers() {
    // After the failure, the calls before it are made again, and their outcomes compared.
    let mut node = Node::new(scripted());
    node.entry(&[called(&ann(), b"a"), called(&bob(), b"f")]);
    assert_eq!(code(&node.send("t")), "trap");
    assert_eq!(node.send("a"), accepted(2_u64.to_le_bytes()));
    assert!(node.counts().rollbacks >= 1);
}

#[test]
fn a_query_has_a_caller_on_any_instance() {
    for module in [scripted(), scripted_in_memory()] {
        let mut node = Node::new(module);
        node.send("a");
        let at = node.counts().applied;
        for (caller, name) in [
            (Some(ann()), "annqueuesa"),
            (Some(bob()), "bob"),
            (None, ""),
        ] {
            let query = MachineQuery::new(Bytes::from_static(b"f"), caller.map(Arc::new));
            let response = node.machine.query(at, query);
            assert_eq!(response.unwrap(), name.as_bytes());
        }
    }
}

#[test]
fn a_key_of_a_command_with_a_caller_returns_the_first_reply_again() {
    let mut node = Node::new(scripted());
    let keyed = |caller: GuestCaller| Envelope::called(&caller, Some("k"), b"f").unwrap();
    assert_eq!(node.entry(&[keyed(ann())]), [accepted("annqueuesa")]);
    // The host gives each principal keys of its own, so this is a repetition.
    assert_eq!(node.entry(&[keyed(bob())]), [accepted("annqueuesa")]);
    let mut other = node.restored();
    assert_eq!(other.entry(&[keyed(ann())]), [accepted("annqueuesa")]);
}

#[test]
fn a_caller_that_can_not_be_decoded_is_malformed_on_every_node() {
    let mut node = Node::new(scripted());
    let wrong = Bytes::from_static(b"\x03\x20\x01\x00\x00f");
    let outcomes = node.entry(&[wrong, plain(b"a")]);
    assert_eq!(codes(&outcomes), ["malformed", "accepted"]);
}
