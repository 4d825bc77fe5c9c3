//! Replication to followers: probes, a window of messages in flight, skipping of terms (§5.3).

use super::kit::*;
use crate::ids::LogId;
use crate::message::*;
use crate::raft::*;

/// One entry per message.
fn narrow() -> CoreConfig {
    let mut config = config("a", "a b");
    config.limits.message_bytes = 1;
    config
}

fn sent_to_b(node: &mut Node) -> Vec<(Index, usize)> {
    let sent = node.sent_appends().into_iter();
    sent.map(|(_, append)| (append.previous.index, append.entries.len()))
        .collect()
}

/// The commit indexes in the messages to `b`, and the numbers of their entries.
fn commits_sent_to_b(node: &mut Node) -> Vec<(Index, usize)> {
    let sent = node.sent_appends().into_iter();
    sent.map(|(_, append)| (append.leader_commit, append.entries.len()))
        .collect()
}

#[test]
fn a_commit_index_is_sent_with_the_next_entries_or_after_a_short_delay() {
    let delay = Duration::from_millis(3);
    let mut config = config("a", "a b");
    config.limits.commit_delay = delay;
    let mut node = Node::with(config, HardState::default(), &[]);
    node.lead();
    node.pass(delay);
    node.sent();

    node.propose("x");
    node.step("b", matched(1, 2));
    assert_eq!(
        commits_sent_to_b(&mut node),
        [(Index(1), 1)],
        "the commit index is not urgent"
    );
    node.propose("y");
    assert_eq!(
        commits_sent_to_b(&mut node),
        [(Index(2), 1)],
        "the next entry carries it"
    );
    node.step("b", matched(1, 3));
    assert_eq!(commits_sent_to_b(&mut node), []);
    node.pass(delay);
    assert_eq!(
        commits_sent_to_b(&mut node),
        [(Index(3), 0)],
        "nothing followed"
    );
    node.pass(delay);
    assert_eq!(commits_sent_to_b(&mut node), [], "it is sent once");
}

#[test]
fn a_peer_with_waiting_clients_gets_the_commit_index_at_once() {
    let mut config = config("a", "a b");
    config.limits.commit_delay = Duration::from_secs(3600);
    let mut node = Node::with(config, HardState::default(), &[]);
    node.lead();
    let request = RaftRequest::ReadIndex(ReadIndex {
        term: Term(1),
        id: 7,
    });
    node.step("b", Message::Request(request));
    node.sent();
    node.propose("x");
    node.step("b", matched(1, 2));
    assert_eq!(commits_sent_to_b(&mut node), [(Index(1), 1), (Index(2), 0)]);
}

#[test]
fn an_entry_that_ends_the_waits_of_clients_is_announced_at_once() {
    let mut config = config("a", "a b");
    config.limits.commit_delay = Duration::from_secs(3600);
    let mut node = Node::with(config, HardState::default(), &[]);
    node.lead();
    node.propose("x");
    node.step("b", matched(1, 2));
    assert_eq!(commits_sent_to_b(&mut node).last(), Some(&(Index(1), 1)));
    node.core.announce_commit(Duration::ZERO);
    node.pass(Duration::ZERO);
    assert_eq!(commits_sent_to_b(&mut node), [(Index(2), 0)]);
    // There is nothing more to announce.
    node.core.announce_commit(Duration::ZERO);
    node.pass(Duration::ZERO);
    assert_eq!(commits_sent_to_b(&mut node), []);
}

#[test]
fn a_new_leader_probes_with_one_message_at_a_time() {
    let mut node = Node::with(narrow(), HardState::default(), &[]);
    node.elect();
    node.propose("x");
    node.propose("y");
    assert_eq!(sent_to_b(&mut node), [(Index(0), 1)]);
    node.step("b", matched(1, 1));
    assert_eq!(sent_to_b(&mut node), [(Index(1), 1), (Index(2), 1)]);
}

#[test]
fn heartbeats_do_not_repeat_a_probe_while_a_slow_disk_delays_the_response() {
    let mut node = Node::with(narrow(), HardState::default(), &[]);
    node.elect();
    assert_eq!(sent_to_b(&mut node), [(Index(0), 1)]);
    for _ in 0..3 {
        node.pass(HEARTBEAT);
        assert_eq!(sent_to_b(&mut node), [(Index(0), 0)]);
        // Its disk does not have the entry yet.
        let round = node.core.round;
        node.step("b", appended(1, round, AppendResult::Matched(Index(0))));
        assert_eq!(sent_to_b(&mut node), []);
        if node.core.peers()[&NodeId::from("b")].next == Index(2) {
            break;
        }
    }
    node.step("b", matched(1, 1));
    assert_eq!(node.core.log().committed(), Index(1));
    assert_eq!(
        sent_to_b(&mut node),
        [(Index(1), 0)],
        "only the commit index"
    );
}

