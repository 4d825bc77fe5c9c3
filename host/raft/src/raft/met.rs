//! What a node knows of its peers from their hellos, and which senders count.
//!
//! A message counts only if its sender is the run that this node has met last ([`Core::is_current`]) and uses the store that the
//! configuration names ([`Core::counts`]). A peer whose store is outdated gets [`StoreReplaced`]: it takes a new store id
//! and rejoins.

use std::collections::BTreeMap;

use crate::identity::{
    HelloVerdict, History, MAX_MET, MetPeer, NodeIdentity, PeerHello, RunHistory, Sender,
};
use crate::ids::{NodeId, StoreId};
use crate::message::{RaftRequest, RaftResponse, StoreReplaced};
use crate::raft::Core;
use crate::raft::ready::IdentityChange;

/// The peers that this node has met.
#[derive(Clone, Debug, Default)]
pub(super) struct MetPeers {
    /// Durable: the store and the run of each, as it was met last.
    known: BTreeMap<NodeId, MetPeer>,
    /// The last hello of each that was not outdated, in this run.
    hellos: BTreeMap<NodeId, PeerHello>,
}

impl MetPeers {
    pub(super) fn new(stored: &[(NodeId, MetPeer)]) -> Self {
        Self {
            known: stored.iter().cloned().collect(),
            hellos: BTreeMap::new(),
        }
    }

    /// The last hello of this peer in this run.
    pub(super) fn hello(&self, id: &NodeId) -> Option<&PeerHello> {
        self.hellos.get(id)
    }

    /// Id of the store with which this peer was met last.
    pub(super) fn store_id(&self, id: &NodeId) -> Option<StoreId> {
        self.known.get(id).map(|met| met.store_id)
    }

    /// Records a hello, unless it is outdated.
    fn meet(&mut self, hello: &PeerHello) -> HelloVerdict {
        let verdict = if hello.store_id == StoreId::NONE || hello.runs.number == 0 {
            // Protocol 1, or a run that its store could not record.
            HelloVerdict::Known
        } else if let Some(met) = self.known.get_mut(&hello.id) {
            met.meet(hello)
        } else if self.known.len() < MAX_MET {
            self.known.insert(hello.id.clone(), MetPeer::first(hello));
            HelloVerdict::Recorded
        } else {
            HelloVerdict::Known
        };
        if verdict != HelloVerdict::Outdated {
            self.note(hello);
        }
        verdict
    }

    /// Keeps a hello for this run.
    fn note(&mut self, hello: &PeerHello) {
        if self.hellos.len() < MAX_MET || self.hellos.contains_key(&hello.id) {
            self.hellos.insert(hello.id.clone(), hello.clone());
        }
    }

    /// Forgets all peers but these.
    fn retain(&mut self, keep: impl Fn(&NodeId) -> bool) {
        self.known.retain(|id, _| keep(id));
        self.hellos.retain(|id, _| keep(id));
    }

    /// Whether this is the run of the peer that was met last.
    fn is_current(&self, from: &Sender) -> bool {
        let unknown = from.store_id == StoreId::NONE || from.run == 0;
        unknown
            || self.known.get(&from.id).is_none_or(|met| {
                met.store_id == from.store_id && (met.run == from.run || met.number == 0)
            })
    }
}

impl Core {
    /// How this node describes itself in its hello.
    #[must_use]
    pub fn identity(&self) -> NodeIdentity {
        NodeIdentity {
            store_id: self.store_id,
            runs: self.runs.clone(),
            history: self.history(),
            cluster_level: self.cluster().level,
            known_level: self.config.known_level,
        }
    }

    /// The history that this node's log is part of.
    pub(super) fn history(&self) -> History {
        History {
            lineage: self.cluster().lineage,
            has_log: self.log.last().index.0 > 0,
        }
    }

    /// The run in which this node has met a peer last; `None` if it has met none.
    #[must_use]
    pub fn met_run(&self, id: &NodeId) -> Option<u64> {
        self.met.known.get(id).map(|met| met.run)
    }

    /// The runs of this node's store.
    #[must_use]
    pub fn runs(&self) -> &RunHistory {
        &self.runs
    }

