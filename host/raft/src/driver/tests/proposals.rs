//! Commands at the leader.

use bytes::Bytes;

use super::kit::*;
use crate::disk::DiskTask;
use crate::driver::*;
use crate::entry::*;
use crate::ids::*;

fn alone() -> Cluster {
    let mut cluster = Cluster::of("a");
    cluster.elect("a");
    cluster
}

/// The sizes, in commands, of the entries that a node has given to its disk.
fn entries_to_disk(node: &Node) -> Vec<usize> {
    let tasks = node.driver.env().disk.iter();
    let entries = tasks.flat_map(|task| match task {
        DiskTask::Write(_, batch) => batch.entries.clone(),
        _ => Vec::new(),
    });
    let sizes = entries.map(|entry| match entry.payload {
        Payload::Noop | Payload::Membership(_) | Payload::Cluster(_) => 0,
        Payload::Commands(commands) => commands.len(),
    });
    sizes.collect()
}

#[test]
fn a_client_gets_its_reply_once_its_command_is_applied() {
    let mut cluster = alone();
    let node = cluster.node("a");
    node.machine_works = false;
    node.propose(1, "x");
    node.run();
    assert_eq!(node.core().log().committed(), Index(2));
    assert_eq!(node.outcome(1), None);
    node.machine_works = true;
    node.run();
    let reply = Bytes::from_static(b"x");
    assert_eq!(
        node.outcome(1),
        Some(&Ok(Applied {
            index: Index(2),
            reply
        }))
    );
}

#[test]
fn commands_that_arrive_together_go_into_one_entry() {
    let mut cluster = alone();
    let node = cluster.node("a");
    node.disk_works = false;
    for client in 0..5 {
        node.propose(client, "x");
    }
    node.run();
    assert_eq!(entries_to_disk(node), [5]);
}

#[test]
fn an_entry_proposed_while_another_is_in_flight_holds_as_many_commands() {
    let mut cluster = alone();
    let node = cluster.node("a");
    node.disk_works = false;
    let before = node.core().log().last().index.0;
    for (waiters, entries) in [(0..5, 1), (5..9, 1), (9..10, 2), (10..30, 2)] {
        for client in waiters {
            node.propose(client, "x");
        }
        node.run();
        assert_eq!(node.core().log().last().index.0, before + entries);
    }
    node.disk_works = true;
    node.run();
    assert_eq!(node.core().log().last().index.0, before + 3);
    assert!((0..30).all(|client| node.was_done(client, "x")));
}

#[test]
fn commands_gather_while_entries_are_in_flight() {
    let mut cluster = alone();
    let node = cluster.node("a");
    node.disk_works = false;
    for client in 0..10 {
        node.propose(client, "x");
        node.run();
    }
    node.disk_works = true;
    node.run();
    let log = node.core().log();
    // The first two entries hold one command each, and the third holds all others.
    assert_eq!(log.last().index, Index(4));
    assert_eq!(node.applied().len(), 10);
    assert!((0..10).all(|client| node.was_done(client, "x")));
}

#[test]
fn an_entry_is_limited_in_commands_and_in_bytes() {
    let mut setup = setup("a", "a");
    setup.driver.batch_commands = 3;
    setup.driver.batch_bytes = 8;
    setup.driver.entries_in_flight = 100;
    let mut cluster = Cluster::with([setup].into_iter());
    cluster.elect("a");
    let node = cluster.node("a");
    node.disk_works = false;
    let data = [
        "1",
        "2",
        "3",
        "4",
        "55555",
        "666666",
        "more than eight bytes",
        "8",
    ];
    for (client, data) in data.into_iter().enumerate() {
        node.propose(client as u32, data);
    }
    node.run();
    node.disk_works = true;
    assert_eq!(entries_to_disk(node), [3, 2, 1, 1, 1]);
    node.run();
    assert_eq!(node.applied(), data, "in the order of their arrival");
}

