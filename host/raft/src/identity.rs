//! What nodes know of each other's stores: the hello that each connection begins with, and what a node remembers of it.
//!
//! A store has a random id, and each run of a node on it has a random id as well. Votes and acknowledgements are counted only from
//! the store that the configuration names, in the run that the node met last. So a store that was replaced, or a copy of an
//! older state of a store, does not count. Decision record 0028 has the reasons.

#[cfg(test)]
mod tests;

use crate::ids::{Lineage, NodeId, StoreId};

/// Runs that a store remembers, and that a hello contains.
pub const MAX_RUNS: usize = 16;
/// Replaced stores that a node remembers of one peer.
pub const MAX_REPLACED: usize = 8;
/// Peers that a node remembers.
pub const MAX_MET: usize = 128;

/// Random number of a run: of a node between its start and its end. 0: unknown.
pub type RunId = u64;

/// The sender of a message, by the hello of its connection. Nothing of it is in the message itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The node.
    pub id: NodeId,
    /// Its store; [`StoreId::NONE`] on a connection of protocol 1.
    pub store_id: StoreId,
    /// Its run; 0 on a connection of protocol 1.
    pub run: RunId,
}

/// A node of which only the id is known.
impl From<NodeId> for Sender {
    fn from(id: NodeId) -> Self {
        Self {
            id,
            store_id: StoreId::NONE,
            run: 0,
        }
    }
}

/// A node of which only the id is known.
impl From<&NodeId> for Sender {
    fn from(id: &NodeId) -> Self {
        id.clone().into()
    }
}

/// A node of which only the id is known.
impl From<&str> for Sender {
    fn from(id: &str) -> Self {
        NodeId::from(id).into()
    }
}

/// The runs of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunHistory {
    /// Number of the current run. Grows by one with each run; 0: not recorded.
    pub number: u64,
    /// The ids of the last runs, the current one first, then the ones before it: at most [`MAX_RUNS`].
    pub recent: Vec<RunId>,
}

impl RunHistory {
    /// Id of the current run; 0 if it is not recorded.
    #[must_use]
    pub fn current(&self) -> RunId {
        self.recent.first().copied().unwrap_or_default()
    }

    /// Id of the run of this number, if the history still has it.
    #[must_use]
    pub fn at(&self, number: u64) -> Option<RunId> {
        let age = self.number.checked_sub(number)?;
        self.recent.get(usize::try_from(age).ok()?).copied()
    }

    /// The history after another run has begun.
    #[must_use]
    pub fn next(&self, run: RunId) -> Self {
        let before = self.recent.iter().copied();
        Self {
            number: self.number.saturating_add(1),
            recent: std::iter::once(run).chain(before).take(MAX_RUNS).collect(),
        }
    }
}

/// How a node describes itself in its hello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Id of its store.
    pub store_id: StoreId,
    /// The runs of its store.
    pub runs: RunHistory,
    /// Lineage and whether it has a log.
    pub history: History,
    /// The level of its cluster, as far as it is committed. Connections of a node that does not know it are refused.
    pub cluster_level: u32,
    /// The highest level that it knows.
    pub known_level: u32,
}

/// The history that a log is part of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The committed lineage.
    pub lineage: Lineage,
    /// Whether log or snapshot contain anything.
    pub has_log: bool,
}

impl History {
    /// Whether two nodes can't be members of one cluster. An empty log fits to every history. A log without a lineage fits to a
    /// cluster that was raised from level 0: its node may lack the entry of the raise.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        if !self.has_log || !other.has_log || self.lineage == other.lineage {
            return false;
        }
        match (self.lineage, other.lineage) {
            (Lineage::NONE, begun) | (begun, Lineage::NONE) => begun.is_from_bootstrap(),
            _ => true,
        }
    }
}

/// The hello of a peer, which it sends at the begin of each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerHello {
    /// The peer.
    pub id: NodeId,
    /// Version of the protocol of the connection.
    pub protocol: u16,
    /// Id of its store; [`StoreId::NONE`] in protocol 1.
    pub store_id: StoreId,
    /// The runs of its store; none in protocol 1.
    pub runs: RunHistory,
    /// Its history. In protocol 1 it is unknown, and equal to that of an empty log.
    pub history: History,
    /// The highest cluster level that it knows; 0 in protocol 1.
    pub known_level: u32,
    /// The address that its peers reach it at; empty in protocol 1, or if it has none.
    pub peer_addr: String,
}

impl PeerHello {
    /// The sender of the messages on this connection.
    #[must_use]
    pub fn sender(&self) -> Sender {
        Sender {
            id: self.id.clone(),
            store_id: self.store_id,
            run: self.runs.current(),
        }
    }
}

/// The store and the run in which a node has met a peer last. It is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetPeer {
    /// Id of the store.
    pub store_id: StoreId,
    /// Number of the run.
    pub number: u64,
    /// Id of the run.
    pub run: RunId,
    /// Stores that it had before, the oldest first: at most [`MAX_REPLACED`]. They never count again.
    pub replaced: Vec<StoreId>,
}

/// How a hello relates to what is remembered of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloVerdict {
    /// The run that was met before.
    Known,
    /// A later run, or a new store: it has been recorded.
    Recorded,
    /// A store that was replaced, or a copy of an older state of the store: the peer went backwards.
    Outdated,
}

impl MetPeer {
    /// A peer that is met for the first time.
    #[must_use]
    pub fn first(hello: &PeerHello) -> Self {
        Self {
            store_id: hello.store_id,
            number: hello.runs.number,
            run: hello.runs.current(),
            replaced: Vec::new(),
        }
    }

    /// Compares a hello with what is remembered, and records it unless it is outdated.
    pub fn meet(&mut self, hello: &PeerHello) -> HelloVerdict {
        if self.replaced.contains(&hello.store_id) {
            return HelloVerdict::Outdated;
        }
        if self.store_id == hello.store_id {
            // Numbers of a history that is no continuation of the run that was met: it is that of a copy.
            let forked = hello
                .runs
                .at(self.number)
                .is_some_and(|run| run != self.run);
            if hello.runs.number < self.number || forked {
                return HelloVerdict::Outdated;
            }
            if hello.runs.number == self.number {
                return HelloVerdict::Known;
            }
        } else {
            self.replaced.push(self.store_id);
            let superfluous = self.replaced.len().saturating_sub(MAX_REPLACED);
            self.replaced.drain(..superfluous);
        }
        self.store_id = hello.store_id;
        self.number = hello.runs.number;
        self.run = hello.runs.current();
        HelloVerdict::Recorded
    }
}
