//! A full disk. A write that it had no room for has left nothing behind; it is kept, and tried again at most once in a
//! longest election timeout, with all that has gathered meanwhile, until there is room.
//!
//! Until then the node says nothing that would need that write: it votes for nobody in a new term, acknowledges no
//! entry, does not campaign. A leader takes no proposals and asks the voter that has the most of the log to take over;
//! where nobody does, because all disks are full, it leads on, so that reads are answered.

use std::time::Duration;

use crate::ids::Index;
use crate::raft::ready::WriteId;
use crate::raft::{Core, Role};

/// What a write has taken.
#[derive(Clone, Debug)]
pub(super) struct RefusedWrite {
    /// Entries up to here had been handed to writes before.
    pub(super) written: Index,
    /// Entries from here on were to be removed.
    pub(super) truncate_from: Option<Index>,
    /// Term and vote were in it.
    pub(super) hard_state: bool,
}

impl Core {
    /// Whether the disk had no room for the last write.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.full_until.is_some()
    }

    /// The disk has no room for the write of this number, and nothing of it is there.
    pub fn write_refused(&mut self, now: Duration, id: WriteId) {
        self.now = self.now.max(now);
        let Some(write) = self.write_in_flight.take_if(|write| write.id == id) else {
            return;
        };
        let RefusedWrite {
            written,
            truncate_from,
            hard_state,
        } = write.taken;
        self.log.write_undone(written, truncate_from);
        self.hard_state_written &= !hard_state;
        self.full_until = Some(self.now + self.config.election_timeout_max);
        if self.role == Role::Leader {
            // Where nobody else can lead there is nothing to be done about it.
            let _ = self.transfer_leadership(self.now, None);
        }
    }

    /// Whether the next write may be tried. What was truncated meanwhile needs none.
    pub(super) fn has_room_for_write(&mut self) -> bool {
        if !self.needs_write() {
            self.full_until = None;
        }
        self.full_until.is_none_or(|until| until <= self.now)
    }
}
