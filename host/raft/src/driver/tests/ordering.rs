//! Persist before send, commit before apply, and the order of tasks within one turn.

use super::kit::*;
use super::machine::ClassedMachine;
use crate::disk::DiskTask;
use crate::driver::*;
use crate::entry::*;
use crate::ids::*;
use crate::message::*;

fn kinds(node: &Node) -> Vec<&'static str> {
    let tasks = node.driver.env().disk.iter();
    tasks
        .map(|task| match task {
            DiskTask::Join(_) => "join",
            DiskTask::CompleteStore => "admit",
            DiskTask::Write(..) => "write",
            DiskTask::Purge(_) => "purge",
            DiskTask::Read(_) => "read",
            DiskTask::CopyLog { .. } => "copy log",
            DiskTask::ReadChunk { .. } => "read chunk",
            DiskTask::Receive { .. } => "receive",
            DiskTask::Retain(_) => "retain",
            DiskTask::SetAside(_) => "set aside",
            DiskTask::ReplaceStore(_) => "replace store",
            DiskTask::RememberPeers(_) => "remember peers",
            DiskTask::RecordLease(_) => "record lease",
        })
        .collect()
}

fn vote_for(candidate: &str, term: u64) -> Input<ClassedMachine, Queues> {
    let request = RequestVote {
        term: Term(term),
        candidate_id: candidate.into(),
        last: LogId::default(),
        pre_vote: false,
        transfer: false,
    };
    Input::Message(
        candidate.into(),
        Message::Request(RaftRequest::RequestVote(request)),
    )
}

#[test]
fn a_response_is_sent_once_the_write_it_vouches_for_is_durable() {
    let mut node = Node::new(setup("a", "a b c"));
    node.disk_works = false;
    node.handle(vote_for("b", 1));
    node.run();
    assert_eq!(kinds(&node), ["write"]);
    assert_eq!(node.driver.env().sent, []);
    node.finish_disk_task();
    node.run();
    assert_eq!(node.driver.env().sent.len(), 1);
}

#[test]
fn held_responses_are_bounded_while_the_disk_hangs() {
    let mut limited = setup("a", "a b c");
    limited.driver.held_messages = 3;
    let mut node = Node::new(limited);
    node.disk_works = false;
    for _ in 0..10 {
        node.handle(vote_for("b", 1));
    }
    node.run();
    node.disk_works = true;
    node.run();
    assert_eq!(node.driver.env().sent.len(), 3);
}

#[test]
fn a_leader_sends_entries_in_parallel_with_its_own_write() {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    let node = cluster.node("a");
    node.disk_works = false;
    node.propose(1, "x");
    node.run();
    assert_eq!(kinds(node), ["write"]);
    let appends = node.driver.env().sent.iter();
    let with_entries = appends.filter(|(_, message)| {
        matches!(message, Message::Request(RaftRequest::AppendEntries(append)) if !append.entries.is_empty())
    });
    assert_eq!(with_entries.count(), 2);
}

/// A snapshot arrives. In the same turn, the leader sends more entries and a higher commit index.
#[test]
fn after_a_snapshot_the_log_is_purged_before_it_is_written_and_the_snapshot_restored_before_entries_are_applied()
 {
    let names = "a b c";
    let mut cluster = Cluster::with(names.split(' ').map(|id| {
        let mut setup = setup(id, names);
        setup.core.snapshot_threshold = 5;
        setup.core.max_log_entries = 8;
        setup
    }));
    cluster.elect("a");
    cluster.cut_off("c");
    for client in 0..20 {
        cluster.propose("a", client, "x");
    }
    cluster.heal();
    cluster.keep = |message| matches!(message, Message::Response(RaftResponse::InstallSnapshot(_)));
    let c = cluster.node("c");
    c.machine_works = false;
    cluster.pass(HEARTBEAT * 2);
    let snapshot = cluster.node("c").core().snapshot().cloned().unwrap();
    let c = cluster.node("c");
    // These messages arrive before the snapshot is restored.
    let append = AppendEntries {
        term: Term(1),
        leader_id: "a".into(),
        previous: snapshot.last,
        entries: vec![Entry {
            id: LogId::new(Term(1), snapshot.last.index.next()),
            time_ms: 0,
            payload: Payload::Noop,
        }],
        leader_commit: snapshot.last.index.next(),
        round: 0,
    };
    c.handle(Input::Message(
        "a".into(),
        Message::Request(RaftRequest::AppendEntries(append)),
    ));
    c.run();
    let machine = c.driver.env().machine.iter();
    let order: Vec<&str> = machine
        .map(|task| match task {
            MachineTask::Restore(_) => "restore",
            MachineTask::Apply(_) => "apply",
            _ => "other",
        })
        .collect();
    assert_eq!(order, ["restore", "apply"]);
    c.machine_works = true;
    c.run();
    assert_eq!(c.applier.last().index, snapshot.last.index.next());
}
