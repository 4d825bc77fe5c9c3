//! Memory that is low: what the guest sees, and what works at the limit.

use serde_json::{Value, json};

use super::*;
use crate::records::memory::MemoryRecord;

const PAGE: u64 = 64 << 10;

fn report(node: &str, is_low: bool) -> Bytes {
    Envelope::memory(&MemoryRecord {
        node: node.to_owned(),
        is_low,
    })
}

#[test]
fn commands_after_a_report_see_that_memory_is_low() {
    let mut node = Node::new(scripted());
    let (before, none) = (plain(b"m"), accepted(""));
    let outcomes = node.entry(&[
        before.clone(),
        report("a", true),
        plain(b"m"),
        report("a", false),
        before,
    ]);
    assert_eq!(
        outcomes,
        [
            accepted([0]),
            none.clone(),
            accepted([1]),
            none,
            accepted([0])
        ]
    );
    assert!(!node.counts().memory_is_low);
}

#[test]
fn a_guest_can_read_the_limit_of_replies() {
    let limits = MachineLimits {
        reply_bytes: 12_345,
        ..limits()
    };
    let mut node = Node::with_limits(scripted(), limits);
    assert_eq!(node.send(b"n"), accepted(12_345_u64.to_le_bytes()));
}

#[test]
fn while_memory_is_low_a_guest_gets_more_than_its_limit() {
    let mut node = Node::new(scripted());
    let refused = accepted((-1_i32).to_le_bytes());
    let pages = u32::try_from(node.limits.memory_bytes / PAGE).unwrap();
    let used = u32::try_from(node.counts().memory_bytes / PAGE).unwrap();
    assert_ne!(node.send(op(b'g', pages - used)), refused);
    assert_eq!(node.send(op(b'g', 1)), refused);
    node.entry(&[report("a", true)]);
    assert_ne!(node.send(op(b'g', pages / 8)), refused);
    assert_eq!(node.send(op(b'g', 1)), refused);
    node.entry(&[report("a", false)]);
    assert_eq!(node.send(op(b'g', 1)), refused);
}

#[test]
fn a_command_that_finds_no_memory_fails_with_a_full_state_only_while_memory_is_low() {
    let mut node = Node::new(scripted());
    let large = op(b'z', 64 << 20);
    assert_eq!(code(&node.send(&large)), "out_of_memory");
    node.entry(&[report("a", true)]);
    assert_eq!(code(&node.send(&large)), "state_full");
    node.entry(&[report("a", false)]);
    assert_eq!(code(&node.send(&large)), "out_of_memory");
}

#[test]
fn a_replay_sees_what_the_call_saw() {
    let mut node = Node::new(scripted());
    node.entry(&[report("a", true)]);
    assert_eq!(node.send(b"m"), accepted([1]));
    node.entry(&[report("a", false)]);
    assert_eq!(node.send(b"m"), accepted([0]));
    assert_eq!(code(&node.send(b"t")), "trap");
    assert_eq!(node.send(b"m"), accepted([0]));
    assert_eq!(node.counts().rollbacks, 1);
}

#[test]
fn a_snapshot_contains_the_nodes_whose_memory_is_low() {
    let mut node = Node::new(scripted());
    assert_eq!(node.snapshot()[7], 2, "the format of earlier releases");
    node.entry(&[report("a", true), report("b", true)]);
    assert_eq!(node.snapshot()[7], 3);
    let mut other = node.restored();
    assert_same(&mut node, &mut other);
    assert_eq!(other.machine.status().low_memory().len(), 2);
    assert_eq!(other.send(b"m"), accepted([1]));
}

#[test]
fn a_node_knows_when_its_own_memory_is_low() {
    let mut node = Node::new(scripted());
    let soft = u32::try_from(node.limits.soft_memory_bytes() / PAGE).unwrap();
    let used = u32::try_from(node.counts().memory_bytes / PAGE).unwrap();
    node.send(op(b'g', soft - used - 1));
    assert!(!node.counts().own_memory_is_low);
    while node.changes.try_recv().is_ok() {}
    node.send(op(b'g', 2));
    assert!(node.counts().own_memory_is_low);
    assert!(!node.counts().memory_is_low, "not before it is in the log");
    node.changes.try_recv().unwrap();
}

/// Commands of a queue whose tasks are large.
struct Tasks(Node);

impl Tasks {
    fn enqueue(&mut self, bytes: usize) -> CommandOutcome {
        let task = json!({"enqueue": {"queue": "q", "payload": "x".repeat(bytes)}});
        self.0.send(task.to_string())
    }

    /// Delivers and acknowledges the next tasks. Returns how many.
    fn drain(&mut self) -> usize {
        let reserve =
            json!({"reserve": {"queues": ["q"], "worker": "w", "lease_ms": 100_000, "max": 1000}});
        let outcome = self.0.send(reserve.to_string());
        let CommandOutcome::Accepted(reply) = &outcome else {
            panic!("{outcome:?}");
        };
        let reply: Value = serde_json::from_slice(reply).unwrap();
        let tasks = reply["tasks"].as_array().unwrap();
        for task in tasks {
            let ack = json!({"ack": {"id": task["id"], "token": task["token"]}});
            assert_eq!(self.0.send(ack.to_string()), accepted("{}"));
        }
        tasks.len()
    }
}

#[test]
fn a_queue_that_is_full_to_the_limit_writes_snapshots_and_can_be_drained() {
    let limits = MachineLimits {
        memory_bytes: 24 << 20,
        ..MachineLimits::default()
    };
    let mut queue = Tasks(Node::with_limits(queue(), limits));
    let mut accepted = 0;
    while code(&queue.enqueue(300_000)) == "accepted" {
        accepted += 1;
    }
    // The last one did not fit; smaller ones fill the rest.
    while code(&queue.enqueue(10_000)) == "accepted" {
        accepted += 1;
    }
    assert!(queue.0.counts().own_memory_is_low);
    let mut other = queue.0.restored();
    queue.0.snapshot();
    assert_same(&mut queue.0, &mut other);
    queue.0.entry(&[report("a", true)]);
    assert_eq!(code(&queue.enqueue(1)), "rejected");
    let mut drained = 0;
    while drained < accepted {
        let tasks = queue.drain();
        assert!(tasks > 0);
        drained += tasks;
    }
    assert_eq!(drained, accepted);
    // With the next snapshot the guest gives back its memory.
    queue.0.snapshot();
    queue.drain();
    let counts = queue.0.counts();
    assert!(!counts.own_memory_is_low, "{} bytes", counts.memory_bytes);
    queue.0.entry(&[report("a", false)]);
    assert_eq!(code(&queue.enqueue(300_000)), "accepted");
}
