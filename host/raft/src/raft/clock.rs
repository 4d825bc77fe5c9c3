//! The clocks of the voters, as one node knows them, and the time of the log that follows from them.
//!
//! The time in the log decides when leases, delays, timers and idempotency keys end. One wrong clock must not decide that.
//! So the nodes report their wall clocks: in response to the leader's [`RaftRequest::Clock`](crate::message::RaftRequest),
//! and with each vote. The *cluster's clock* is the latest time that the clocks of a majority of the voters have reached.
//! Rules, with the bound [`CoreConfig::max_clock_skew`](crate::raft::CoreConfig):
//!
//! 1. A leader stamps entries with its own clock, but no later than the cluster's clock plus the bound. If its own clock is
//!    outside of the bound, or the clocks that it knows differ by more than the bound, it stamps them with the cluster's clock.
//! 2. The time in the log never decreases. If it is ahead of rule 1, it continues at the speed of the leader's monotonic
//!    clock. So it never stands still, and never repeats.
//! 3. A node whose clock is outside of the bound transfers its leadership, and delays its campaigns.
//! 4. A node without the reports of a majority continues with the cluster's clock as it knew it last. If it never knew it, the
//!    time of the log continues at the speed of the monotonic clock. In a log without a time it proposes no commands until it has
//!    the reports, and they agree within the bound or are those of all voters: of two clocks that differ, either may be wrong. At cluster level 0 it uses its own clock there, and as long as a majority of the voters may run a release that
//!    does not report clocks.
//!
//! All clocks are kept as offsets from this node's monotonic clock: an offset changes only when a clock is set, so an old
//! report stays valid. The time that a message takes makes an offset uncertain: it is known as a range.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::ids::{NodeId, Term};
use crate::message::{ClockOffset, ClockReport};
use crate::raft::membership::Membership;

/// A clock minus the monotonic clock of this node, in microseconds.
type Offset = i64;

/// Largest wall clock that counts, in milliseconds since 1970: the end of the year 9999. A later one counts as this one.
const MAX_WALL_MS: u64 = 253_402_300_799_999;
/// One millisecond in microseconds.
const MILLISECOND: Offset = 1000;
/// Differences between two readings of one wall clock that are no change, in microseconds: it is read in milliseconds.
const READING: Offset = 1500;
/// A range grows by this number of microseconds for each second of its age, because no two clocks run at the same speed.
const DRIFT_PER_SECOND: u64 = 1000;
/// Requests whose time of sending is remembered. A report in response to an older one is ignored.
const MAX_REQUESTS: usize = 64;
/// Changes of the offset that [`ClockStatus`] does not show, in milliseconds: they come from the network.
const SHOWN_STEP_MS: i64 = 10;

/// What a node knows about its clock and about the time of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockStatus {
    /// This node's clock minus the cluster's clock, in milliseconds. `None`: not known yet. A leader reports 0 while its clock
    /// is within what the reports of the others allow.
    pub offset_ms: Option<i64>,
    /// That offset is larger than the bound, so this node transfers its leadership and delays its campaigns.
    pub is_skewed: bool,
    /// How far the time of the log is ahead of the cluster's clock, in milliseconds. 0 within the bound.
    pub ahead_ms: u64,
    /// The time of the log minus this node's monotonic clock, in microseconds.
    pub log_offset_us: i64,
    /// The time of the last entry of the log, in milliseconds since 1970. The next entry has no lower one.
    pub log_time_ms: u64,
}

/// The bounds of an offset that is not known exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetRange {
    low: Offset,
    high: Offset,
}

impl OffsetRange {
    fn exactly(offset: Offset) -> Self {
        Self {
            low: offset,
            high: offset,
        }
    }

    /// The part that both ranges have in common; none if they have nothing in common.
    fn intersection(self, other: Self) -> Option<Self> {
        let (low, high) = (self.low.max(other.low), self.high.min(other.high));
        (low <= high).then_some(Self { low, high })
    }

    fn widened(self, by: Offset) -> Self {
        Self {
            low: self.low.saturating_sub(by),
            high: self.high.saturating_add(by),
        }
    }

