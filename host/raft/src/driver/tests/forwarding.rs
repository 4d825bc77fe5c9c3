//! Commands that a follower forwards to the leader.

use bytes::Bytes;

use super::kit::*;
use crate::driver::*;
use crate::entry::*;
use crate::ids::*;
use crate::message::*;

fn is_forward(message: &Message) -> bool {
    matches!(message, Message::Request(RaftRequest::Forward(_)))
}

fn is_refusal(message: &Message) -> bool {
    matches!(message, Message::Response(RaftResponse::Forward(_)))
}

fn led_by_a() -> Cluster {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    cluster
}

/// The forward message that was held back. There must be exactly one.
fn kept(cluster: &mut Cluster) -> (String, NodeId, Message) {
    let mut kept = std::mem::take(&mut cluster.kept);
    assert_eq!(kept.len(), 1, "{kept:?}");
    kept.remove(0)
}

#[test]
fn a_follower_forwards_a_command_and_replies_to_its_own_client() {
    let mut cluster = led_by_a();
    cluster.propose("b", 1, "x");
    assert!(cluster.node("b").was_done(1, "x"));
    assert_eq!(cluster.node("a").driver.env().outcomes.len(), 0);
    for id in ["a", "b", "c"] {
        assert_eq!(cluster.node(id).applied(), ["x"]);
    }
}

#[test]
fn commands_of_several_nodes_go_into_one_entry() {
    let mut cluster = led_by_a();
    cluster.keep = is_forward;
    cluster.propose("b", 1, "x");
    cluster.propose("c", 1, "y");
    cluster.keep = |_| false;
    let kept = std::mem::take(&mut cluster.kept);
    let a = cluster.node("a");
    a.propose(1, "z");
    for (from, _, forward) in kept {
        a.handle(Input::Message(from.as_str().into(), forward));
    }
    cluster.settle();
    assert_eq!(cluster.node("a").core().log().last().index, Index(2));
    for (id, data) in [("a", "z"), ("b", "x"), ("c", "y")] {
        assert!(cluster.node(id).was_done(1, data));
    }
}

#[test]
fn a_forward_that_arrives_twice_is_applied_once() {
    let mut cluster = led_by_a();
    cluster.keep = is_forward;
    cluster.propose("b", 1, "x");
    let (from, to, forward) = kept(&mut cluster);
    cluster.keep = |_| false;
    for _ in 0..3 {
        cluster.deliver(&from, &to, forward.clone());
        cluster.settle();
    }
    assert_eq!(cluster.node("a").applied(), ["x"]);
    assert!(cluster.node("b").was_done(1, "x"));
}

#[test]
fn reordered_forwards_are_all_applied() {
    let mut cluster = led_by_a();
    cluster.keep = is_forward;
    cluster.propose("b", 1, "first");
    cluster.propose("b", 2, "second");
    cluster.keep = |_| false;
    let mut kept = std::mem::take(&mut cluster.kept);
    kept.reverse();
    for (from, to, forward) in kept {
        cluster.deliver(&from, &to, forward);
        cluster.settle();
    }
    assert_eq!(cluster.node("a").applied(), ["second", "first"]);
}

#[test]
fn an_overloaded_leader_refuses_and_the_client_gets_the_error_at_once() {
    let names = "a b c";
    let mut cluster = Cluster::with(names.split(' ').map(|id| {
        let mut setup = setup(id, names);
        if id == "a" {
            setup.driver.waiting = 2;
        }
        setup
    }));
    cluster.elect("a");
    cluster.node("a").disk_works = false;
    cluster.cut_off("c");
    cluster.keep = |message| matches!(message, Message::Response(RaftResponse::AppendEntries(_)));
    // Two entries are in flight, and two more commands are in the leader's queue.
    for client in 0..2 {
        cluster.propose("a", client, "a");
    }
    for client in 0..2 {
        cluster.propose("b", client, "b");
    }
    assert_eq!(cluster.node("b").outcome(0), None);
    cluster.propose("b", 7, "one too many");
    let outcome = cluster.node("b").outcome(7);
    assert!(
        matches!(outcome, Some(Err(SubmitError::Overloaded { .. }))),
        "{outcome:?}"
    );
}

#[test]
fn a_leader_that_stepped_down_refuses_and_the_command_waits_for_the_next_leader() {
    let mut cluster = led_by_a();
    cluster.keep = is_forward;
    cluster.propose("b", 1, "x");
    let (from, to, forward) = kept(&mut cluster);
    cluster.keep = |_| false;
    cluster.step_down("a");
    cluster.deliver(&from, &to, forward);
    let refused = cluster
        .node("a")
        .driver
        .env()
        .sent
        .iter()
        .any(|(_, message)| is_refusal(message));
    assert!(refused);
    cluster.pass(MAX * 3);
    assert!(
        cluster.node("b").was_done(1, "x"),
        "its client gets no error"
    );
    assert_eq!(cluster.node("c").applied(), ["x"]);
}

