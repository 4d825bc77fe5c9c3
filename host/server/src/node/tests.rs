//! Which messages the nodes of a cluster exchange with the settings that `serve` gives them. Three consensus cores, whose
//! disks and machines are done at once; time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use task_queue_raft::MemoryStateMachine;
use task_queue_raft::entry::Command;
use task_queue_raft::ids::NodeId;
use task_queue_raft::message::{Message, RaftRequest};
use task_queue_raft::raft::{Core, Role};
use task_queue_raft::storage::StoredState;

use super::{raft_builder, raft_config};
use crate::settings::cluster::ClusterPeer;
use crate::settings::{ClusterSpec, GuestSource, HostPort, ServeSettings};

const NAMES: [&str; 3] = ["node1", "node2", "node3"];

fn settings(name: &str) -> ServeSettings {
    let member = |name: &str| ClusterPeer {
        node_id: name.to_owned(),
        addr: HostPort {
            host: name.to_owned(),
            port: 7101,
        },
    };
    let cluster = ClusterSpec::new(NAMES.map(member).to_vec()).expect("a cluster");
    let anywhere = "127.0.0.1:0".parse().expect("an address");
    let guest = GuestSource::BuiltInQueue;
    ServeSettings::of_cluster(cluster, name, anywhere, "unused".into(), guest)
        .expect("a member of its cluster")
}

/// A core configured as `serve` configures it.
fn core(name: &str) -> Core {
    let settings = settings(name);
    let peer_addr = "127.0.0.1:7101".parse().expect("an address");
    let config = raft_config(&settings, peer_addr);
    let builder = raft_builder(&settings, config, MemoryStateMachine::new());
    let config = builder.node_config().expect("valid settings");
    Core::new(
        config.core,
        &StoredState::default(),
        None,
        0,
        Duration::ZERO,
    )
}

/// Three nodes. The first one leads; the others' clients send nothing.
struct Nodes {
    cores: Vec<Core>,
    now: Duration,
    in_transit: VecDeque<(usize, NodeId, Message)>,
    /// Messages that carried nothing but a commit index.
    commit_messages: usize,
}

impl Nodes {
    fn with_a_leader() -> Self {
        let mut nodes = Self {
            cores: NAMES.map(core).into(),
            now: Duration::ZERO,
            in_transit: VecDeque::new(),
            commit_messages: 0,
        };
        while nodes.cores[0].role() != Role::Leader {
            nodes.now = nodes.cores[0].next_deadline();
            nodes.cores[0].tick(nodes.now);
            nodes.settle();
        }
        nodes
    }

    /// Delivers all messages, and completes all work, until there is none left.
    fn settle(&mut self) {
        loop {
            let worked = (0..self.cores.len()).fold(false, |worked, at| self.work(at) | worked);
            while let Some((from, to, message)) = self.in_transit.pop_front() {
                let from: NodeId = NAMES[from].into();
                let to = NAMES.iter().position(|name| to.as_str() == *name);
                self.cores[to.expect("a node of the cluster")].step(
                    self.now,
                    &(&from).into(),
                    message,
                );
            }
            if !worked {
                break;
            }
        }
    }

    fn work(&mut self, at: usize) -> bool {
        let core = &mut self.cores[at];
        let ready = core.ready();
        if ready.is_empty() {
            return false;
        }
        if let Some((id, _)) = ready.write {
            core.persisted(self.now, id);
        }
        if let Some(entry) = ready.apply.last() {
            core.applied(self.now, entry.id.index);
        }
        for outgoing in ready.messages {
            if let Message::Request(RaftRequest::AppendEntries(append)) = &outgoing.message {
                self.commit_messages += usize::from(append.entries.is_empty());
            }
            self.in_transit
                .push_back((at, outgoing.to, outgoing.message));
        }
        true
    }

    /// Commits one entry at the leader.
    fn commit_one(&mut self) {
        let command = Command {
            session: 1,
            sequence: 1,
            data: Bytes::from_static(b"x"),
        };
        self.cores[0]
            .propose(self.now, 0, vec![command])
            .expect("the leader has room");
        self.settle();
        let log = self.cores[0].log();
        assert_eq!(log.committed(), log.last().index);
    }
}

#[test]
fn a_node_as_served_sends_no_message_for_a_commit_alone_where_the_next_entries_carry_it() {
    let mut nodes = Nodes::with_a_leader();
    nodes.commit_one();
    nodes.commit_messages = 0;
    for _ in 0..100 {
        nodes.commit_one();
    }
    assert_eq!(
        nodes.commit_messages, 0,
        "each entry carries the commit index of the one before"
    );
    // Nothing follows the last entry: the followers get its commit index once the delay has passed.
    nodes.now = nodes.cores[0].next_deadline();
    nodes.cores[0].tick(nodes.now);
    nodes.settle();
    assert_eq!(nodes.commit_messages, 2, "one for each follower");
    let committed = nodes.cores[0].log().committed();
    for core in &nodes.cores {
        assert_eq!(core.log().committed(), committed, "on {}", core.id());
    }
}