    fn width(self) -> Offset {
        self.high.saturating_sub(self.low)
    }

    fn middle(self) -> Offset {
        self.low.midpoint(self.high)
    }

    /// How far `offset` is above the range (positive) or below it (negative); 0 inside.
    fn distance_of(self, offset: Offset) -> Offset {
        offset.saturating_sub(offset.clamp(self.low, self.high))
    }

    fn contains(self, other: Self) -> bool {
        self.low <= other.low && other.high <= self.high
    }
}

/// The report of a node.
#[derive(Clone, Copy, Debug)]
struct Report {
    range: OffsetRange,
    number: u64,
    /// When this node had requested it.
    requested_at: Duration,
}

impl Report {
    /// Its range now: clocks drift.
    fn range_at(&self, now: Duration) -> OffsetRange {
        let age = now.saturating_sub(self.requested_at);
        let drift = age.as_secs().saturating_mul(DRIFT_PER_SECOND);
        self.range
            .widened(i64::try_from(drift).unwrap_or(i64::MAX / 4))
    }
}

/// The cluster's clock.
#[derive(Clone, Copy, Debug)]
struct Estimate {
    /// `low`: a majority of the voters has reached this offset. `high`: a majority is not later than this one.
    range: OffsetRange,
    /// It is newer than the last change of this node's wall clock. If not, it is not known which of the two clocks of this node
    /// has changed: the monotonic clock of a virtual machine may stop while the machine is paused.
    is_current: bool,
    /// Clocks that are known agree within the bound, or all voters have reported theirs. If not, a further report may move the cluster's
    /// clock by any amount.
    is_settled: bool,
}

/// When this node retries to leave the leadership, see rule 3.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leaving {
    pub(super) attempts: u32,
    pub(super) retry_at: Duration,
    /// The last term in which it led with a wrong clock.
    pub(super) term: Term,
    /// Another leader gave it the leadership, for a reason of its own.
    pub(super) was_given: bool,
}

/// All clocks that a node knows.
#[derive(Clone, Debug)]
pub(super) struct Clocks {
    /// The bound in microseconds. `None`: the leader's own clock counts, without a bound.
    bound: Option<Offset>,
    /// This node's wall clock; none before the first reading.
    own: Option<Offset>,
    /// The last reports of this node to leaders: term, number, and its wall clock.
    reported: VecDeque<(Term, u64, Offset)>,
    /// The reports of other nodes since this node's wall clock was last changed.
    reports: BTreeMap<NodeId, Report>,
    /// The last requests of this run, and when each was sent.
    requests: VecDeque<(u64, Duration)>,
    /// Number of the last request.
    last_request: u64,
    next_request_at: Duration,
    /// The term of the last campaign, and when this node first requested votes in it.
    campaign: Option<(Term, Duration)>,
    estimate: Option<Estimate>,
    /// The time of the log.
    log_offset: Offset,
    /// The time of the last entry in the log, as this state knows it, in milliseconds since 1970.
    log_time_ms: u64,
    /// The offset that [`ClockStatus`] shows.
    shown_ms: Option<i64>,
    /// This node has let the others campaign first, see rule 3.
    pub(super) has_yielded: bool,
    pub(super) leaving: Leaving,
}

impl Clocks {
    /// `log_time_ms` is the time of the last entry in the log.
    pub(super) fn new(max_skew: Option<Duration>, log_time_ms: u64, now: Duration) -> Self {
        Self {
            bound: max_skew.map(micros),
            own: None,
            reported: VecDeque::new(),
            reports: BTreeMap::new(),
            requests: VecDeque::new(),
            last_request: 0,
            next_request_at: now,
            campaign: None,
            estimate: None,
            log_offset: offset_of(log_time_ms, now),
            log_time_ms,
            shown_ms: None,
            has_yielded: false,
            leaving: Leaving::default(),
        }
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.bound.is_some()
    }

    // ----- this node's clock -----

