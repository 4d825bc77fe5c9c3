//! Leader lease: linearizable reads without a round for each (dissertation §6.4.1).
//!
//! A follower that answers an AppendEntries promises that it will neither campaign nor vote for another node for the
//! shortest election timeout, counted on its own clock from the moment the message came: leader stickiness (§4.2.3),
//! put into the answer. A leader that holds such promises of a majority knows that no other node can be elected before
//! they end, so that nobody else commits anything, and answers reads from its own commit index at once.
//!
//! Why this is sound:
//!
//! 1. The leader counts a promise from when it *began* the round that is answered, which is before the follower heard
//!    of it, and for 1 / (1 + drift) of its length. As long as no two clocks differ in speed by more than the drift,
//!    the promise lasts longer at the follower than at the leader.
//! 2. Whoever is elected needs a majority, which shares a voter with the one that made the promises; during a change
//!    of the members both majorities are asked on either side. So it is elected after the lease has ended.
//! 3. A node that starts does not know what it has promised before: it abstains for a shortest election timeout.
//! 4. A voter breaks its promise for one candidate alone, the one whom its leader told to campaign (§3.10). A leader
//!    that has told anybody so has no lease for the rest of its term, also where it gave the transfer up: the order may
//!    arrive late.
//! 5. Only what is promised counts. A node without this option promises nothing, and the leader falls back to a round
//!    for each read, as it does whenever its lease has run out.
//!
//! What it rests on and can't check is the drift, and that a clock that stands still stops the node as well. A virtual
//! machine that is paused or moved breaks that, so the lease is off unless an operator who knows asks for it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ids::NodeId;
use crate::message::AppendEntriesResponse;
use crate::raft::{Core, Role};

/// Rounds whose beginning is remembered. The answer to an older one gives no lease, and a newer one will.
const MOST_ROUNDS: usize = 256;

/// What both sides of a lease know.
#[derive(Clone, Debug, Default)]
pub(super) struct Lease {
    /// As a follower: no vote before this, but at the leader's own wish.
    promised_until: Duration,
    /// As a leader: when the last rounds of this term began, in order.
    rounds: VecDeque<(u64, Duration)>,
    /// As a leader: somebody was told to campaign in this term.
    invalidated: bool,
}

impl Lease {
    /// A new term is led: what was known of another one is void.
    pub(super) fn begin_term(&mut self) {
        self.rounds.clear();
        self.invalidated = false;
    }

    /// Somebody is told to campaign.
    pub(super) fn invalidate(&mut self) {
        self.invalidated = true;
    }

    fn began(&self, round: u64) -> Option<Duration> {
        let place = self
            .rounds
            .binary_search_by_key(&round, |&(round, _)| round);
        place.ok().map(|place| self.rounds[place].1)
    }
}

impl Core {
    /// A node that starts may have promised something just before.
    pub(super) fn abstain_at_first(&mut self) {
        if self.config.lease_drift_percent.is_some() {
            self.lease.promised_until = self.now + self.config.election_timeout_min;
        }
    }

    /// Whether a promise keeps this node from voting.
    pub(super) fn is_promised(&self) -> bool {
        self.now < self.lease.promised_until
    }

    /// Promises the leader that was just heard not to vote for another one. Says for how long, in milliseconds.
    pub(super) fn promise(&mut self) -> Option<u64> {
        self.config.lease_drift_percent?;
        let length = self.config.election_timeout_min;
        self.lease.promised_until = self.lease.promised_until.max(self.now + length);
        u64::try_from(length.as_millis()).ok()
    }

    /// A round begins now.
    pub(super) fn note_round(&mut self) {
        if self.config.lease_drift_percent.is_none() {
            return;
        }
        let rounds = &mut self.lease.rounds;
        if rounds.len() >= MOST_ROUNDS {
            rounds.pop_front();
        }
        rounds.push_back((self.reads.round(), self.now));
    }

    /// A follower has answered, and promised.
    pub(super) fn on_lease_granted(
        &mut self,
        from: &NodeId,
        answer: &AppendEntriesResponse,
        ms: u64,
    ) {
        let current = self.role == Role::Leader && answer.term == self.hard_state.term;
        let began = self.lease.began(answer.round).filter(|_| current);
        let (Some(drift), Some(began)) = (self.config.lease_drift_percent, began) else {
            return;
        };
        // No promise counts for longer than this node would make one: a number of a peer can't stretch a lease.
        let length = Duration::from_millis(ms).min(self.config.election_timeout_min);
        let counts = length * 100 / (100 + drift);
        if let Some(peer) = self.peers.get_mut(from) {
            peer.promised_until = peer.promised_until.max(began + counts);
        }
    }

    /// Until when no other node can be elected, on this leader's clock; none without a lease.
    #[must_use]
    pub fn lease_until(&self) -> Option<Duration> {
        self.config.lease_drift_percent?;
        let void = self.lease.invalidated || self.transferring.is_some();
        if void || !self.has_committed_in_term() {
            return None;
        }
        let until = self.membership().reached(|voter| {
            if *voter == self.config.id {
                return Duration::MAX;
            }
            let peer = self.peers.get(voter);
            peer.map_or(Duration::ZERO, |peer| peer.promised_until)
        });
        (self.now < until).then_some(until)
    }
}