#[test]
fn a_lost_probe_is_sent_again_after_a_heartbeat_detects_the_loss() {
    let mut node = Node::with(narrow(), HardState::default(), &[]);
    node.elect();
    assert_eq!(sent_to_b(&mut node), [(Index(0), 1)]);
    for (round, expected) in [(1, Index(0)), (2, Index(1))] {
        node.pass(HEARTBEAT);
        assert_eq!(sent_to_b(&mut node), [(expected, 0)]);
        let result = match expected {
            Index(0) => AppendResult::Matched(Index(0)),
            _ => AppendResult::Mismatch {
                rejected: id(1, 1),
                hint: id(0, 0),
            },
        };
        node.step("b", appended(1, round, result));
    }
    assert_eq!(sent_to_b(&mut node), [(Index(0), 1)]);
}

#[test]
fn messages_are_pipelined_within_a_window_of_messages() {
    let mut config = narrow();
    config.limits.in_flight_messages = 2;
    let mut node = Node::with(config, HardState::default(), &[]);
    node.lead();
    for data in ["1", "2", "3", "4"] {
        node.propose(data);
    }
    assert_eq!(sent_to_b(&mut node), [(Index(1), 1), (Index(2), 1)]);
    node.step("b", matched(1, 2));
    let sent = sent_to_b(&mut node);
    assert!(
        sent.contains(&(Index(3), 1)) && !sent.contains(&(Index(4), 1)),
        "{sent:?}"
    );
}

#[test]
fn messages_are_pipelined_within_a_window_of_bytes() {
    let mut config = narrow();
    config.limits.in_flight_bytes = 100;
    let mut node = Node::with(config, HardState::default(), &[]);
    node.lead();
    for data in ["1", "2", "3", "4"] {
        node.propose(data);
    }
    // 89 bytes each: the second one is sent while fewer than 100 bytes are in flight.
    assert_eq!(sent_to_b(&mut node), [(Index(1), 1), (Index(2), 1)]);
}

#[test]
fn entries_are_batched_up_to_the_size_of_a_message() {
    let mut config = config("a", "a b");
    config.limits.message_bytes = 89 * 3;
    let mut node = Node::with(config, HardState::default(), &[]);
    node.lead();
    for _ in 0..7 {
        node.core.propose(node.now, 0, command("x")).unwrap();
    }
    node.run();
    assert_eq!(
        sent_to_b(&mut node),
        [(Index(1), 3), (Index(4), 3), (Index(7), 1)]
    );
}

#[test]
fn a_heartbeat_detects_a_lost_message() {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    cluster.node("a").propose("lost in transit to all");
    cluster.node("a").sent();
    cluster.pass(HEARTBEAT * 2);
    assert_eq!(cluster.node("a").core.log().committed(), Index(2));
    assert_eq!(cluster.node("c").core.log().last(), id(1, 2));
}

#[test]
fn a_rejection_names_the_last_entry_that_can_agree() {
    let cases = [
        // The follower's log, the missing entry, the hint.
        (&[1, 1, 2, 2, 2][..], id(3, 5), id(2, 4)),
        (&[1, 1, 4, 4, 4], id(3, 5), id(1, 2)),
        (&[4, 4, 4, 4, 4], id(3, 5), id(0, 0)),
        (&[1, 1], id(3, 9), id(1, 2)),
        (&[], id(3, 9), id(0, 0)),
    ];
    for (terms, previous, hint) in cases {
        let mut node = Node::at("a", 5, terms);
        node.step("b", append("b", 5, previous, &[], 0));
        let expected = AppendResult::Mismatch {
            rejected: previous,
            hint,
        };
        assert_eq!(node.append_response_sent().result, expected, "{terms:?}");
    }
}

#[test]
fn a_leader_skips_the_terms_that_the_follower_can_not_have() {
    let mut node = Node::at("a", 6, &[1, 1, 3, 3, 5, 5, 5]);
    node.elect();
    node.sent();
    let rejected = id(5, 7);
    // The follower's entries 3 to 7 are of term 2.
    node.step(
        "b",
        appended(
            7,
            0,
            AppendResult::Mismatch {
                rejected,
                hint: id(2, 6),
            },
        ),
    );
    let sent = node.sent_appends();
    assert_eq!(sent[0].1.previous, id(1, 2));
}