    /// Whether the cluster's clock is known, at least as it was at an earlier time.
    pub(super) fn knows_cluster(&self) -> bool {
        self.estimate.is_some()
    }

    /// Whether the time of a log may begin with the cluster's clock as it is known.
    pub(super) fn is_settled(&self) -> bool {
        self.estimate.is_some_and(|estimate| estimate.is_settled)
    }

    /// A reading of this node's wall clock. Returns whether the offset has changed.
    pub(super) fn on_reading(&mut self, now: Duration, wall_ms: u64) -> bool {
        let offset = offset_of(wall_ms, now);
        let Some(own) = self.own else {
            self.own = Some(offset);
            return true;
        };
        // A reading is up to a millisecond late: the latest of them is exact.
        if offset <= own && own - offset <= READING {
            return false;
        }
        self.own = Some(offset);
        if self.is_change(own, offset) {
            self.on_change(now);
        }
        self.update_shown();
        true
    }

    /// Whether one of this node's two clocks was changed between two offsets. Small changes are covered by the bound.
    fn is_change(&self, before: Offset, after: Offset) -> bool {
        self.bound
            .is_some_and(|bound| (after - before).abs() > bound / 2)
    }

    /// One of this node's two clocks was changed, so all ranges are wrong by that much.
    fn on_change(&mut self, now: Duration) {
        self.reports.clear();
        self.requests.clear();
        self.campaign = None;
        self.next_request_at = now;
        if let Some(estimate) = &mut self.estimate {
            estimate.is_current = false;
        }
    }

    /// What this node reports as its wall clock; none before the first reading.
    pub(super) fn report(&mut self, now: Duration, term: Term, number: u64) -> Option<u64> {
        let own = self.own.filter(|_| self.is_bounded())?;
        if number != ClockReport::WITH_VOTE {
            if self.reported.len() >= MAX_REQUESTS {
                self.reported.pop_front();
            }
            self.reported.push_back((term, number, own));
        }
        Some(time_of(own, now))
    }

    // ----- the clocks of others -----

    /// The number of the request that is due; none if none is.
    pub(super) fn begin_request(&mut self, now: Duration, interval: Duration) -> Option<u64> {
        if !self.is_bounded() || now < self.next_request_at {
            return None;
        }
        self.next_request_at = now + interval;
        self.last_request += 1;
        if self.requests.len() >= MAX_REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back((self.last_request, now));
        Some(self.last_request)
    }

    /// This node requests votes. The responses come with reports.
    pub(super) fn on_campaign(&mut self, term: Term, now: Duration) {
        if self.campaign.is_none_or(|(before, _)| before != term) {
            self.campaign = Some((term, now));
        }
    }

    /// When the votes of a term were requested.
    pub(super) fn campaign_began(&self, term: Term) -> Option<Duration> {
        let (of, began) = self.campaign?;
        (of == term).then_some(began)
    }

    /// When the request with this number was sent.
    pub(super) fn requested_at(&self, number: u64) -> Option<Duration> {
        let mut requests = self.requests.iter();
        requests
            .find(|(sent, _)| *sent == number)
            .map(|(_, at)| *at)
    }

    /// The report of a node. It read its clock after the request was sent, and before now.
    pub(super) fn on_report(
        &mut self,
        from: &NodeId,
        report: &ClockReport,
        requested_at: Duration,
        now: Duration,
    ) {
        let range = OffsetRange {
            low: offset_of(report.wall_ms, now),
            // The report is rounded down.
            high: offset_of(report.wall_ms, requested_at) + MILLISECOND,
        };
        let before = self.reports.get(from);
        // Both are right unless that clock was changed in between.
        let both = before.and_then(|report| report.range_at(now).intersection(range));
        let report = Report {
            range: both.unwrap_or(range),
            number: report.number,
            requested_at,
        };
        self.reports.insert(from.clone(), report);
    }

