//! Connections that are not those of members: their peers have sent no accepted hello yet, or one with the id of a node that
//! is no member. Anyone can open one, and without TLS invent an id, so they never keep a member out: where they take too many
//! places, the oldest of them is closed.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use tokio::task::AbortHandle;

use crate::ids::NodeId;

/// The connections that are not those of members, oldest first.
#[derive(Debug)]
pub(super) struct OtherConnections {
    most: usize,
    connections: VecDeque<OtherConnection>,
}

#[derive(Debug)]
struct OtherConnection {
    task: AbortHandle,
    identified: Identified,
}

/// The node in the hello of a connection, once it is accepted.
#[derive(Clone, Debug, Default)]
pub(super) struct Identified(Arc<OnceLock<NodeId>>);

impl Identified {
    pub(super) fn set(&self, id: &NodeId) {
        // A connection has one hello.
        let _ = self.0.set(id.clone());
    }
}

/// Whether one more connection has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Yes.
    Free,
    /// Yes, because the oldest connection that is not of a member was closed.
    ClosedOldest,
    /// No: all connections are those of members.
    None,
}

impl OtherConnections {
    /// They get half of `connections`, which is the limit of all connections.
    pub(super) fn of(connections: usize) -> Self {
        Self {
            most: (connections / 2).max(1),
            connections: VecDeque::new(),
        }
    }

    /// Makes room for one more connection, of which there are `open` now and may be `limit`.
    pub(super) fn make_room(
        &mut self,
        open: usize,
        limit: usize,
        is_member: impl Fn(&NodeId) -> bool,
    ) -> Room {
        self.connections.retain(|other| {
            let is_of_member = other.identified.0.get().is_some_and(&is_member);
            !other.task.is_finished() && !is_of_member
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
            .push_back(OtherConnection { task, identified });
    }
}