    /// A connection with a peer has begun with this hello. Call it before [`Core::step`] for the messages of the connection.
    pub fn peer_hello(&mut self, now: std::time::Duration, hello: &PeerHello) {
        self.now = self.now.max(now);
        if hello.id == self.config.id || self.fault.is_some() {
            return;
        }
        // A node that waits to be added knows no members: each peer may be one.
        let members = self.membership();
        let is_member = members.members().is_empty()
            || members.contains(&hello.id)
            || self.config.voters.contains(&hello.id);
        if !is_member {
            return self.met.note(hello);
        }
        match self.met.meet(hello) {
            HelloVerdict::Known => {}
            HelloVerdict::Recorded => self.remember_peers(),
            HelloVerdict::Outdated => self.report_replaced(&hello.sender()),
        }
    }

    /// Makes the memory of the peers durable. Peers that are no longer members are forgotten.
    fn remember_peers(&mut self) {
        let members = self.configurations.current();
        let voters = &self.config.voters;
        if !members.members().is_empty() {
            self.met
                .retain(|id| members.contains(id) || voters.contains(id));
        }
        let known = self.met.known.iter();
        self.out.met = Some(known.map(|(id, met)| (id.clone(), met.clone())).collect());
    }

    /// Whether the sender is the run of the peer that this node has met last, and of the same history. Otherwise nothing in the
    /// message counts.
    pub(super) fn is_current(&mut self, from: &Sender) -> bool {
        let own = self.history();
        let foreign = self.met.hello(&from.id);
        if foreign.is_some_and(|hello| hello.history.contradicts(&own)) {
            return false;
        }
        let current = self.met.is_current(from);
        if !current {
            self.report_replaced(from);
        }
        current
    }

    /// Whether votes and acknowledgements of the sender count: it uses the store that the configuration names. If the
    /// configuration names none, each store counts; so does a node of protocol 1, which does not tell its store. A member
    /// that does not vote may have lost its store again since it was named: its last report of a store decides.
    pub(super) fn counts(&self, from: &Sender) -> bool {
        let members = self.membership();
        if !members.is_voter(&from.id) {
            let reported = self.role.peer(&from.id).and_then(|peer| peer.store_id);
            return from.store_id == StoreId::NONE
                || reported.is_none_or(|reported| reported == from.store_id);
        }
        let named = members.store_id(&from.id);
        let unknown = from.store_id == StoreId::NONE && self.cluster().level == 0;
        named == StoreId::NONE || named == from.store_id || unknown
    }

    /// Whether a response counts. One of a store that does not count only shows its term. The leader has all committed
    /// configurations, so it reports this to the sender.
    pub(super) fn admits_response(&mut self, from: &Sender, response: &RaftResponse) -> bool {
        let term = match response {
            RaftResponse::AppendEntries(response) | RaftResponse::LeaseGranted(response, _) => {
                response.term
            }
            RaftResponse::RequestVote(response) if response.pre_vote && response.granted => {
                // It carries the requested term.
                self.hard_state.term
            }
            RaftResponse::RequestVote(response) => response.term,
            RaftResponse::InstallSnapshot(response) => response.term,
            // A report of another store, or independent of stores.
            _ => return true,
        };
        if self.counts(from) {
            return true;
        }
        self.observe_term(term);
        if self.has_committed_in_term() && self.membership().is_voter(&from.id) {
            self.report_replaced(from);
        }
        false
    }

    /// Sends the peer that its store is outdated.
    pub(super) fn report_replaced(&mut self, to: &Sender) {
        if to.store_id == StoreId::NONE {
            return;
        }
        let report = StoreReplaced {
            store_id: to.store_id,
            run: to.run,
        };
        self.request(&to.id, RaftRequest::StoreReplaced(report), 0);
    }

    /// A change of what this node's hello contains, if there was one since the last call.
    pub(super) fn take_identity_change(&mut self) -> Option<IdentityChange> {
        let now = (self.store_id, self.history(), self.cluster().level);
        if now == self.announced {
            return None;
        }
        let before = std::mem::replace(&mut self.announced, now);
        Some(IdentityChange {
            identity: self.identity(),
            new_store: before.0 != now.0,
        })
    }
}

/// What the peers know from the hello: store, history, cluster level.
pub(super) type Announced = (StoreId, History, u32);
