//! Connections whose peers have not sent an accepted hello yet. Anyone can open one, so they never keep a member out: where
//! they take too many places, the oldest of them is closed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::AbortHandle;

/// See the module.
#[derive(Debug)]
pub(super) struct Unidentified {
    most: usize,
    connections: VecDeque<PendingConnection>,
}

#[derive(Debug)]
struct PendingConnection {
    task: AbortHandle,
    identified: Identified,
}

/// Set once the hello of a peer is accepted.
#[derive(Clone, Debug, Default)]
pub(super) struct Identified(Arc<AtomicBool>);

impl Identified {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Unidentified {
    /// They get half of `connections`, which is the limit of all connections.
    pub(super) fn of(connections: usize) -> Self {
        Self {
            most: (connections / 2).max(1),
            connections: VecDeque::new(),
        }
    }

    /// Makes room for one more connection, of which there are `open` now and may be `limit`. Returns whether there is room.
    pub(super) fn make_room(&mut self, open: usize, limit: usize) -> bool {
        self.connections.retain(|pending| {
            !pending.task.is_finished() && !pending.identified.0.load(Ordering::Relaxed)
        });
        if self.connections.len() < self.most && open < limit {
            return true;
        }
        let Some(oldest) = self.connections.pop_front() else {
            return false;
        };
        tracing::warn!("too many connections without a hello: the oldest is closed");
        oldest.task.abort();
        true
    }

    /// Adds a connection.
    pub(super) fn add(&mut self, task: AbortHandle, identified: Identified) {
        self.connections
            .push_back(PendingConnection { task, identified });
    }
}
