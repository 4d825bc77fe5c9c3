//! Commands on their way from a follower to its leader.

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

/// The forward that was kept on its way, of which there must be one.
fn kept(cluster: &mut Cluster) -> (String, NodeId, Message) {
    let mut kept = std::mem::take(&mut cluster.kept);
    assert_eq!(kept.len(), 1, "{kept:?}");
    kept.remove(0)
}

#[test]
fn a_follower_forwards_and_answers_its_own_client() {
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
fn a_forward_that_comes_twice_is_carried_out_once() {
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
fn forwards_that_overtake_each_other_are_both_carried_out() {
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
fn a_leader_with_too_much_under_way_refuses_and_the_client_hears_it_at_once() {
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
    // Two entries under way, and two more commands in the leader's queue.
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
fn a_leader_that_stepped_down_refuses_and_the_command_waits_for_the_next_one() {
    let mut cluster = led_by_a();
    cluster.keep = is_forward;
    cluster.propose("b", 1, "x");
    let (from, to, forward) = kept(&mut cluster);
    cluster.keep = |_| false;
    cluster.depose("a");
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
        "its client was not troubled with that"
    );
    assert_eq!(cluster.node("c").applied(), ["x"]);
}

#[test]
fn a_refused_command_is_given_up_if_no_leader_appears() {
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
    cluster.pass(PATIENCE + MAX);
    assert_eq!(
        cluster.node("b").outcome(1),
        Some(&Err(SubmitError::NoLeader))
    );
    // A refusal that comes late, or of another run, finds nobody.
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
fn a_deposed_leader_gives_the_commands_in_its_queue_back() {
    let mut cluster = led_by_a();
    cluster.node("a").disk_works = false;
    cluster.keep = |message| matches!(message, Message::Response(RaftResponse::AppendEntries(_)));
    // Two entries of its own are under way, so those of others wait in its queue.
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

/// The forward was lost with the leader: nobody says so. The next leader's first entry does.
#[test]
fn a_command_that_was_lost_on_its_way_is_sent_again_after_a_change_of_leader() {
    let mut cluster = led_by_a();
    cluster.keep = is_forward;
    cluster.propose("b", 1, "x");
    let (from, to, late) = kept(&mut cluster);
    cluster.keep = |_| false;
    cluster.elect("c");
    assert!(cluster.node("b").was_done(1, "x"));
    // And where it was only late, it is too late.
    cluster.deliver(&from, &to, late);
    cluster.settle();
    cluster.pass(MAX);
    for id in ["a", "b", "c"] {
        assert_eq!(cluster.node(id).applied(), ["x"], "on {id}");
    }
}

#[test]
fn a_command_that_the_old_leader_took_is_not_sent_again() {
    let mut cluster = led_by_a();
    // The entry reaches c alone, with nothing acknowledged.
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

/// It may have taken the command before it stopped, and no longer know.
#[test]
fn a_leader_that_restarted_does_not_say_that_it_did_not_take_a_command() {
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

/// The refusal from between two terms arrives when the same node leads again.
#[test]
fn a_leader_elected_anew_is_given_commands_although_it_refused_some_in_between() {
    let mut cluster = led_by_a();
    cluster.keep = is_forward;
    cluster.propose("b", 1, "x");
    let (from, to, forward) = kept(&mut cluster);
    cluster.keep = is_refusal;
    cluster.depose("a");
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
fn a_command_whose_entry_a_snapshot_may_hold_is_not_sent_again() {
    let names = "a b c";
    let mut cluster = Cluster::with(names.split(' ').map(|id| {
        let mut setup = setup(id, names);
        setup.core.snapshot_threshold = 5;
        setup.core.max_log_entries = 8;
        setup
    }));
    cluster.elect("a");
    cluster.propose("c", 0, "before");
    // The command goes out, and then c is alone for long.
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
    cluster.elect("b");
    cluster.propose("b", 50, "z");
    cluster.pass(DEADLINE);
    assert_eq!(
        cluster.node("c").outcome(1),
        Some(&Err(SubmitError::TimedOut))
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
fn strangers_have_nothing_to_forward() {
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
