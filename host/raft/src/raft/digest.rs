//! What of a core decides its future: two cores that say the same here do the same from here on. A model check
//! explores states by it, and would otherwise never see one twice, for clocks and counters only grow.

use std::fmt::{Result, Write};
use std::time::Duration;

use crate::raft::Core;
use crate::raft::transfer::LeadershipTransfer;

impl Core {
    /// Writes it to `out`, in a form that is for comparing alone.
    ///
    /// Left out are counters, deadlines, times, leases, the pace of chunks and the generator of timeouts: whoever compares
    /// cores chooses each `now` so that it decides. Numbers of writes count from the next one. Rounds count only while a
    /// read waits for them.
    ///
    /// All fields are named, so that a new one does not compile before someone has decided where it belongs.
    ///
    /// # Errors
    /// Where `out` takes no more.
    pub fn digest(&self, out: &mut impl Write) -> Result {
        let Self {
            config: _,
            rng: _,
            now,
            store_id,
            admission,
            replaced_stores,
            hard_state,
            hard_state_written,
            hard_state_write,
            log,
            role,
            leader,
            election_deadline: _,
            leader_heard_at: _,
            heartbeat_deadline: _,
            votes,
            own_vote_after,
            transfer,
            transferring,
            configurations,
            contacts: _,
            peers,
            tell_commit_at: _,
            term_start,
            uncommitted,
            uncommitted_bytes: _,
            reads,
            lease: _,
            snapshot,
            snapshot_under_way,
            pace: _,
            restoring,
            reinstall,
            reinstalled: _,
            snapshot_retry_at: _,
            apply_read_under_way,
            handed,
            handed_bytes: _,
            write_in_flight,
            next_write,
            full_until,
            out: wanted,
        } = self;
        write!(
            out,
            "{hard_state:?}{hard_state_written}{log:?}{role:?}{leader:?}{votes:?}{transfer}{term_start}{uncommitted:?}"
        )?;
        write!(
            out,
            "{snapshot:?}{snapshot_under_way}{restoring:?}{reinstall:?}{apply_read_under_way}{handed:?}{wanted:?}"
        )?;
        let to = transferring.as_ref().map(LeadershipTransfer::to);
        write!(
            out,
            "{to:?}{configurations:?}{store_id}{admission:?}{replaced_stores:?}"
        )?;
        write!(
            out,
            "{:?}",
            own_vote_after.map(|needed| next_write - needed)
        )?;
        if full_until.is_some() {
            write!(out, "full")?;
        }
        if let Some(write) = write_in_flight {
            // Whether it hangs is asked for; how much longer it has hung is not.
            let hangs = self.config.election_timeout_min + Duration::from_nanos(1);
            let age = now.saturating_sub(write.since).min(hangs);
            write!(
                out,
                "{}{age:?}{}",
                write.up_to,
                write.id == *hard_state_write
            )?;
        }
        for (id, peer) in peers {
            write!(
                out,
                "{id}{}{}{:?}{}{}",
                peer.matched, peer.next, peer.state, peer.reading, peer.told_commit
            )?;
        }
        if reads.are_waiting() {
            let rounds: Vec<u64> = peers.values().map(|peer| peer.round).collect();
            write!(out, "{reads:?}{rounds:?}")?;
        }
        Ok(())
    }
}
