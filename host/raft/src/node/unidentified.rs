//! Connections whose peers have not sent an accepted hello yet. Anyone can open one, so they never keep a member out: where
//! they take too many places, the oldest of them is closed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::AbortHandle;

/// The connections without a hello, oldest first.
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

/// Whether one more connection has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Yes.
    Free,
    /// Yes, because the oldest connection without a hello was closed.
    ClosedOldest,
    /// No: all connections are those of nodes.
    None,
}

impl Unidentified {
    /// They get half of `connections`, which is the limit of all connections.
    pub(super) fn of(connections: usize) -> Self {
        Self {
            most: (connections / 2).max(1),
            connections: VecDeque::new(),
        }
    }

    /// Makes room for one more connection, of which there are `open` now and may be `limit`.
    pub(super) fn make_room(&mut self, open: usize, limit: usize) -> Room {
        self.connections.retain(|pending| {
            !pending.task.is_finished() && !pending.identified.0.load(Ordering::Relaxed)
        });
        if self.connections.len() < self.most && open < limit {
            return Room::Free;
        }
        let Some(oldest) = self.connections.pop_front() else {
            return Room::None;
        };
        oldest.task.abort();
        Room::ClosedOldest
    }

    /// Adds a connection.
    pub(super) fn add(&mut self, task: AbortHandle, identified: Identified) {
        self.connections
            .push_back(PendingConnection { task, identified });
    }
}
