//! Reads that wait: on a leader for a confirmation of its leadership, on another node for the leader's response.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::ids::{Index, NodeId};
use crate::raft::ready::ReadState;

/// The origin of a read.
#[derive(Clone, Debug)]
pub(super) enum Reader {
    /// A client of this node; the number identifies the read.
    Local(u64),
    /// Another node, which identifies the read by this number.
    Peer(NodeId, u64),
}

/// A read that waits until a majority has confirmed the leader.
#[derive(Clone, Debug)]
pub(super) struct PendingRead {
    pub(super) reader: Reader,
    /// The commit index when the read arrived; none if the leader had not committed an entry of its term by then.
    pub(super) index: Option<Index>,
    /// The first heartbeat round that began after the read arrived.
    pub(super) round: u64,
}

/// The reads that wait on a leader.
#[derive(Clone, Debug)]
pub(super) struct PendingReads {
    /// A majority has responded to this heartbeat round, or to a later one.
    pub(super) confirmed_round: u64,
    /// In the order of arrival, so rounds never decrease.
    pub(super) queue: VecDeque<PendingRead>,
}

impl PendingReads {
    /// A new leader: rounds up to `round` belong to earlier terms and confirm nothing.
    pub(super) fn new(round: u64) -> Self {
        Self {
            confirmed_round: round,
            queue: VecDeque::new(),
        }
    }

    /// Fails the reads of this node's clients: the leader steps down. Other nodes time out by themselves.
    pub(super) fn fail(&mut self, out: &mut Vec<ReadState>) {
        out.extend(self.queue.drain(..).filter_map(|read| match read.reader {
            Reader::Local(id) => Some(ReadState { id, index: None }),
            Reader::Peer(..) => None,
        }));
    }
}

/// Reads that this node sent to its leader.
#[derive(Clone, Debug, Default)]
pub(super) struct ForwardedReads {
    /// When each read was sent.
    sent: BTreeMap<u64, Duration>,
    /// No read in `sent` is older than this. Saves a scan on most ticks.
    oldest: Duration,
}

impl ForwardedReads {
    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    pub(super) fn insert(&mut self, id: u64, now: Duration) {
        if self.sent.is_empty() {
            self.oldest = now;
        }
        self.sent.insert(id, now);
    }

    /// The leader has responded. Returns false if the read is not known any more.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        self.sent.remove(&id).is_some()
    }

    /// Fails all reads: the leader or the term has changed.
    pub(super) fn fail(&mut self, out: &mut Vec<ReadState>) {
        let ids = std::mem::take(&mut self.sent).into_keys();
        out.extend(ids.map(|id| ReadState { id, index: None }));
    }

    /// Fails the reads that were sent `timeout` ago or earlier: the request or the response was lost.
    pub(super) fn expire(&mut self, now: Duration, timeout: Duration, out: &mut Vec<ReadState>) {
        if now.saturating_sub(self.oldest) < timeout {
            return;
        }
        self.oldest = now;
        self.sent.retain(|&id, &mut at| {
            let waits = now.saturating_sub(at) < timeout;
            if waits {
                self.oldest = self.oldest.min(at);
            } else {
                out.push(ReadState { id, index: None });
            }
            waits
        });
    }
}
