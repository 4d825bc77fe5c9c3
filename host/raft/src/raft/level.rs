//! The cluster level: which formats and semantics all members know.
//!
//! At level 0 a node behaves on the wire, in the log and in snapshots exactly as the release before this one. A cluster that is
//! bootstrapped by nodes that all know a higher level begins there. An older one is raised by an operator, with one entry, once
//! each member has shown in its hello that it knows the level. Decision record 0029 has the reasons.

use crate::entry::{ClusterRecord, ClusterState, CommandClass, Payload};
use crate::ids::{Index, Lineage, NodeId, StoreId};
use crate::message::RaiseError;
use crate::raft::membership::{Member, Membership};
use crate::raft::{Core, ProposeError};

/// The progress of a raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaiseProgress {
    /// The level is committed, by the entry at this index or before.
    Done(Index),
    /// The entry is not committed yet.
    InProgress,
}

impl Core {
    /// Level and lineage of the cluster, as far as this node knows them to be committed.
    #[must_use]
    pub fn cluster(&self) -> ClusterState {
        self.clusters.committed(self.log.committed())
    }

    /// Raises the cluster to the highest level that this node knows. Repeat the call until it returns [`RaiseProgress::Done`].
    ///
    /// # Errors
    /// If this node is not the leader, a change of the members is in progress, or a member has not shown that it knows the level.
    pub fn raise_level(
        &mut self,
        now: std::time::Duration,
        wall_ms: u64,
    ) -> Result<RaiseProgress, RaiseError> {
        self.now = self.now.max(now);
        if !self.role.is_leader() {
            return Err(RaiseError::NotLeader);
        }
        let level = self.config.known_level;
        if self.cluster().level >= level {
            return Ok(RaiseProgress::Done(self.log.committed()));
        }
        if self.clusters.current().level >= level {
            return Ok(RaiseProgress::InProgress);
        }
        if !self.may_change_members() {
            return Err(RaiseError::Busy);
        }
        if let Some(node) = self.member_below(level) {
            return Err(RaiseError::UnknownLevel { node, level });
        }
        self.check_bounds(CommandClass::Control)
            .map_err(|error| match error {
                ProposeError::Overloaded { what } => RaiseError::Overloaded {
                    what: what.to_owned(),
                },
                _ => RaiseError::Busy,
            })?;
        let record = ClusterRecord {
            level,
            lineage: self.lineage_at_raise(),
            membership: self.with_known_stores(),
            settings: self.config.initial_settings.clone(),
        };
        self.append_own(wall_ms, Payload::Cluster(Box::new(record)));
        Ok(RaiseProgress::InProgress)
    }

    /// A member whose latest hello does not show that it knows `level`.
    fn member_below(&self, level: u32) -> Option<NodeId> {
        let knows = |id: &NodeId| {
            let hello = self.met.hello(id);
            *id == self.config.id || hello.is_some_and(|hello| hello.known_level >= level)
        };
        let mut members = self.membership().members().keys();
        members.find(|id| !knows(id)).cloned()
    }

    /// The lineage of the cluster stays; one at level 0 gets its first.
    fn lineage_at_raise(&self) -> Lineage {
        match self.clusters.current().lineage {
            Lineage::NONE => Lineage::at_raise(self.config.new_lineage.0),
            lineage => lineage,
        }
    }

    /// The configuration in effect. A voter whose store it does not name gets the store of its latest hello: above level 0, each
    /// vote and acknowledgement shows its store.
    fn with_known_stores(&self) -> Membership {
        let named = |(id, member): (&NodeId, &Member)| {
            let mut member = member.clone();
            if member.store_id == StoreId::NONE && self.membership().is_voter(id) {
                let own = (*id == self.config.id).then_some(self.store_id);
                member.store_id = own.or(self.met.store_id(id)).unwrap_or_default();
            }
            (id.clone(), member)
        };
        Membership::new(self.membership().members().iter().map(named).collect())
    }

    /// Level and lineage of a cluster that this node bootstraps with these initial members: the highest level that all of them
    /// know. None at level 0.
    pub(super) fn state_at_bootstrap(&self) -> Option<ClusterState> {
        let others = self.config.voters.iter();
        let others = others.filter(|id| **id != self.config.id);
        let known = others.map(|id| self.met.hello(id).map_or(0, |hello| hello.known_level));
        let level = known.fold(self.config.known_level, u32::min);
        let lineage = Lineage::at_bootstrap(self.config.new_lineage.0);
        (level > 0).then_some(ClusterState { level, lineage })
    }
}
