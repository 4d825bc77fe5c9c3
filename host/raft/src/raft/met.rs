//! What a node knows of its peers from their hellos, and which senders count.
//!
//! A message counts only if its sender is the run that this node has met last ([`Core::is_current`]) and uses the store that the
//! configuration names ([`Core::counts`]). A peer whose store is outdated gets [`StoreReplaced`]: it takes a new store id
//! and rejoins.

use crate::identity::{HelloVerdict, History, NodeIdentity, PeerHello, RunHistory, Sender};
use crate::ids::StoreId;
use crate::message::{RaftRequest, RaftResponse, StoreReplaced};
use crate::raft::Core;
use crate::raft::ready::IdentityChange;

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
        if hello.history.contradicts(&self.history()) {
            // A node of another cluster with the same name: its hello does not describe the peer.
            return self.met.note_foreign(hello);
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
        let shown = [self.met.hello(&from.id), self.met.foreign(&from.id)];
        let is_foreign = shown
            .into_iter()
            .flatten()
            .any(|hello| hello.store_id == from.store_id && hello.history.contradicts(&own));
        if is_foreign {
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
    /// configurations, so it reports this to the sender. A member that does not vote gets the report too: it would never vote
    /// again with a store that it had before the one that it reported last.
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
        let votes = self.membership().is_voter(&from.id);
        if self.has_committed_in_term() || self.role.is_leader() && !votes {
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
