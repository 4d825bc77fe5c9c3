//! Deferred commands.

use super::*;

fn defer(token: u64) -> Vec<u8> {
    op_long(b'd', token, b"")
}

fn completion(token: u64, accepted: bool, reply: &'static [u8]) -> Completion {
    Completion {
        token,
        accepted,
        reply: Bytes::from_static(reply),
    }
}

fn completions(node: &Node) -> Vec<Completion> {
    let seen = node.seen();
    seen.into_iter()
        .flat_map(|(_, effects)| effects.completions)
        .collect()
}

#[test]
fn a_deferred_command_waits_until_it_is_completed() {
    let mut node = Node::new(scripted());
    assert_eq!(
        node.batch(&[defer(7), defer(8)]),
        [7, 8].map(CommandOutcome::Deferred)
    );
    assert_eq!(node.counts().deferred, 2);
    node.batch(&[op_long(b'c', 7, b"yes"), op_long(b'x', 8, b"no")]);
    assert_eq!(node.counts().deferred, 0);
    assert_eq!(
        completions(&node),
        [completion(7, true, b"yes"), completion(8, false, b"no")]
    );
}

#[test]
fn a_completion_without_a_deferred_command_is_dropped() {
    let mut node = Node::new(scripted());
    node.batch(&[op_long(b'c', 7, b"yes")]);
    node.send(defer(7));
    node.batch(&[op_long(b'c', 7, b"yes"), op_long(b'c', 7, b"again")]);
    assert_eq!(completions(&node), [completion(7, true, b"yes")]);
}

#[test]
fn two_commands_can_not_use_the_same_token() {
    let mut node = Node::new(scripted());
    let outcomes = node.batch(&[defer(7), b"a".to_vec(), defer(7)]);
    assert_eq!(codes(&outcomes), ["deferred", "accepted", "trap"]);
    assert_eq!(code(&node.send(defer(7))), "trap");
    assert_eq!(node.counts().deferred, 1);
    assert_eq!(node.send(b"a"), accepted([2, 0, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn deferred_commands_have_a_limit() {
    let limits = MachineLimits {
        deferred: 2,
        ..limits()
    };
    let mut node = Node::with_limits(scripted(), limits);
    let outcomes = node.batch(&[defer(1), defer(2), defer(3)]);
    assert_eq!(codes(&outcomes), ["deferred", "deferred", "trap"]);
    node.send(op_long(b'c', 1, b""));
    assert_eq!(node.send(defer(3)), CommandOutcome::Deferred(3));
}

#[test]
fn a_key_returns_the_token_first_and_then_the_reply() {
    let mut node = Node::new(scripted());
    assert_eq!(
        node.send_with_key("k", defer(7)),
        CommandOutcome::Deferred(7)
    );
    assert_eq!(
        node.send_with_key("k", defer(7)),
        CommandOutcome::Deferred(7)
    );
    assert_eq!(node.counts().deferred, 1);
    let mut node = node.restored();
    assert_eq!(node.counts().deferred, 1);
    node.send(op_long(b'c', 7, b"yes"));
    assert_eq!(node.send_with_key("k", defer(7)), accepted("yes"));
    let mut node = node.restored();
    assert_eq!(node.send_with_key("k", defer(7)), accepted("yes"));
}

#[test]
fn a_key_that_was_dropped_and_used_again_keeps_its_later_reply() {
    let limits = MachineLimits {
        keys: 1,
        ..limits()
    };
    let mut node = Node::with_limits(scripted(), limits);
    node.send_with_key("k", defer(7));
    node.send_with_key("other", b"a");
    let later = node.send_with_key("k", b"a");
    assert_eq!(code(&later), "accepted");
    node.send(op_long(b'c', 7, b"of the first command"));
    assert_eq!(node.send_with_key("k", b"a"), later);
}

#[test]
fn a_completion_by_a_failed_command_is_rolled_back() {
    let mut node = Node::new(scripted());
    node.send(defer(7));
    let outcomes = node.batch(&[b"a".to_vec(), op_long(b'c', 7, b"yes"), b"t".to_vec()]);
    assert_eq!(codes(&outcomes), ["accepted", "accepted", "trap"]);
    assert_eq!(completions(&node), [completion(7, true, b"yes")], "once");
}
