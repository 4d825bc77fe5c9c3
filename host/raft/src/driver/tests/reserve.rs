//! Control records while the log or a queue is full.

use bytes::Bytes;

use super::kit::*;
use crate::driver::SubmitError;
use crate::entry::Command;
use crate::ids::Term;
use crate::message::{Forward, Message, RaftRequest, RaftResponse};

/// A cluster of one whose log is full of three entries, with a command in the queue. Without a state machine there is no
/// snapshot.
fn full() -> Cluster {
    let mut limited = setup("a", "a");
    limited.core.max_log_entries = 3;
    limited.core.snapshot_threshold = 2;
    limited.core.limits.reserved_entries = 4;
    let mut cluster = Cluster::with([limited].into_iter());
    cluster.elect("a");
    let node = cluster.node("a");
    node.machine_works = false;
    for client in 0..3 {
        node.submit(client, "x", true, DEADLINE);
        node.run();
    }
    assert_eq!(
        (node.core().log().len(), node.core().reserve_used()),
        (3, 0)
    );
    cluster
}

#[test]
fn a_control_record_enters_a_full_log_before_queued_commands() {
    let mut cluster = full();
    let node = cluster.node("a");
    node.submit(10, "!upgrade", true, DEADLINE);
    node.run();
    assert_eq!(
        (node.core().log().len(), node.core().reserve_used()),
        (4, 1)
    );
    node.machine_works = true;
    cluster.settle();
    let node = cluster.node("a");
    assert!(node.was_done(10, "!upgrade"));
    assert_eq!(node.applied(), ["x", "x", "!upgrade", "x"]);
}

#[test]
fn the_reserve_is_bounded_and_reports_get_half_of_it() {
    let mut cluster = full();
    let node = cluster.node("a");
    for client in 10..20 {
        node.submit(client, "?report", true, DEADLINE);
        node.run();
    }
    assert_eq!(node.core().reserve_used(), 2);
    for client in 20..30 {
        node.submit(client, "!upgrade", true, DEADLINE);
        node.run();
    }
    assert_eq!(node.core().reserve_used(), 4);
    node.machine_works = true;
    cluster.settle();
    let node = cluster.node("a");
    assert!((10..20).all(|client| node.was_done(client, "?report")));
    assert!((20..30).all(|client| node.was_done(client, "!upgrade")));
}

#[test]
fn a_control_record_is_accepted_while_commands_of_clients_fill_the_queue() {
    let mut limited = setup("a", "a b");
    limited.driver.waiting = 2;
    limited.driver.reserved = 1;
    let mut cluster = Cluster::with([limited].into_iter());
    // Without a leader all commands stay in the queue.
    let node = cluster.node("a");
    for (client, command) in [(1, "x"), (2, "x"), (3, "x"), (4, "!"), (5, "!")] {
        node.submit(client, command, true, DEADLINE);
        node.run();
    }
    let refused = [1, 2, 3, 4, 5].map(|client| {
        let outcome = node.outcome(client);
        matches!(outcome, Some(Err(SubmitError::Overloaded { .. })))
    });
    assert_eq!(refused, [false, false, true, false, true]);
}

#[test]
fn a_leader_with_a_full_queue_accepts_forwarded_control_records() {
    let mut cluster = Cluster::with(
        ["a", "b"]
            .map(|id| {
                let mut limited = setup(id, "a b");
                limited.driver.waiting = 1;
                limited
            })
            .into_iter(),
    );
    cluster.elect("a");
    cluster.cut_off("b");
    cluster.propose("a", 1, "x");
    cluster.heal();
    // One more entry in flight, then one command in the queue.
    for (commands, first) in [(&["y"][..], 1), (&["y"], 2), (&["y", "!upgrade"], 3)] {
        let commands = commands
            .iter()
            .zip(first..)
            .map(|(data, sequence)| Command {
                session: 9,
                sequence,
                data: Bytes::from_static(data.as_bytes()),
            });
        let forward = Forward {
            term: Term(1),
            commands: commands.collect(),
        };
        let forward = Message::Request(RaftRequest::Forward(forward));
        cluster.deliver("b", &"a".into(), forward);
    }
    let sent = std::mem::take(&mut cluster.node("a").driver.env_mut().sent);
    let refused = sent.into_iter().find_map(|(_, message)| match message {
        Message::Response(RaftResponse::Forward(response)) => Some(response.sequences),
        _ => None,
    });
    assert_eq!(refused, Some(vec![3]));
}
