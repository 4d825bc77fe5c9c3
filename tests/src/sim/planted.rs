//! Faults planted on purpose, to prove that the simulation would catch them. They sit in the simulated ends (disk,
//! network, machine, clients) and make a node look as if its code had the fault; the production code has no switch.

/// A fault to be caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Term and vote are not synced: a crash forgets them (Raft paper, Figure 2: persistent state).
    VoteNotSynced,
    /// Entries are not synced: a crash forgets them (Figure 2).
    EntriesNotSynced,
    /// The disk reports a write as done before it is.
    WrittenTooEarly,
    /// A node returns from a crash with an empty disk under its old name.
    WipedDisk,
    /// A node whose disk was wiped takes its empty store for one that holds all its votes and acknowledgements.
    ForgetsThatItForgot,
    /// A node that comes back with an empty disk acknowledges what a leader sends that counts its former self.
    WelcomedTooEarly,
    /// A node that starts doesn't read its term and vote.
    StartsWithoutVote,
    /// A snapshot is not synced before the log is purged behind it.
    SnapshotNotSynced,
    /// The disk gives back another entry than was written.
    ReadsAnotherEntry,
    /// A vote is counted twice (§5.2).
    VoteCountedTwice,
    /// A voter grants what it should deny (§5.2, §5.4.1).
    DenialBecomesGrant,
    /// A candidate claims a longer log than it has (§5.4.1).
    CandidateBoasts,
    /// The leader tells its followers that all it has sent is committed (§5.3).
    CommitTooEarly,
    /// A follower acknowledges an entry more than it has (§5.3).
    AcknowledgesTooMuch,
    /// A follower accepts entries whose predecessor it doesn't hold (§5.3).
    AcceptsAnyPredecessor,
    /// A leader takes a heartbeat as answered that was lost, so that it keeps leading and answers reads without a
    /// majority (dissertation §6.2, §6.4).
    NeedsNoAnswer,
    /// The leader's answer to a ReadIndex is older than the question (dissertation §6.4).
    ReadIndexTooLow,
    /// A leader sends one peer other commands than the rest (§5.3).
    EntriesDiffer,
    /// A snapshot's metadata claims a later index than its content (§7).
    SnapshotClaimsMore,
    /// A snapshot contains more than its metadata claims (§7).
    SnapshotHoldsMore,
    /// A follower reports a snapshot as installed after its first chunk (§7).
    InstalledTooEarly,
    /// A leader takes a forwarded command again that it has taken before.
    ForwardedAnew,
    /// A leader refuses a forwarded command and appends it.
    RefusesWhatItTakes,
    /// A linearizable question is answered from what the node happens to know.
    ReadsAreStale,
    /// A question overtakes the entries that it was to wait for.
    QueryOvertakesEntries,
    /// The replies to two clients are mixed up.
    RepliesMixedUp,
    /// A client whose time is up is told that its command was not carried out.
    TimeoutToldAsRefusal,
    /// The machine gets its entries in another order.
    EntriesOvertake,
    /// All nodes carry a command out twice.
    AppliesTwice,
    /// One node carries a command out twice.
    OneNodeAppliesTwice,
    /// One node leaves a command out.
    OneNodeSkips,
    /// A restored snapshot lacks its last command.
    RestoreLosesTheLast,
    /// A node that starts doesn't read who the members are from its log (dissertation §4.1).
    StartsWithoutMembers,
    /// A snapshot doesn't keep who the members were (dissertation §5.1).
    SnapshotForgetsMembers,
    /// A snapshot travels without the members.
    ChunkForgetsMembers,
    /// A learner's acknowledgement counts as a voter's (dissertation §4.2.1).
    LearnerCounts,
    /// During a change, the old voters that are to go count as if they had agreed (dissertation §4.3).
    OldVotersIgnored,
    /// An operator is told that an order was carried out before it was.
    OrderDoneTooEarly,
    /// A leader that has told another node to campaign answers reads from its lease as before (dissertation §6.4.1).
    LeaseKeptAfterTransfer,
    /// A lease lasts as long as it was promised, though clocks differ in speed (§6.4.1).
    LeaseIgnoresDrift,
    /// A voter grants a vote that it has promised not to (§6.4.1).
    PromiseBroken,
    /// A node that starts votes at once, whatever it has promised before (§6.4.1).
    StartsWithoutPromise,
    /// A write for which a full disk had no room is taken for done.
    FullDiskForgotten,
    /// All nodes carry a command out again that comes again under its idempotency key.
    KeysForgotten,
    /// One node does.
    OneNodeForgetsKeys,
    /// A node that has restored a snapshot no longer knows which keys were spent.
    RestoreForgetsKeys,
    /// The disk of bytes reports everything as synced, and it is not.
    SyncForgotten,
    /// A node that finds its disk damaged begins again with an empty one, under its old name.
    DamageForgotten,
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
        Self::FullDiskForgotten,
        Self::KeysForgotten,
        Self::OneNodeForgetsKeys,
        Self::RestoreForgetsKeys,
        Self::SyncForgotten,
        Self::DamageForgotten,
    ];

    /// Whether it shows only where the machine is the guest.
    pub(crate) fn is_of_guests(self) -> bool {
        matches!(
            self,
            Self::KeysForgotten | Self::OneNodeForgetsKeys | Self::RestoreForgetsKeys
        )
    }

    /// Whether it shows only where disks are of bytes.
    pub(crate) fn is_of_disks(self) -> bool {
        matches!(self, Self::SyncForgotten | Self::DamageForgotten)
    }

    /// Whether it shows only where leaders have leases.
    pub(crate) fn is_of_leases(self) -> bool {
        matches!(
            self,
            Self::LeaseKeptAfterTransfer
                | Self::LeaseIgnoresDrift
                | Self::PromiseBroken
                | Self::StartsWithoutPromise
        )
    }
}
