//! Limits of the log and of uncommitted entries, and the reserve above them for control records.
//!
//! A log that is full accepts no commands of clients until a snapshot allows compaction. What ends this state must still be
//! possible: an upgrade, where the guest can't write a snapshot, or a change of members or settings. So control records may
//! use [`Limits::reserved_entries`](super::Limits::reserved_entries) above the limit, and reports of nodes half of them.
//!
//! The leader does not wait for a follower whose state machine is slow, and a log is compacted only as far as the machine has
//! applied it. So such a follower accepts no more entries above a limit of its own. If it lags far enough, it gets a snapshot.

use std::time::Duration;

use crate::entry::{Command, CommandClass, Payload};
use crate::ids::{Index, LogId};
use crate::raft::{Core, ProposeError};

/// While its machine lags, a follower accepts entries up to this multiple of the longest log of a leader: those that the
/// leader has, and as many that the leader has compacted.
const MAX_FOLLOWER_FACTOR: u64 = 2;

impl Core {
    /// Appends an entry with these commands to the leader's log. `wall_ms` is this node's wall clock, in milliseconds since
    /// 1970. The time of the entry follows from it by the rules of [`clock`](super::clock).
    ///
    /// # Errors
    /// If this node is not the leader, or a limit is reached.
    pub fn propose(
        &mut self,
        now: Duration,
        wall_ms: u64,
        commands: Vec<Command>,
    ) -> Result<LogId, ProposeError> {
        self.propose_as(CommandClass::Client, now, wall_ms, commands)
    }

    /// Whether [`Core::propose`] would accept a proposal now.
    ///
    /// # Errors
    /// As [`Core::propose`].
    pub fn check_room(&self) -> Result<(), ProposeError> {
        self.check_room_for(CommandClass::Client)
    }

    /// Appends an entry like [`Core::propose`], under the limits of a class. No command may be of an earlier class.
    ///
    /// # Errors
    /// If this node is not the leader, or a limit of the class is reached.
    pub fn propose_as(
        &mut self,
        class: CommandClass,
        now: Duration,
        wall_ms: u64,
        commands: Vec<Command>,
    ) -> Result<LogId, ProposeError> {
        self.now = self.now.max(now);
        self.check_room_for(class)?;
        Ok(self.append_own(wall_ms, Payload::Commands(commands)))
    }

    /// Whether [`Core::propose_as`] would accept a proposal of this class now.
    ///
    /// # Errors
    /// As [`Core::propose_as`].
    pub fn check_room_for(&self, class: CommandClass) -> Result<(), ProposeError> {
        let leader = self.role.as_leader().ok_or(ProposeError::NotLeader)?;
        if leader.transfer.is_some() {
            return Err(ProposeError::Transferring);
        }
        self.check_bounds(class)?;
        if !self.knows_log_time() {
            return Err(ProposeError::TimeUnknown);
        }
        Ok(())
    }

    /// The earliest class that [`Core::propose_as`] would accept now.
    ///
    /// # Errors
    /// As [`Core::propose_as`]: it accepts none.
    pub fn class_with_room(&self) -> Result<CommandClass, ProposeError> {
        let classes = [CommandClass::Client, CommandClass::Report];
        let mut classes = classes.into_iter();
        match classes.find(|class| self.check_room_for(*class).is_ok()) {
            Some(class) => Ok(class),
            None => self
                .check_room_for(CommandClass::Control)
                .map(|()| CommandClass::Control),
        }
    }

    /// Whether the limits allow another entry of this class from this leader.
    pub(super) fn check_bounds(&self, class: CommandClass) -> Result<(), ProposeError> {
        if self.is_disk_full() {
            return Err(ProposeError::DiskFull);
        }
        let limits = &self.config.limits;
        let (entries, bytes) = match class {
            CommandClass::Client => (0, 0),
            CommandClass::Report => (limits.reserved_entries / 2, limits.reserved_bytes / 2),
            CommandClass::Control => (limits.reserved_entries, limits.reserved_bytes),
        };
        let leader = self.role.as_leader();
        let uncommitted = leader.map_or(0, |leader| leader.uncommitted.bytes());
        if uncommitted >= limits.uncommitted_bytes.saturating_add(bytes) {
            return Err(ProposeError::Overloaded {
                what: "uncommitted entries",
            });
        }
        if self.log.len() >= self.config.max_log_entries.saturating_add(entries) {
            return Err(ProposeError::Overloaded {
                what: "entries since the last snapshot",
            });
        }
        Ok(())
    }

    /// Whether this follower accepts no more entries for now, because its machine lags behind this commit index of the leader
    /// and the log is long. It ends once the machine has caught up. So the machine alone decides how long it lasts: neither
    /// a commit nor another node must happen first.
    pub(super) fn lags_too_far(&self, leader_commit: Index) -> bool {
        let longest = self
            .config
            .max_log_entries
            .saturating_add(self.config.limits.reserved_entries);
        let committed = leader_commit.max(self.log.committed);
        let behind = self.log.applied < committed.min(self.log.last().index);
        (behind || self.taking_snapshot || self.retaining > 0)
            && self.log.len() >= MAX_FOLLOWER_FACTOR.saturating_mul(longest)
    }

    /// Entries in the log above the limit for commands of clients.
    #[must_use]
    pub fn reserve_used(&self) -> u64 {
        self.log.len().saturating_sub(self.config.max_log_entries)
    }
}