    /// The leader of `term` reports this node's offset from the cluster's clock. It has it from a certain report of this node,
    /// which may not be the last one. This node's wall clock may have been changed since.
    pub(super) fn on_told(&mut self, term: Term, offset: ClockOffset) {
        let is_meant =
            |(at, number, _): &&(Term, u64, Offset)| (*at, *number) == (term, offset.report);
        let reported = self.reported.iter().rev().find(is_meant);
        let Some((&(_, _, reported), own)) = reported.zip(self.own) else {
            return;
        };
        let limit = i64::try_from(MAX_WALL_MS).unwrap_or(0);
        let cluster = reported - offset.ms.clamp(-limit, limit) * MILLISECOND;
        self.reports.clear();
        self.estimate = Some(Estimate {
            range: OffsetRange::exactly(cluster),
            is_current: !self.is_change(reported, own),
            is_settled: true,
        });
        self.update_shown();
    }

    /// Computes the cluster's clock anew. Without the reports of a majority, the last one stays.
    pub(super) fn update(&mut self, membership: &Membership, own_id: &NodeId, now: Duration) {
        self.reports.retain(|id, _| membership.contains(id));
        let Some(own) = self.own.filter(|_| self.is_bounded()) else {
            return;
        };
        let range = |id: &NodeId| {
            if id == own_id {
                return Some(OffsetRange::exactly(own));
            }
            self.reports.get(id).map(|report| report.range_at(now))
        };
        // A node without a report has reached nothing, in either direction.
        let low = membership.reached(|id| range(id).map_or(Offset::MIN, |range| range.low));
        let high = membership.reached(|id| range(id).map_or(Offset::MIN, |range| -range.high));
        if low == Offset::MIN || high == Offset::MIN || membership.voters().next().is_none() {
            return;
        }
        // The same without the time that messages take: what is left is how much the clocks differ.
        let least = membership.reached(|id| range(id).map_or(Offset::MIN, |range| range.high));
        let most = membership.reached(|id| range(id).map_or(Offset::MIN, |range| -range.low));
        let agree = self
            .bound
            .is_some_and(|bound| (-most).saturating_sub(least) <= bound);
        self.estimate = Some(Estimate {
            range: OffsetRange { low, high: -high },
            is_current: true,
            is_settled: agree || membership.voters().all(|id| range(id).is_some()),
        });
        self.update_shown();
    }

    fn update_shown(&mut self) {
        let offset = self.own_distance().map(|distance| distance / MILLISECOND);
        let is_same = match (offset, self.shown_ms) {
            (Some(now), Some(shown)) => (now - shown).abs() < SHOWN_STEP_MS,
            (now, shown) => now == shown,
        };
        if !is_same {
            self.shown_ms = offset;
        }
    }

    /// How far this node's clock is from the cluster's; none if that is not known.
    fn own_distance(&self) -> Option<Offset> {
        let estimate = self.estimate.filter(|estimate| estimate.is_current)?;
        Some(estimate.range.distance_of(self.own?))
    }

    /// Whether this node's clock is outside of the bound.
    pub(super) fn is_skewed(&self) -> bool {
        let Some((bound, distance)) = self.bound.zip(self.own_distance()) else {
            return false;
        };
        distance.abs() > bound
    }

    /// The offset of another node's clock from the cluster's clock, for that node. None while the clocks of a majority do not agree
    /// within the bound: that node would take one end of the range for the cluster's clock, and its own clock may be that end.
    pub(super) fn offset_of_peer(&self, peer: &NodeId, now: Duration) -> Option<ClockOffset> {
        let estimate = self.estimate.filter(|estimate| estimate.is_current)?;
        if self
            .bound
            .is_none_or(|bound| estimate.range.width() > bound)
        {
            return None;
        }
        let report = self.reports.get(peer)?;
        let distance = estimate.range.distance_of(report.range_at(now).middle());
        // Reports with votes have no number of their own.
        (report.number != ClockReport::WITH_VOTE).then_some(ClockOffset {
            report: report.number,
            ms: distance / MILLISECOND,
        })
    }

