//! The part of a core that decides its future behaviour. A model checker compares states by it. Without it, no two states
//! would be equal, because clocks and counters only grow.

use std::fmt::{Result, Write};
use std::time::Duration;

use crate::raft::Core;
use crate::raft::role::{Leader, RoleState};

impl Core {
    /// Writes the digest to `out`, in a form that is only good for comparison.
    ///
    /// Not included: counters, deadlines, times, clocks, leases, the rate of chunks and the generator of timeouts. The caller controls
    /// their effects, because it chooses each `now`. Numbers of writes count relative to the next one. Rounds count only
    /// while a read waits for them.
    ///
    /// All fields are named, so a new field does not compile until its place is decided.
    ///
    /// # Errors
    /// If `out` returns an error.
    pub fn digest(&self, out: &mut impl Write) -> Result {
        let Self {
            config: _,
            rng: _,
            now,
            hard_state,
            hard_state_written,
            hard_state_write,
            log,
            configurations,
            clusters,
            store_id,
            ineligible,
            replacing_store,
            runs: _,
            met,
            announced: _,
            fault,
            fault_reported: _,
            role,
            election_deadline: _,
            lease_granted_until: _,
            earlier_leases_end: _,
            round: _,
            forwarded_reads,
            replaced_stores,
            clocks: _,
            contacts: _,
            writes,
            unapplied,
            apply_read_in_flight,
            snapshot,
            checks,
            taking_snapshot,
            retaining,
            receiving,
            snapshot_retry_at: _,
            restoring,
            chunk_rate: _,
            reinstallation,
            out: wanted,
        } = self;
        let leader = self.leader();
        write!(
            out,
            "{hard_state:?}{hard_state_written}{log:?}{:?}{leader:?}",
            role.kind()
        )?;
        write!(
            out,
            "{snapshot:?}{taking_snapshot}{retaining}{receiving}{restoring:?}{:?}{apply_read_in_flight}{unapplied:?}{wanted:?}",
            reinstallation.step
        )?;
        write!(out, "{}", checks.situation())?;
        write!(
            out,
            "{configurations:?}{clusters:?}{store_id}{ineligible:?}{replaced_stores:?}{replacing_store}{met:?}{fault:?}"
        )?;
        match role {
            RoleState::Follower { leader: _ } => {}
            RoleState::PreCandidate { votes } => write!(out, "{votes:?}")?,
            RoleState::Candidate {
                votes,
                own_vote_after,
                by_transfer,
            } => {
                let own_vote_after = own_vote_after.map(|needed| writes.next - needed);
                write!(out, "{votes:?}{own_vote_after:?}{by_transfer}")?;
            }
            RoleState::Leader(leader) => self.digest_leader(leader, out)?,
        }
        if writes.full_until.is_some() {
            write!(out, "full")?;
        }
        if let Some(write) = &writes.in_flight {
            // Only whether the write hangs decides, not for how long.
            let hangs = self.config.election_timeout_min + Duration::from_nanos(1);
            let age = now.saturating_sub(write.since).min(hangs);
            write!(
                out,
                "{}{age:?}{}",
                write.up_to,
                write.id == *hard_state_write
            )?;
        }
        if !forwarded_reads.is_empty() {
            write!(out, "{forwarded_reads:?}")?;
        }
        Ok(())
    }

    fn digest_leader(&self, leader: &Leader, out: &mut impl Write) -> Result {
        let Leader {
            peers,
            term_start,
            uncommitted,
            reads,
            lease: _,
            transfer,
            heartbeat_deadline: _,
            quorum_check_deadline: _,
            commit_notice_deadline: _,
        } = leader;
        let to = transfer.as_ref().map(|transfer| &transfer.to);
        write!(out, "{term_start}{uncommitted:?}{to:?}")?;
        for (id, peer) in peers {
            write!(
                out,
                "{id}{}{}{:?}{}{}",
                peer.matched, peer.next, peer.state, peer.reading, peer.sent_commit
            )?;
        }
        if !reads.queue.is_empty() {
            let rounds: Vec<u64> = peers.values().map(|peer| peer.round).collect();
            write!(out, "{}{reads:?}{rounds:?}", self.round)?;
        }
        Ok(())
    }
}
