//! Planted faults, which prove that the simulation detects such faults. They are in the simulated environment (disk,
//! network, machine, clients) and make a node behave as if its code had the fault. The production code has no switch.

use super::history::LINEARIZABLE;
use super::invariants::{DIFFERING_IS_SILENT, NO_ELECTION_IN_LEASE, UNDECIDED_IS_SILENT};
use super::world::FINDS_DIFFERENCE;

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Term and vote are not synced: a crash loses them (Raft paper, Figure 2: persistent state).
    VoteNotSynced,
    /// Entries are not synced: a crash loses them (Figure 2).
    EntriesNotSynced,
    /// The disk reports a write as done before it is.
    WrittenTooEarly,
    /// A node restarts with an empty disk under its old name.
    WipedDisk,
    /// A node whose disk was wiped marks its empty store as complete.
    ForgetsThatItForgot,
    /// A node with a wiped disk acknowledges entries to a leader that counts its former store.
    WelcomedTooEarly,
    /// A node that starts doesn't read its term and vote.
    StartsWithoutVote,
    /// A snapshot is not synced before the log is purged behind it.
    SnapshotNotSynced,
    /// A snapshot that has rotted is found sound (§7).
    RotNotFound,
    /// The node never learns the result of a check of its snapshot (§7).
    CheckResultLost,
    /// The disk returns an entry that differs from the written one.
    ReadsAnotherEntry,
    /// A vote is counted twice (§5.2).
    VoteCountedTwice,
    /// A voter grants a vote that it must deny (§5.2, §5.4.1).
    DenialBecomesGrant,
    /// A candidate claims a longer log than it has (§5.4.1).
    CandidateBoasts,
    /// The leader's commit index covers all entries that it has sent (§5.3).
    CommitTooEarly,
    /// A follower acknowledges one entry more than it has (§5.3).
    AcknowledgesTooMuch,
    /// A follower accepts entries although it lacks the entry before them (§5.3).
    AcceptsAnyPredecessor,
    /// A leader counts a lost heartbeat as acknowledged. So it stays leader and serves reads without a majority
    /// (dissertation §6.2, §6.4).
    NeedsNoAnswer,
    /// The leader's response to a ReadIndex is from before the request (dissertation §6.4).
    ReadIndexTooLow,
    /// A leader sends one peer other commands than the rest (§5.3).
    EntriesDiffer,
    /// A snapshot's metadata claims a later index than its content (§7).
    SnapshotClaimsMore,
    /// A snapshot contains more than its metadata claims (§7).
    SnapshotHoldsMore,
    /// A follower reports a snapshot as installed after its first chunk (§7).
    InstalledTooEarly,
    /// A leader proposes a forwarded command twice.
    ForwardedAnew,
    /// A leader refuses a forwarded command and appends it.
    RefusesWhatItTakes,
    /// A linearizable query is served from the local state.
    ReadsAreStale,
    /// A query runs before the entries that it must wait for.
    QueryOvertakesEntries,
    /// The replies to two clients are mixed up.
    RepliesMixedUp,
    /// A client whose command timed out receives the error that it was not applied.
    TimeoutToldAsRefusal,
    /// The machine receives its entries in a wrong order.
    EntriesOvertake,
    /// All nodes apply a command twice.
    AppliesTwice,
    /// One node applies a command twice.
    OneNodeAppliesTwice,
    /// One node skips a command.
    OneNodeSkips,
    /// A restored snapshot lacks its last command.
    RestoreLosesTheLast,
    /// A node that starts doesn't read the configuration from its log (dissertation §4.1).
    StartsWithoutMembers,
    /// A snapshot doesn't contain the configuration (dissertation §5.1).
    SnapshotForgetsMembers,
    /// A snapshot is sent without the configuration.
    ChunkForgetsMembers,
    /// A learner's acknowledgement counts as a voter's (dissertation §4.2.1).
    LearnerCounts,
    /// In joint consensus, acknowledgements of the old voters are assumed (dissertation §4.3).
    OldVotersIgnored,
    /// An operator receives success for an admin request before it took effect.
    OrderDoneTooEarly,
    /// A leader that has sent TimeoutNow still serves reads by its lease (dissertation §6.4.1).
    LeaseKeptAfterTransfer,
    /// A leader counts the full length of a lease and ignores the drift of clocks (§6.4.1).
    LeaseIgnoresDrift,
    /// A voter grants a vote during a lease that it has granted (§6.4.1).
    PromiseBroken,
    /// A restarted node votes immediately, although it may have granted a lease (§6.4.1).
    StartsWithoutPromise,
    /// A node that restarts with a shorter election timeout, or without leases, does not wait for longer leases that it has
    /// granted (§6.4.1).
    LeaseLengthForgotten,
    /// A write that a full disk has refused counts as done.
    FullDiskForgotten,
    /// All nodes apply a command again that is sent again with its idempotency key.
    KeysForgotten,
    /// One node does so.
    OneNodeForgetsKeys,
    /// A node that has restored a snapshot has lost the idempotency keys.
    RestoreForgetsKeys,
    /// The simulated disk reports success for a sync without syncing.
    SyncForgotten,
    /// A node with a corrupt disk continues with an empty one, under its old name.
    DamageForgotten,
    /// A record of the former life of a segment is taken for one of the log.
    StaleRecordTaken,
    /// A write that a crash has torn is taken for a complete one.
    TornWriteTaken,
    /// The log ends at the first write that is missing or corrupt, although later ones exist: the chain is not checked.
    ChainNotChecked,
    /// The last write is corrupt, and the node goes on as if it had not acknowledged that write.
    LossIgnored,
    /// A segment is used again before the purge of its entries is durable.
    RecycledTooEarly,
    /// A leader stamps entries with its own clock, without a bound.
    TimeUnbounded,
    /// Where the log is ahead of the leader's clock, its time stands still.
    TimeStandsStill,
    /// A leader whose clock is wrong keeps its leadership.
    SkewedLeaderStays,
    /// The clock of one voter counts for two.
    ClockCountedTwice,
    /// The machine's time runs faster than that of the log, so idempotency keys expire early.
    KeysExpireEarly,
    /// Votes and acknowledgements of any store of a node are counted.
    StoresNotChecked,
    /// A copy of an earlier state of a store is taken for the store.
    RunsNotChecked,
    /// A node does not find that its data directory is a copy.
    OriginNotChecked,
    /// A leader commits only what all members have acknowledged.
    CommitNeedsAll,
    /// A candidate needs the votes of all members.
    ElectionNeedsAll,
    /// A snapshot never ends.
    SnapshotHangs,
    /// The time of some entries is lower than that of the entries before them.
    TimeRunsBack,
    /// One node applies entries with another time.
    OneNodeHasOtherTime,
    /// A leader sends other entries below the commit index.
    HistoryRewritten,
    /// Now and then a client gets no reply.
    ReplyLost,
    /// A node proposes the command of a client twice.
    CommandSentTwice,
    /// A leader sends each heartbeat many times.
    HeartbeatStorm,
    /// Now and then a write that is done is not reported.
    CompletionLost,
    /// Now and then it is not reported that entries are applied.
    AppliedLost,
    /// A member of the release before is taken for one of this release when the level is raised.
    LevelClaimed,
    /// A restored snapshot has another last command.
    RestoreAltersOne,
    /// One node applies the commands of an entry in reverse order.
    OneNodeReverses,
    /// One node has the limits of its flags instead of the settings of the cluster.
    SettingsFromFlags,
    /// One node applies a change of the settings with another value.
    OneNodeMissesSettings,
    /// One node does not switch to the module of an upgrade.
    OneNodeKeepsItsModule,
    /// No leader decides about an upgrade.
    UpgradeNeverEnds,
    /// A node whose state differs reports the state hash of another one.
    ReportsLie,
    /// A node whose state differs from the majority's goes on serving.
    QuarantineIgnored,
    /// Commands are acknowledged although no majority has the same state.
    WritesNotStopped,
    /// Messages of nodes of another lineage are accepted.
    LineageNotChecked,
    /// No leader wakes the guest.
    WakeForgotten,
    /// A leader wakes the guest by its own clock, not by the time of the log.
    WakesByOwnClock,
    /// The guest is woken before its time.
    WakesEarly,
}

