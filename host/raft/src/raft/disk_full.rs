//! A full disk.
//!
//! A write for which the disk has no space changes nothing. It is retried after a maximum election timeout, together
//! with everything that has accumulated, until it succeeds.
//!
//! Until then the node sends nothing that depends on the write: it grants no vote in a new term, acknowledges no entry and
//! does not campaign. A leader rejects proposals and transfers leadership to the voter with the most complete log. If no
//! other node becomes leader, because all disks are full, it stays leader and serves reads.

use std::time::Duration;

use crate::raft::Core;
use crate::raft::ready::WriteId;
use crate::raft::writes::RefusedWrite;

impl Core {
    /// Whether the disk had no space for the last write.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.writes.full_until.is_some()
    }

    /// The disk has no space for the write of this number. Nothing of it is on the disk.
    pub fn write_refused(&mut self, now: Duration, id: WriteId) {
        self.now = self.now.max(now);
        let Some(write) = self.writes.end(id) else {
            return;
        };
        let RefusedWrite {
            written,
            truncate_from,
            hard_state,
        } = write.undo;
        self.log.write_undone(written, truncate_from);
        self.hard_state_written &= !hard_state;
        self.writes.full_until = Some(self.now + self.config.election_timeout_max);
        if self.role.is_leader() {
            // Without another voter, this node stays leader.
            let _ = self.transfer_leadership(self.now, None);
        }
    }

    /// Whether the next write may begin. If a truncation has made it unnecessary, the disk no longer counts as full.
    pub(super) fn may_write(&mut self) -> bool {
        if !self.needs_write() {
            self.writes.full_until = None;
        }
        self.writes.full_until.is_none_or(|until| until <= self.now)
    }
}