#[test]
fn commands_past_the_limits_are_refused_at_once() {
    let mut limited = setup("a", "a");
    limited.driver.waiting = 3;
    let mut cluster = Cluster::with([limited].into_iter());
    cluster.elect("a");
    let node = cluster.node("a");
    for client in 0..5 {
        node.propose(client, "x");
    }
    let refused = |node: &Node, client| {
        matches!(
            node.outcome(client),
            Some(Err(SubmitError::Overloaded { .. }))
        )
    };
    assert_eq!(
        [0, 1, 2, 3, 4].map(|client| refused(node, client)),
        [false, false, false, true, true]
    );
    node.run();
    node.propose(5, "x");
    node.run();
    assert!(node.was_done(5, "x"), "room again");

    let mut limited = setup("a", "a");
    limited.driver.queued_bytes = 10;
    let mut cluster = Cluster::with([limited].into_iter());
    cluster.elect("a");
    let node = cluster.node("a");
    for client in 0..4 {
        node.propose(client, "six by");
    }
    assert_eq!(
        [0, 1, 2, 3].map(|client| refused(node, client)),
        [false, false, true, true]
    );
}

#[test]
fn a_follower_that_must_not_forward_names_the_leader() {
    let mut cluster = Cluster::of("a b c");
    cluster.node("b").submit(1, "x", false, DEADLINE);
    let not_leader = |leader: Option<&str>| {
        Err(SubmitError::NotLeader {
            leader: leader.map(NodeId::from),
        })
    };
    assert_eq!(cluster.node("b").outcome(1), Some(&not_leader(None)));
    cluster.elect("a");
    cluster.node("b").submit(2, "x", false, DEADLINE);
    assert_eq!(cluster.node("b").outcome(2), Some(&not_leader(Some("a"))));
    cluster.node("a").submit(3, "x", false, DEADLINE);
    cluster.settle();
    assert!(cluster.node("a").was_done(3, "x"));
}

#[test]
fn a_command_waits_for_a_leader_to_appear() {
    let mut cluster = Cluster::of("a b c");
    cluster.propose("b", 1, "x");
    assert_eq!(cluster.node("b").outcome(1), None);
    cluster.elect("a");
    assert!(cluster.node("b").was_done(1, "x"));
}

#[test]
fn a_command_fails_when_no_leader_appears_in_time() {
    let mut cluster = Cluster::of("a b c");
    for id in ["a", "b", "c"] {
        cluster.cut_off(id);
    }
    cluster.propose("b", 1, "x");
    cluster.pass(LEADER_TIMEOUT - HEARTBEAT);
    assert_eq!(cluster.node("b").outcome(1), None);
    cluster.pass(HEARTBEAT);
    assert_eq!(
        cluster.node("b").outcome(1),
        Some(&Err(SubmitError::NoLeader))
    );
    // It is not queued any more.
    cluster.heal();
    cluster.elect("b");
    cluster.propose("b", 2, "y");
    assert_eq!(cluster.node("b").applied(), ["y"]);
}

#[test]
fn a_command_that_times_out_may_or_may_not_be_applied() {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    cluster.cut_off("b");
    cluster.cut_off("c");
    cluster.node("a").submit(1, "x", true, MIN / 2);
    cluster.settle();
    assert_eq!(
        cluster.node("a").core().log().last().index,
        Index(2),
        "it is in the log"
    );
    cluster.pass(MIN / 2);
    assert_eq!(
        cluster.node("a").outcome(1),
        Some(&Err(SubmitError::TimedOut))
    );
}

#[test]
fn a_command_that_never_left_the_queue_is_not_applied() {
    let mut limited = setup("a", "a");
    limited.core.max_log_entries = 3;
    limited.core.snapshot_threshold = 2;
    let mut cluster = Cluster::with([limited].into_iter());
    cluster.elect("a");
    let node = cluster.node("a");
    // Without a state machine there is no snapshot, and so no room in the log.
    node.machine_works = false;
    for client in 0..5 {
        node.submit(client, "x", true, MIN);
        node.run();
    }
    assert_eq!(node.core().log().len(), 3);
    cluster.pass(MIN);
    let node = cluster.node("a");
    assert!(matches!(node.outcome(0), Some(Err(SubmitError::TimedOut))));
    for client in 2..5 {
        let outcome = node.outcome(client);
        assert!(
            matches!(outcome, Some(Err(SubmitError::Overloaded { .. }))),
            "{outcome:?}"
        );
    }
    node.machine_works = true;
    cluster.settle();
    assert_eq!(cluster.node("a").applied(), ["x", "x"]);
}