impl Planted {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::VoteNotSynced,
        Self::EntriesNotSynced,
        Self::WrittenTooEarly,
        Self::WipedDisk,
        Self::ForgetsThatItForgot,
        Self::WelcomedTooEarly,
        Self::StartsWithoutVote,
        Self::SnapshotNotSynced,
        Self::ReadsAnotherEntry,
        Self::VoteCountedTwice,
        Self::DenialBecomesGrant,
        Self::CandidateBoasts,
        Self::CommitTooEarly,
        Self::AcknowledgesTooMuch,
        Self::AcceptsAnyPredecessor,
        Self::NeedsNoAnswer,
        Self::ReadIndexTooLow,
        Self::EntriesDiffer,
        Self::SnapshotClaimsMore,
        Self::SnapshotHoldsMore,
        Self::InstalledTooEarly,
        Self::ForwardedAnew,
        Self::RefusesWhatItTakes,
        Self::ReadsAreStale,
        Self::QueryOvertakesEntries,
        Self::RepliesMixedUp,
        Self::TimeoutToldAsRefusal,
        Self::EntriesOvertake,
        Self::AppliesTwice,
        Self::OneNodeAppliesTwice,
        Self::OneNodeSkips,
        Self::RestoreLosesTheLast,
        Self::StartsWithoutMembers,
        Self::SnapshotForgetsMembers,
        Self::ChunkForgetsMembers,
        Self::LearnerCounts,
        Self::OldVotersIgnored,
        Self::OrderDoneTooEarly,
        Self::LeaseKeptAfterTransfer,
        Self::LeaseIgnoresDrift,
        Self::PromiseBroken,
        Self::StartsWithoutPromise,
        Self::LeaseLengthForgotten,
        Self::FullDiskForgotten,
        Self::KeysForgotten,
        Self::OneNodeForgetsKeys,
        Self::RestoreForgetsKeys,
        Self::SyncForgotten,
        Self::DamageForgotten,
        Self::StaleRecordTaken,
        Self::TornWriteTaken,
        Self::ChainNotChecked,
        Self::LossIgnored,
        Self::RecycledTooEarly,
        Self::TimeUnbounded,
        Self::TimeStandsStill,
        Self::SkewedLeaderStays,
        Self::ClockCountedTwice,
        Self::KeysExpireEarly,
        Self::StoresNotChecked,
        Self::RunsNotChecked,
        Self::OriginNotChecked,
        Self::CommitNeedsAll,
        Self::ElectionNeedsAll,
        Self::SnapshotHangs,
        Self::RotNotFound,
        Self::CheckResultLost,
        Self::TimeRunsBack,
        Self::OneNodeHasOtherTime,
        Self::HistoryRewritten,
        Self::ReplyLost,
        Self::CommandSentTwice,
        Self::HeartbeatStorm,
        Self::CompletionLost,
        Self::AppliedLost,
        Self::LevelClaimed,
        Self::RestoreAltersOne,
        Self::OneNodeReverses,
        Self::SettingsFromFlags,
        Self::OneNodeMissesSettings,
        Self::OneNodeKeepsItsModule,
        Self::UpgradeNeverEnds,
        Self::ReportsLie,
        Self::QuarantineIgnored,
        Self::WritesNotStopped,
        Self::LineageNotChecked,
        Self::WakeForgotten,
        Self::WakesByOwnClock,
        Self::WakesEarly,
    ];

    /// Whether only runs with the guest as the machine can detect it.
    pub(crate) fn is_of_guests(self) -> bool {
        matches!(
            self,
            Self::KeysForgotten
                | Self::OneNodeForgetsKeys
                | Self::RestoreForgetsKeys
                | Self::KeysExpireEarly
                | Self::SettingsFromFlags
                | Self::OneNodeMissesSettings
                | Self::OneNodeKeepsItsModule
                | Self::UpgradeNeverEnds
                | Self::ReportsLie
                | Self::QuarantineIgnored
                | Self::WritesNotStopped
        ) || self.is_of_alarms()
    }

    /// Whether only runs with alarms of the guest can detect it.
    pub(crate) fn is_of_alarms(self) -> bool {
        matches!(
            self,
            Self::WakeForgotten | Self::WakesByOwnClock | Self::WakesEarly
        )
    }

    /// Whether only runs in which the memory of guests becomes corrupt can detect it.
    pub(crate) fn is_of_audits(self) -> bool {
        matches!(
            self,
            Self::ReportsLie | Self::QuarantineIgnored | Self::WritesNotStopped
        )
    }

    /// Whether only runs with simulated disks can detect it.
    pub(crate) fn is_of_disks(self) -> bool {
        matches!(self, Self::SyncForgotten | Self::DamageForgotten)
    }

    /// Whether it is a fault of the segments of the log.
    pub(crate) fn is_of_segments(self) -> bool {
        matches!(
            self,
            Self::StaleRecordTaken
                | Self::TornWriteTaken
                | Self::ChainNotChecked
                | Self::LossIgnored
                | Self::RecycledTooEarly
        )
    }

    /// Whether only runs with wrong clocks can detect it.
    pub(crate) fn is_of_time(self) -> bool {
        matches!(
            self,
            Self::TimeUnbounded
                | Self::TimeStandsStill
                | Self::SkewedLeaderStays
                | Self::ClockCountedTwice
        )
    }

    /// Whether a leader has no bound, because of this fault.
    pub(crate) fn removes_bound(self) -> bool {
        matches!(self, Self::TimeUnbounded | Self::TimeStandsStill)
    }

    /// Whether only runs in which old copies of disks are put back can detect it.
    pub(crate) fn is_of_copies(self) -> bool {
        matches!(
            self,
            Self::StoresNotChecked | Self::RunsNotChecked | Self::OriginNotChecked
        )
    }

    /// Whether only runs with leases can detect it.
    pub(crate) fn is_of_leases(self) -> bool {
        matches!(
            self,
            Self::LeaseKeptAfterTransfer
                | Self::LeaseIgnoresDrift
                | Self::PromiseBroken
                | Self::StartsWithoutPromise
                | Self::LeaseLengthForgotten
        )
    }

    /// The invariants that must tell it, where others could break for a reason that has nothing to do with it: in these runs
    /// nodes are quarantined, or leaders are cut off. Empty: any.
    fn tellers(self) -> &'static [&'static str] {
        match self {
            Self::ReportsLie => &[FINDS_DIFFERENCE],
            Self::QuarantineIgnored => &[DIFFERING_IS_SILENT],
            Self::WritesNotStopped => &[UNDECIDED_IS_SILENT],
            _ if self.is_of_leases() => &[NO_ELECTION_IN_LEASE, LINEARIZABLE],
            _ => &[],
        }
    }

    /// Whether a broken invariant shows this fault.
    pub(crate) fn is_told_by(self, invariant: &str) -> bool {
        let tellers = self.tellers();
        tellers.is_empty() || tellers.contains(&invariant)
    }
}
