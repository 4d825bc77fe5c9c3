//! Bootstrap: how a new cluster agrees on its first configuration.
//!
//! Every initial member must be up and must confirm that its store is empty. The first of them by name collects these
//! confirmations by [`BootstrapProbe`] and creates the bootstrap configuration: the members and their store ids. It is the
//! first entry of every log, entry 1 of term 0. No leader proposes it; it is committed because all members agreed to it. A
//! node that does not have it receives it from any other node, as the response to its probe.
//!
//! There is never a second bootstrap configuration among nodes that vote. A node accepts one only in response to a probe of
//! its current run, and only from the store to which it last confirmed that its own is empty. A majority is not enough: two
//! of three nodes that are wiped at once while the third is down cannot be distinguished from two new nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ids::{Index, LogId, NodeId, StoreId, Term};
use crate::message::{BootstrapProbe, BootstrapProbeResponse, BootstrapVerdict};
use crate::raft::membership::{Member, MemberRole, Membership};

/// The log position of the bootstrap configuration.
pub(super) const BOOTSTRAP_ENTRY: LogId = LogId {
    term: Term::ZERO,
    index: Index(1),
};

/// A run of a node with one store, as the sender of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prober {
    pub(super) store_id: StoreId,
    pub(super) run: u64,
}

/// The responses of the other initial members, on a node that is not yet eligible to vote.
#[derive(Clone, Debug)]
pub(super) struct Bootstrap {
    /// Random number of this run. A response to an earlier run is ignored.
    run: u64,
    /// The store was created empty, so the cluster may be new. False if the store replaces a corrupt one.
    may_be_new: bool,
    /// When the next probes are sent.
    probe_at: Duration,
    /// The nodes that confirmed that their stores are empty, with the ids of these stores.
    empty_stores: BTreeMap<NodeId, StoreId>,
    /// The nodes that are known to probe. They receive the bootstrap configuration once it exists.
    probers: BTreeMap<NodeId, Prober>,
    /// The store of the first initial member to which this node last confirmed that its own is empty.
    confirmed_to: Option<StoreId>,
    /// The last verdict that rules out a bootstrap, and its sender.
    objection: Option<(NodeId, BootstrapVerdict)>,
    /// This node has created the bootstrap configuration.
    is_creator: bool,
}

impl Bootstrap {
    pub(super) fn new(run: u64, may_be_new: bool, now: Duration) -> Self {
        Self {
            run,
            may_be_new,
            probe_at: now,
            empty_stores: BTreeMap::new(),
            probers: BTreeMap::new(),
            confirmed_to: None,
            objection: None,
            is_creator: false,
        }
    }

    pub(super) fn run(&self) -> u64 {
        self.run
    }

    pub(super) fn may_be_new(&self) -> bool {
        self.may_be_new
    }

    pub(super) fn probe_at(&self) -> Duration {
        self.probe_at
    }

    pub(super) fn objection(&self) -> Option<&(NodeId, BootstrapVerdict)> {
        self.objection.as_ref()
    }

    pub(super) fn is_creator(&self) -> bool {
        self.is_creator
    }

    /// Whether probes are due now. If so, the next ones are due after `interval`.
    pub(super) fn take_due(&mut self, now: Duration, interval: Duration) -> bool {
        let due = now >= self.probe_at;
        if due {
            self.probe_at = now + interval;
        }
        due
    }

    /// A node probes, and this node's log is empty. Returns the verdict.
    pub(super) fn on_probe(
        &mut self,
        from: &NodeId,
        probe: &BootstrapProbe,
        initial_members: &BTreeSet<NodeId>,
    ) -> BootstrapVerdict {
        if !self.may_be_new {
            return BootstrapVerdict::NotNew;
        }
        if initial_members.iter().ne(&probe.initial_members) {
            return BootstrapVerdict::OtherMembers;
        }
        let prober = Prober {
            store_id: probe.store_id,
            run: probe.run,
        };
        self.probers.insert(from.clone(), prober);
        if initial_members.first() == Some(from) {
            self.confirmed_to = Some(probe.store_id);
        }
        BootstrapVerdict::New
    }

    /// The store of the sender is empty as well.
    pub(super) fn on_empty_store(&mut self, from: &NodeId, response: &BootstrapProbeResponse) {
        self.objection.take_if(|(by, _)| by == from);
        self.empty_stores.insert(from.clone(), response.store_id);
        let prober = Prober {
            store_id: response.store_id,
            run: response.run,
        };
        self.probers.insert(from.clone(), prober);
    }

    /// The node rules out a bootstrap. If its store was empty before, it has another one now, with data.
    pub(super) fn on_objection(&mut self, from: &NodeId, verdict: BootstrapVerdict) {
        self.empty_stores.remove(from);
        self.probers.remove(from);
        self.objection = Some((from.clone(), verdict));
    }

    /// The initial members that have not confirmed that their stores are empty.
    pub(super) fn missing(&self, me: &NodeId, initial_members: &BTreeSet<NodeId>) -> Vec<NodeId> {
        let others = initial_members.iter().filter(|id| *id != me);
        let missing = others.filter(|id| !self.empty_stores.contains_key(*id));
        missing.cloned().collect()
    }

    /// The bootstrap configuration, if it is up to this node to create it and all other initial members have confirmed.
    pub(super) fn create(
        &mut self,
        me: &NodeId,
        store_id: StoreId,
        initial_members: &BTreeSet<NodeId>,
    ) -> Option<Membership> {
        if initial_members.first() != Some(me) || !self.missing(me, initial_members).is_empty() {
            return None;
        }
        self.is_creator = true;
        let member = |id: &NodeId| {
            let member = Member {
                // Each node has its own addresses of the others and keeps them.
                address: String::new(),
                store_id: self.empty_stores.get(id).copied().unwrap_or(store_id),
                role: MemberRole::Voter,
            };
            (id.clone(), member)
        };
        Some(Membership::new(
            initial_members.iter().map(member).collect(),
        ))
    }

    /// The nodes that receive the configuration which this node has created: all probers whose store it contains.
    pub(super) fn receivers(&self, configuration: &Membership) -> Vec<(NodeId, Prober)> {
        let probers = self.probers.iter();
        let receivers = probers.filter(|(id, prober)| configuration.votes_by(id, prober.store_id));
        receivers
            .map(|(id, prober)| (id.clone(), *prober))
            .collect()
    }

    /// Whether this node accepts a configuration that was created by the first initial member.
    pub(super) fn accepts(
        &self,
        configuration: &Membership,
        initial_members: &BTreeSet<NodeId>,
    ) -> bool {
        let creator = initial_members.first();
        let creator = creator.map(|first| configuration.store_id(first));
        let right_creator = self
            .confirmed_to
            .is_none_or(|store_id| creator == Some(store_id));
        self.may_be_new && right_creator
    }
}