#[test]
fn a_leader_without_a_majority_does_not_report_overload() {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    cluster.cut_off("b");
    cluster.cut_off("c");
    // Two entries are in flight, and no other node receives them: the third command stays in the queue.
    for client in 0..2 {
        cluster.node("a").submit(client, "x", true, MIN * 10);
        cluster.settle();
    }
    cluster.node("a").submit(2, "y", true, MIN / 2);
    cluster.settle();
    assert_eq!(cluster.node("a").core().log().last().index, Index(3));
    cluster.pass(MIN / 2);
    assert_eq!(
        cluster.node("a").outcome(2),
        Some(&Err(SubmitError::NoLeader))
    );
}

#[test]
fn a_full_log_accepts_commands_again_after_a_snapshot() {
    let mut limited = setup("a", "a");
    limited.core.max_log_entries = 3;
    limited.core.snapshot_threshold = 2;
    let mut cluster = Cluster::with([limited].into_iter());
    cluster.elect("a");
    for client in 0..50 {
        cluster.propose("a", client, "x");
    }
    assert!((0..50).all(|client| cluster.node("a").was_done(client, "x")));
}

#[test]
fn pending_commands_fail_when_the_node_stops() {
    let mut cluster = Cluster::of("a b c");
    let node = cluster.node("a");
    node.propose(1, "x");
    node.query(2, 0, Consistency::Linearizable);
    node.run();
    node.driver.stop();
    assert_eq!(node.outcome(1), Some(&Err(SubmitError::Stopped)));
    assert_eq!(
        node.driver.env().responses.get(&2),
        Some(&Err(SubmitError::Stopped))
    );
}

#[test]
fn a_command_that_a_new_leader_has_overwritten_is_proposed_again_and_applied_once() {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    cluster.cut_off("a");
    cluster.propose("a", 1, "x");
    assert_eq!(cluster.node("a").core().log().last().index, Index(2));
    cluster.elect("b");
    cluster.propose("b", 2, "y");
    cluster.heal();
    cluster.pass(MAX);
    assert!(cluster.node("a").was_done(1, "x"));
    for id in ["a", "b", "c"] {
        assert_eq!(cluster.node(id).applied(), ["y", "x"], "on {id}");
    }
}

#[test]
fn a_command_that_survived_its_leader_is_completed_by_its_own_node() {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    // The entry reaches the others, and their acknowledgements are lost.
    cluster.keep = |message| matches!(message, Message::Response(RaftResponse::AppendEntries(_)));
    cluster.propose("a", 1, "x");
    assert_eq!(cluster.node("a").outcome(1), None);
    cluster.keep = |_| false;
    cluster.elect("b");
    cluster.pass(HEARTBEAT);
    assert!(cluster.node("a").was_done(1, "x"));
    assert_eq!(cluster.node("c").applied(), ["x"]);
}

#[test]
fn a_restarted_node_does_not_complete_commands_of_its_earlier_run() {
    let mut cluster = alone();
    cluster.propose("a", 1, "x");
    cluster.node("a").restart();
    cluster.elect("a");
    cluster.propose("a", 1, "y");
    let node = cluster.node("a");
    assert_eq!(node.applied(), ["x", "y"]);
    assert!(node.was_done(1, "y"));
    assert_eq!(node.driver.env().outcomes.len(), 1);
}

#[test]
fn clients_of_a_leader_with_a_full_disk_get_the_error_at_once_and_commands_work_again_once_it_has_room()
 {
    let mut cluster = Cluster::of("a");
    cluster.elect("a");
    let node = cluster.node("a");
    node.disk_works = false;
    node.propose(1, "x");
    node.run();
    let Some(DiskTask::Write(id, batch)) = node.driver.env_mut().disk.pop_front() else {
        panic!("the entry is to be written");
    };
    assert_eq!(batch.entries.len(), 1);
    node.handle(Input::Disk(DiskDone::Full(id)));
    node.run();
    assert_eq!(
        node.outcome(1),
        None,
        "it is in the log, and may be applied"
    );
    node.propose(2, "y");
    node.run();
    assert_eq!(node.outcome(2), Some(&Err(SubmitError::DiskFull)));
    node.query(1, 0, Consistency::Linearizable);
    node.run();
    assert!(
        node.driver.env().responses.contains_key(&1),
        "queries still work"
    );
    node.disk_works = true;
    cluster.pass(MAX);
    let node = cluster.node("a");
    assert!(node.was_done(1, "x"));
    node.propose(3, "z");
    node.run();
    assert!(node.was_done(3, "z"));
}