#[test]
fn a_refused_command_fails_if_no_leader_appears() {
    let mut cluster = led_by_a();
    cluster.keep = is_forward;
    cluster.propose("b", 1, "x");
    let (_, _, forward) = kept(&mut cluster);
    let Message::Request(RaftRequest::Forward(forward)) = forward else {
        unreachable!()
    };
    for id in ["a", "b", "c"] {
        cluster.cut_off(id);
    }
    let session = forward.commands[0].session;
    let sequences = vec![forward.commands[0].sequence];
    let reason = ForwardRefusal::NotLeader;
    let refusal = ForwardResponse {
        term: Term(1),
        session,
        sequences,
        reason,
    };
    cluster.deliver(
        "a",
        &"b".into(),
        Message::Response(RaftResponse::Forward(refusal.clone())),
    );
    cluster.pass(LEADER_TIMEOUT + MAX);
    assert_eq!(
        cluster.node("b").outcome(1),
        Some(&Err(SubmitError::NoLeader))
    );
    // A late refusal, or one for another session, has no effect.
    for session in [session, session + 1] {
        let refusal = ForwardResponse {
            session,
            ..refusal.clone()
        };
        cluster.deliver(
            "a",
            &"b".into(),
            Message::Response(RaftResponse::Forward(refusal)),
        );
    }
}

#[test]
fn a_leader_that_steps_down_refuses_the_forwarded_commands_in_its_queue() {
    let mut cluster = led_by_a();
    cluster.node("a").disk_works = false;
    cluster.keep = |message| matches!(message, Message::Response(RaftResponse::AppendEntries(_)));
    // Two entries of its own are in flight, so the commands of other nodes wait in its queue.
    cluster.propose("a", 1, "own 1");
    cluster.propose("a", 2, "own 2");
    cluster.propose("b", 3, "x");
    cluster.keep = |_| false;
    cluster.kept.clear();
    cluster.elect("c");
    cluster.node("a").disk_works = true;
    cluster.pass(MAX);
    assert!(cluster.node("b").was_done(3, "x"));
    let applied = cluster.node("c").applied();
    assert_eq!(
        applied.iter().filter(|command| **command == "x").count(),
        1,
        "{applied:?}"
    );
}

/// The forward message was lost with the leader, and no node reports that. The first entry of the next leader shows it.
#[test]
fn a_lost_forward_is_sent_again_after_a_change_of_leader() {
    let mut cluster = led_by_a();
    cluster.keep = is_forward;
    cluster.propose("b", 1, "x");
    let (from, to, late) = kept(&mut cluster);
    cluster.keep = |_| false;
    cluster.elect("c");
    assert!(cluster.node("b").was_done(1, "x"));
    // If the message was only late, it has no effect any more.
    cluster.deliver(&from, &to, late);
    cluster.settle();
    cluster.pass(MAX);
    for id in ["a", "b", "c"] {
        assert_eq!(cluster.node(id).applied(), ["x"], "on {id}");
    }
}

/// The forward message was lost with the connection, as at the end of a certificate.
#[test]
fn a_lost_forward_is_sent_again_when_the_connection_is_open_again() {
    let mut cluster = led_by_a();
    cluster.keep = is_forward;
    cluster.propose("b", 1, "x");
    cluster.propose("b", 2, "y");
    cluster.kept.clear();
    cluster.keep = |_| false;
    cluster.node("b").handle(Input::Connected("c".into()));
    cluster.settle();
    assert_eq!(cluster.node("a").applied(), [""; 0], "c is not the leader");
    // However often it opens, each command is applied once.
    for _ in 0..3 {
        cluster.node("b").handle(Input::Connected("a".into()));
        cluster.settle();
    }
    for (client, data) in [(1, "x"), (2, "y")] {
        assert!(cluster.node("b").was_done(client, data));
    }
    for id in ["a", "b", "c"] {
        assert_eq!(cluster.node(id).applied(), ["x", "y"], "on {id}");
    }
}

#[test]
fn a_forward_that_was_not_lost_and_is_sent_again_is_applied_once() {
    let mut cluster = led_by_a();
    // The leader has it, and its entry does not come back.
    cluster.keep = |message| matches!(message, Message::Request(RaftRequest::AppendEntries(_)));
    cluster.propose("b", 1, "x");
    cluster.keep = is_forward;
    cluster.node("b").handle(Input::Connected("a".into()));
    cluster.settle();
    let again = std::mem::take(&mut cluster.kept);
    let again = again
        .into_iter()
        .filter(|(_, _, message)| is_forward(message));
    let again: Vec<_> = again.collect();
    assert_eq!(again.len(), 1, "{again:?}");
    cluster.keep = |_| false;
    for (from, to, message) in again {
        cluster.deliver(&from, &to, message);
    }
    cluster.pass(MAX);
    assert!(cluster.node("b").was_done(1, "x"));
    for id in ["a", "b", "c"] {
        assert_eq!(cluster.node(id).applied(), ["x"], "on {id}");
    }
}