#[test]
fn very_different_logs_match_after_a_few_messages() {
    let old = |id, terms: &[u64]| {
        Node::with(
            config(id, "f l v"),
            HardState {
                term: Term(9),
                vote: None,
            },
            terms,
        )
    };
    let leader: Vec<u64> = [vec![1; 10], vec![3; 200], vec![5; 200], vec![7; 200]].concat();
    let follower: Vec<u64> = [vec![1; 10], vec![2; 150], vec![4; 150], vec![6; 150]].concat();
    let mut cluster = Cluster::new([old("l", &leader), old("f", &follower), old("v", &[])]);
    cluster.now = MAX;
    let now = cluster.now;
    let node = cluster.node("l");
    node.now = now;
    node.elect();
    let mut rejections = 0;
    loop {
        let sent = cluster.node("l").sent();
        let to_follower: Vec<_> = sent
            .into_iter()
            .filter(|(to, _)| to.as_str() == "f")
            .map(|(_, m)| m)
            .collect();
        if to_follower.is_empty() {
            break;
        }
        for message in to_follower {
            cluster.node("f").step("l", message);
        }
        for (_, message) in cluster.node("f").sent() {
            if let Message::Response(RaftResponse::AppendEntries(response)) = &message {
                rejections += u32::from(matches!(response.result, AppendResult::Mismatch { .. }));
            }
            cluster.node("l").step("f", message);
        }
    }
    assert_eq!(cluster.node("f").core.log().last(), id(10, 611));
    assert!(
        rejections <= 3,
        "{rejections} rejections for six differing terms"
    );
}

#[test]
fn a_late_rejection_changes_nothing() {
    let mut node = Node::at("a", 1, &[1, 1, 1]);
    node.lead();
    let late = AppendResult::Mismatch {
        rejected: id(1, 3),
        hint: id(0, 0),
    };
    node.step("b", appended(2, 0, late));
    let b = &node.core.peers()[&NodeId::from("b")];
    assert_eq!((b.matched, b.next), (Index(4), Index(5)));
    assert_eq!(node.sent(), []);
}

#[test]
fn entries_that_are_no_longer_in_memory_are_read_from_the_disk() {
    let node = |id| {
        let mut config = config(id, "a b c");
        config.limits.cache_bytes = 0;
        config.limits.message_bytes = 500;
        Node::with(config, HardState::default(), &[])
    };
    let mut cluster = Cluster::new(["a", "b", "c"].map(node));
    cluster.elect("a");
    cluster.cut_off("c");
    for _ in 0..50 {
        cluster.propose("a", "x");
    }
    let log = cluster.node("a").core.log();
    assert_eq!(
        log.cached(Index(1), Index(51), u64::MAX),
        None,
        "nothing is kept in memory"
    );
    cluster.heal();
    cluster.pass(MAX);
    assert_eq!(cluster.node("c").core.log().last(), id(1, 51));
    assert_eq!(cluster.node("c").applied.len(), 51);
}

#[test]
fn a_state_machine_that_lags_gets_its_entries_from_the_disk() {
    let mut config = config("a", "a");
    config.limits.cache_bytes = 0;
    config.limits.unapplied_entries = 2;
    let mut node = Node::with(config, HardState::default(), &[]);
    node.lead();
    node.machine_works = false;
    for _ in 0..20 {
        node.propose("x");
    }
    assert!(node.applied.len() < 5);
    node.machine_works = true;
    let handed = node.applied.last().map(|id| id.index).unwrap();
    node.core.applied(node.now, handed);
    node.run();
    let expected: Vec<LogId> = (1..=21).map(|index| id(1, index)).collect();
    assert_eq!(node.applied, expected);
}

#[test]
fn a_commit_index_is_sent_before_the_next_heartbeat() {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    let made = cluster.propose("a", "x");
    for id in ["a", "b", "c"] {
        assert_eq!(cluster.node(id).applied.last(), Some(&made), "on {id}");
    }
}

#[test]
fn time_in_the_log_never_decreases() {
    let mut node = Node::at("a", 1, &[1, 1]);
    node.lead();
    let mut times = Vec::new();
    for wall_ms in [500, 900, 100, 901] {
        node.core.propose(node.now, wall_ms, command("x")).unwrap();
        times.push(node.core.log().last_time_ms());
    }
    assert_eq!(times, [500, 900, 900, 901]);
}
