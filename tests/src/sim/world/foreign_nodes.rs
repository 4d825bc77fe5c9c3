//! Nodes of another cluster that have the names of nodes of this one, for example because both clusters were begun from one
//! configuration. The network refuses them by their hello. Here they get through, as they do to a node that knew nothing of its
//! cluster when the connection began: nothing they send may count.

use bytes::Bytes;
use task_queue_raft::CLUSTER_LEVEL;
use task_queue_raft::driver::Input;
use task_queue_raft::entry::{Command, Entry, Payload};
use task_queue_raft::identity::{History, PeerHello, RunHistory};
use task_queue_raft::ids::{Index, Lineage, LogId, NodeId, StoreId, Term};
use task_queue_raft::message::{
    AppendEntries, AppendEntriesResponse, AppendResult, Message, RaftRequest, RaftResponse,
    RequestVote, RequestVoteResponse,
};
use task_queue_raft::raft::Core;

use super::World;
use crate::sim::planted::Planted;

/// Session of the commands in the log of the other cluster.
const SESSION: u64 = 7;

impl World {
    /// A node with the name of a peer sends something of another history.
    pub(super) fn foreign_node(&mut self) {
        let Some(node) = self.any_live() else { return };
        let peer = self.act_rng.place(self.ids.len());
        let (store, run, lineage) = (
            self.act_rng.number() | 1,
            self.act_rng.number() | 1,
            self.act_rng.number(),
        );
        let what = self.act_rng.below(4);
        let id = self.ids[peer].clone();
        let Some(core) = self.nodes[node].core().filter(|_| peer != node) else {
            return;
        };
        let own = core.identity().history;
        if own.lineage == Lineage::NONE || !own.has_log {
            return;
        }
        let history = if self.planted == Some(Planted::LineageNotChecked) {
            own
        } else {
            History {
                lineage: Lineage::at_bootstrap(lineage.into()),
                has_log: true,
            }
        };
        let hello = PeerHello {
            id: id.clone(),
            protocol: 2,
            store_id: StoreId(store),
            runs: RunHistory {
                number: 1,
                recent: vec![run],
            },
            history,
            known_level: CLUSTER_LEVEL,
            peer_addr: String::new(),
        };
        let message = foreign(core, id, what);
        self.trace.note(self.now, node, 24, || {
            format!("a foreign node calls: {hello:?} {message:?}")
        });
        self.coverage.foreign_nodes += 1;
        let sender = hello.sender();
        self.put(node, Input::PeerHello(Box::new(hello)));
        self.put(node, Input::Message(sender, message));
    }
}

/// A message that would do harm if it counted.
fn foreign(core: &Core, from: NodeId, what: u64) -> Message {
    let (term, last) = (core.term(), core.log().last());
    match what {
        0 => {
            let term = term.next();
            let command = Command {
                session: SESSION,
                sequence: 1,
                data: Bytes::from_static(&[0; 8]),
            };
            Message::Request(RaftRequest::AppendEntries(AppendEntries {
                term,
                leader_id: from,
                previous: last,
                entries: vec![Entry {
                    id: LogId::new(term, last.index.next()),
                    time_ms: 0,
                    payload: Payload::Commands(vec![command]),
                }],
                leader_commit: last.index.next(),
                round: 1,
            }))
        }
        1 => Message::Request(RaftRequest::RequestVote(RequestVote {
            term: Term(term.0 + 1000),
            candidate_id: from,
            last: LogId::new(Term(term.0 + 999), Index(last.index.0 + 1000)),
            pre_vote: false,
            transfer: true,
        })),
        2 => Message::Response(RaftResponse::RequestVote(RequestVoteResponse {
            term,
            granted: true,
            pre_vote: false,
        })),
        _ => Message::Response(RaftResponse::AppendEntries(AppendEntriesResponse {
            term,
            round: 1,
            result: AppendResult::Matched(last.index),
        })),
    }
}