#[test]
fn a_command_that_the_old_leader_accepted_is_not_sent_again() {
    let mut cluster = led_by_a();
    // The entry reaches only c, and its acknowledgement is lost.
    cluster.keep = |message| matches!(message, Message::Response(RaftResponse::AppendEntries(_)));
    cluster.propose("b", 1, "x");
    cluster.keep = |_| false;
    cluster.elect("c");
    cluster.pass(MAX);
    assert!(cluster.node("b").was_done(1, "x"));
    for id in ["a", "b", "c"] {
        assert_eq!(cluster.node(id).applied(), ["x"], "on {id}");
    }
}

/// It may have accepted the command before it stopped, and has no record of it any more.
#[test]
fn a_leader_that_restarted_does_not_refuse_a_command_of_its_term() {
    let mut cluster = led_by_a();
    cluster.keep = is_forward;
    cluster.propose("b", 1, "x");
    let (from, to, forward) = kept(&mut cluster);
    cluster.keep = is_refusal;
    cluster.node("a").restart();
    cluster.deliver(&from, &to, forward);
    cluster.settle();
    assert_eq!(cluster.kept, []);
    cluster.keep = |_| false;
    cluster.elect("a");
    assert!(cluster.node("b").was_done(1, "x"));
    assert_eq!(cluster.node("a").applied(), ["x"]);
}

/// The refusal was sent between two terms, and arrives when the same node leads again.
#[test]
fn a_node_elected_again_receives_commands_though_it_refused_some_in_between() {
    let mut cluster = led_by_a();
    cluster.keep = is_forward;
    cluster.propose("b", 1, "x");
    let (from, to, forward) = kept(&mut cluster);
    cluster.keep = is_refusal;
    cluster.step_down("a");
    cluster.deliver(&from, &to, forward);
    cluster.node("b").machine_works = false;
    cluster.elect("a");
    assert_eq!(cluster.node("a").core().term(), Term(2));
    let (from, to, refusal) = kept(&mut cluster);
    cluster.keep = |_| false;
    cluster.deliver(&from, &to, refusal);
    cluster.propose("b", 2, "y");
    cluster.node("b").machine_works = true;
    cluster.settle();
    assert!(cluster.node("b").was_done(1, "x") && cluster.node("b").was_done(2, "y"));
    assert_eq!(cluster.node("a").applied(), ["x", "y"]);
}

#[test]
fn a_command_that_a_snapshot_may_contain_is_not_sent_again() {
    let names = "a b c";
    let mut cluster = Cluster::with(names.split(' ').map(|id| {
        let mut setup = setup(id, names);
        setup.core.snapshot_threshold = 5;
        setup.core.max_log_entries = 8;
        setup
    }));
    cluster.elect("a");
    cluster.propose("c", 0, "before");
    // The command is sent, and then c is partitioned for a long time.
    cluster.keep = is_forward;
    let now = cluster.now;
    let c = cluster.node("c");
    c.now = now;
    c.submit(1, "x", true, DEADLINE);
    cluster.settle();
    let (from, to, forward) = kept(&mut cluster);
    cluster.keep = |_| false;
    cluster.cut_off("c");
    cluster.deliver(&from, &to, forward);
    cluster.settle();
    for client in 10..40 {
        cluster.propose("a", client, "y");
    }
    cluster.heal();
    cluster.pass(MAX);
    assert!(cluster.node("c").core().snapshot().is_some());
    // An entry of the term may still follow and contain it.
    assert_eq!(cluster.node("c").outcome(1), None);
    cluster.elect("b");
    cluster.propose("b", 50, "z");
    // Now none can. The client does not wait for its deadline, and the command takes up no limit.
    assert_eq!(
        cluster.node("c").outcome(1),
        Some(&Err(SubmitError::OutcomeLost))
    );
    for id in ["a", "b", "c"] {
        let applied = cluster.node(id).applied();
        assert_eq!(
            applied.iter().filter(|command| **command == "x").count(),
            1,
            "on {id}"
        );
    }
}

#[test]
fn forwards_of_non_members_are_ignored() {
    let mut cluster = led_by_a();
    let commands = vec![Command {
        session: 9,
        sequence: 1,
        data: Bytes::from_static(b"evil"),
    }];
    let forward = Forward {
        term: Term(1),
        commands,
    };
    cluster.deliver(
        "x",
        &"a".into(),
        Message::Request(RaftRequest::Forward(forward)),
    );
    cluster.settle();
    assert_eq!(cluster.node("a").applied(), [] as [&str; 0]);
}
