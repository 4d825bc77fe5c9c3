//! Nodes of this release and of the one before in one cluster. The one before knows cluster level 0 and protocol 1: no hello
//! shows a store or a run, and messages that protocol 1 does not know are not sent.

use std::time::Duration;

use task_queue_raft::CLUSTER_LEVEL;
use task_queue_raft::identity::{NodeIdentity, PeerHello, RunHistory};
use task_queue_raft::message::{AdminRequest, Message};
use task_queue_raft::raft::Core;

use super::node::Node;
use super::{Tag, World};
use crate::sim::planted::Planted;
use crate::sim::profile::Releases;
use crate::sim::violation::Violation;

impl World {
    /// The release of a process that starts.
    pub(super) fn choose_release(&mut self, node: usize) {
        let before = self.nodes[node].known_level;
        self.nodes[node].known_level = match self.profile.releases {
            Releases::Old => 0,
            Releases::New => CLUSTER_LEVEL,
            Releases::Rollout if self.raised || self.calm => CLUSTER_LEVEL.max(before),
            Releases::Rollout => self.rng.pick(&[0, CLUSTER_LEVEL]),
        };
        self.coverage.old_starts += u64::from(!self.is_current(node));
    }

    /// Whether the node's process is one of this release.
    pub(super) fn is_current(&self, node: usize) -> bool {
        self.profile.releases != Releases::Rollout || self.nodes[node].known_level > 0
    }

    /// Whether both nodes speak protocol 2.
    pub(super) fn is_current_link(&self, from: usize, to: usize) -> bool {
        self.is_current(from) && self.is_current(to)
    }

    /// Whether a message can be sent from one node to another. Above level 0 no node of the release before is connected.
    pub(super) fn passes(&self, from: usize, to: usize, message: &Message) -> bool {
        if self.is_current_link(from, to) {
            return true;
        }
        let level = |node: &Node| node.core().map_or(0, |core| core.cluster().level);
        let raised = level(&self.nodes[from]).max(level(&self.nodes[to])) > 0;
        let protocol = match message {
            Message::Request(request) => request.min_protocol(),
            Message::Response(response) => response.min_protocol(),
        };
        !raised && protocol <= 1
    }

    /// The hello of a node to another one.
    pub(super) fn hello(&self, from: usize, to: usize, core: &Core) -> PeerHello {
        let identity = core.identity();
        let current = self.is_current_link(from, to);
        let stores = self.planted != Some(Planted::StoresNotChecked);
        // Protocol 1 has none of it.
        let mut shown = if current && stores {
            identity
        } else {
            NodeIdentity::default()
        };
        if self.planted == Some(Planted::RunsNotChecked) {
            shown.runs = RunHistory::default();
        }
        PeerHello {
            id: self.ids[from].clone(),
            protocol: 1 + u16::from(current),
            store_id: shown.store_id,
            runs: shown.runs,
            history: shown.history,
            known_level: self.shown_level(shown.known_level),
            peer_addr: String::new(),
        }
    }

    /// The level that a hello shows; planted: always the highest.
    fn shown_level(&self, level: u32) -> u32 {
        if self.planted == Some(Planted::LevelClaimed) {
            return CLUSTER_LEVEL;
        }
        level
    }

    /// What a connection from one node to another shows of the sender's store and run.
    pub(super) fn tag_on_link(&self, from: usize, to: usize) -> Tag {
        let (store_id, run) = self.tag_of(from);
        match self.planted {
            _ if !self.is_current_link(from, to) => Tag::default(),
            Some(Planted::StoresNotChecked) => Tag::default(),
            Some(Planted::RunsNotChecked) => (store_id, 0),
            _ => (store_id, run),
        }
    }

    /// An operator raises the level. Nodes that are no members are updated for that; an old member makes it fail.
    pub(super) fn order_raise(&mut self) -> Result<(), Violation> {
        self.raised = true;
        let members = self.members();
        for node in 0..self.nodes.len() {
            if !members.contains(&node) && !self.is_current(node) {
                self.crash(node, Duration::ZERO)?;
            }
        }
        self.order(AdminRequest::RaiseLevel);
        Ok(())
    }

    /// All nodes get this release.
    pub(super) fn update_all(&mut self) -> Result<(), Violation> {
        for node in 0..self.nodes.len() {
            if !self.is_current(node) {
                self.crash(node, Duration::ZERO)?;
            }
        }
        Ok(())
    }
}
