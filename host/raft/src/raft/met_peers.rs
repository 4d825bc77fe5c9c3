//! The peers that a node has met: the store and the run of each, and its last hello.

use std::collections::BTreeMap;

use crate::identity::{HelloVerdict, History, MAX_MET, MetPeer, PeerHello, Sender};
use crate::ids::{NodeId, StoreId};

/// What the peers know from the hello: store, history, cluster level.
pub(super) type Announced = (StoreId, History, u32);

/// The peers that this node has met.
#[derive(Clone, Debug, Default)]
pub(super) struct MetPeers {
    /// Durable: the store and the run of each, as it was met last.
    pub(super) known: BTreeMap<NodeId, MetPeer>,
    /// The last hello of each that was not outdated, in this run.
    hellos: BTreeMap<NodeId, PeerHello>,
    /// The last hello under the name of each that was of another history.
    foreign: BTreeMap<NodeId, PeerHello>,
}

impl MetPeers {
    pub(super) fn new(stored: &[(NodeId, MetPeer)]) -> Self {
        Self {
            known: stored.iter().cloned().collect(),
            hellos: BTreeMap::new(),
            foreign: BTreeMap::new(),
        }
    }

    /// The last hello under this name that was of another history.
    pub(super) fn foreign(&self, id: &NodeId) -> Option<&PeerHello> {
        self.foreign.get(id)
    }

    /// Keeps a hello of another history for this run. Nothing of it counts.
    pub(super) fn note_foreign(&mut self, hello: &PeerHello) {
        if self.foreign.len() < MAX_MET || self.foreign.contains_key(&hello.id) {
            self.foreign.insert(hello.id.clone(), hello.clone());
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
    pub(super) fn meet(&mut self, hello: &PeerHello) -> HelloVerdict {
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
    pub(super) fn note(&mut self, hello: &PeerHello) {
        if self.hellos.len() < MAX_MET || self.hellos.contains_key(&hello.id) {
            self.hellos.insert(hello.id.clone(), hello.clone());
        }
    }

    /// Forgets all peers but these.
    pub(super) fn retain(&mut self, keep: impl Fn(&NodeId) -> bool) {
        self.known.retain(|id, _| keep(id));
        self.hellos.retain(|id, _| keep(id));
        self.foreign.retain(|id, _| keep(id));
    }

    /// Whether this is the run of the peer that was met last.
    pub(super) fn is_current(&self, from: &Sender) -> bool {
        let unknown = from.store_id == StoreId::NONE || from.run == 0;
        unknown
            || self.known.get(&from.id).is_none_or(|met| {
                met.store_id == from.store_id && (met.run == from.run || met.number == 0)
            })
    }
}
