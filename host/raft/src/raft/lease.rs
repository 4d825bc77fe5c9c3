//! Leader lease: linearizable reads without a heartbeat round for each (dissertation §6.4.1).
//!
//! A follower that acknowledges an AppendEntries grants a lease: until the lease ends, it neither campaigns nor votes for
//! another node. The lease lasts for the minimum election timeout, from the moment the request arrived, on the follower's
//! clock. It is leader stickiness (§4.2.3), made explicit in the response. While a majority has granted a lease, no other node
//! can be elected, and no other node can commit an entry. So the leader serves reads from its own commit index.
//!
//! Why this is safe:
//!
//! 1. The leader counts a lease from the *start* of the heartbeat round that was acknowledged. The follower received the
//!    request after that. The leader counts 1 / (1 + drift) of the length. So the lease ends later at the follower than at
//!    the leader, as long as the speeds of two clocks differ by no more than the drift.
//! 2. An election needs a majority, which shares a voter with the majority that granted the lease. In a joint configuration,
//!    this holds for both majorities. So a new leader is elected after the lease has ended.
//! 3. A node that restarts does not know which leases it granted. It withholds its vote for as long as the longest of them may
//!    last. That is the minimum election timeout, also that of earlier runs: settings may have changed, and leases may be off
//!    now. So the store records the longest lease before a run may grant it ([`CoreConfig::longest_lease`]). Once longer leases
//!    of earlier runs have ended, the record is lowered.
//! 4. A voter breaks a lease only for the candidate to which its leader sent TimeoutNow (§3.10). A leader that has sent
//!    TimeoutNow has no lease for the rest of its term, even if it aborts the transfer: the message may arrive late.
//! 5. Only a granted lease counts. A node with this option off grants none. Without a majority of leases, the leader falls
//!    back to a heartbeat round for each read.
//!
//! Two assumptions remain: the bound on the drift, and that no clock stops while its node runs. A virtual machine that
//! is paused or migrated breaks them. So the lease is off unless an operator turns it on.

use std::collections::VecDeque;
use std::time::Duration;

/// Rounds whose start is remembered. A response to an older round grants no lease; a response to a newer one will.
const MAX_ROUNDS: usize = 256;

/// The start times of the leader's heartbeat rounds, from which the leases of followers count.
#[derive(Clone, Debug, Default)]
pub(super) struct Lease {
    /// The last rounds of this term and when each began, in order.
    rounds: VecDeque<(u64, Duration)>,
    /// The leader has sent TimeoutNow in this term, so it has no lease any more.
    invalidated: bool,
}

impl Lease {
    /// The leader has sent TimeoutNow.
    pub(super) fn invalidate(&mut self) {
        self.invalidated = true;
    }

    pub(super) fn is_invalidated(&self) -> bool {
        self.invalidated
    }

    /// A round begins.
    pub(super) fn begin_round(&mut self, round: u64, now: Duration) {
        if self.rounds.len() >= MAX_ROUNDS {
            self.rounds.pop_front();
        }
        self.rounds.push_back((round, now));
    }

    /// When a round of this term began, if it is remembered.
    pub(super) fn began(&self, round: u64) -> Option<Duration> {
        let place = self
            .rounds
            .binary_search_by_key(&round, |&(round, _)| round);
        place.ok().map(|place| self.rounds[place].1)
    }
}