    /// Whether it is certain that the clock of another node is within the bound.
    pub(super) fn is_inside(&self, peer: &NodeId, now: Duration) -> bool {
        let (Some(bound), Some(estimate)) = (self.bound, self.estimate) else {
            return false;
        };
        // From each end of the range, because it is not known where in it the cluster's clock is.
        let allowed = OffsetRange {
            low: estimate.range.high.saturating_sub(bound),
            high: estimate.range.low.saturating_add(bound),
        };
        let report = self.reports.get(peer);
        report.is_some_and(|report| estimate.is_current && allowed.contains(report.range_at(now)))
    }

    // ----- the time of the log -----

    /// The time of the last entry has changed, by entries or a snapshot of another node, or because entries were removed.
    pub(super) fn on_log_time(&mut self, log_time_ms: u64, now: Duration) {
        if log_time_ms != self.log_time_ms {
            self.log_time_ms = log_time_ms;
            self.log_offset = offset_of(log_time_ms, now);
        }
    }

    /// The time for an entry that is appended now, in milliseconds since 1970: rules 1, 2 and 4. `may_use_own`: without an
    /// estimate, this node's own clock counts.
    pub(super) fn stamp(&mut self, now: Duration, may_use_own: bool) -> u64 {
        self.log_offset = self.log_offset_now(may_use_own);
        self.log_time_ms = self.log_time_ms.max(time_of(self.log_offset, now));
        self.log_time_ms
    }

    /// The time that [`Clocks::stamp`] would return.
    pub(super) fn time_ms(&self, now: Duration, may_use_own: bool) -> u64 {
        let offset = self.log_offset_now(may_use_own);
        self.log_time_ms.max(time_of(offset, now))
    }

    fn log_offset_now(&self, may_use_own: bool) -> Offset {
        if let (None, Some(own)) = (self.bound, self.own) {
            // Without a bound the time stands still until this clock has reached it.
            return own;
        }
        let target = self.target(may_use_own);
        target.map_or(self.log_offset, |target| target.max(self.log_offset))
    }

    /// The clock of the log, if its time is not ahead of it.
    fn target(&self, may_use_own: bool) -> Option<Offset> {
        let Some(bound) = self.bound else {
            return self.own;
        };
        let Some(Estimate { range, .. }) = self.estimate else {
            return self.own.filter(|_| may_use_own);
        };
        let own = self.own?;
        // While the clocks that are known leave it open by more than the bound, this node's clock may be the wrong one: after a jump of
        // it the first report of another node tells only that one of the two is wrong.
        if range.distance_of(own).abs() > bound || range.width() > bound {
            return Some(range.low);
        }
        Some(own.min(range.low.saturating_add(bound)))
    }

    /// The status, with the rules of [`Clocks::stamp`].
    pub(super) fn status(&self, may_use_own: bool, log_time_ms: u64) -> ClockStatus {
        let log_offset = self.log_offset_now(may_use_own);
        let cluster = self
            .estimate
            .map(|estimate| estimate.range.high)
            .or(self.own);
        let ahead = cluster.map_or(0, |cluster| log_offset.saturating_sub(cluster));
        let is_alarm = self.log_time_ms > 0 && self.bound.is_some_and(|bound| ahead > bound);
        ClockStatus {
            offset_ms: self.shown_ms,
            is_skewed: self.is_skewed(),
            ahead_ms: u64::try_from(ahead / MILLISECOND)
                .map_or(0, |ahead| if is_alarm { ahead } else { 0 }),
            log_offset_us: log_offset,
            log_time_ms,
        }
    }
}

/// The offset of a clock that shows `time_ms`.
fn offset_of(time_ms: u64, now: Duration) -> Offset {
    micros(Duration::from_millis(time_ms.min(MAX_WALL_MS))) - micros(now)
}

/// What a clock with this offset shows, in milliseconds since 1970.
fn time_of(offset: Offset, now: Duration) -> u64 {
    let time = offset.saturating_add(micros(now)) / MILLISECOND;
    u64::try_from(time).unwrap_or(0)
}

fn micros(time: Duration) -> Offset {
    i64::try_from(time.as_micros()).map_or(Offset::MAX / 8, |micros| micros.min(Offset::MAX / 8))
}
