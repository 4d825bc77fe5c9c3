//! Counts of the events in runs: a simulation without events proves nothing.

use std::ops::AddAssign;

/// One line for each count: its field, what it is called in a table, and what it counts.
macro_rules! counts {
    ($($(#[doc = $text:literal])+ $field:ident $name:literal,)+) => {
        /// How often each thing happened that the simulation is about.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Coverage {
            $($(#[doc = $text])+ pub $field: u64,)+
        }

        impl Coverage {
            /// Each count with its name.
            #[must_use]
            pub fn counts(&self) -> Vec<(&'static str, u64)> {
                vec![$(($name, self.$field)),+]
            }
        }

        impl AddAssign for Coverage {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)+
            }
        }
    };
}

counts! {
    /// Nodes that began to lead.
    elections "elections",
    /// Faults of the storm, of all kinds.
    faults "faults",
    /// Times at which only a quorum was healthy, and all other nodes were dead.
    lulls "lulls with a quorum only",
    /// Times at which the network was cut in some way.
    partitions "partitions",
    /// Messages lost, by chance or to a partition.
    lost "lost messages",
    /// Messages that arrived twice.
    doubled "doubled messages",
    /// Processes that ended without warning.
    crashes "crashes",
    /// Disks that were replaced by empty ones.
    wipes "wiped disks",
    /// Disks that were replaced by old copies.
    old_disks "old copies put back",
    /// Those of them of which their nodes could not know it.
    hidden_copies "old copies that only peers recognize",
    /// Those of the wiped disks that were wiped before the cluster existed.
    early_wipes "disks wiped during bootstrap",
    /// Runs in which an operator removed so many nodes that those left were no quorum, because others had lost their disks.
    lost_quorums "quorums that an operator lost",
    /// Processes that stood still for a while.
    pauses "pauses",
    /// Wall clocks that jumped.
    clock_jumps "clock jumps",
    /// Turns of a driver that a crash cut in two.
    torn_turns "torn turns",
    /// Disks that did nothing for a while.
    hangs "hung disks",
    /// Writes that ended in an error.
    failed_writes "failed writes",
    /// Writes for which a disk had no room.
    full_disks "full disks",
    /// Runs whose logs were databases on disks of bytes.
    databases "runs of the database",
    /// Times at which the power went and what was not synced was there in part.
    torn_writes "torn writes",
    /// Times at which the power went and nothing was there of what was not synced.
    lost_writes "lost writes",
    /// Bits that flipped, writes that landed elsewhere, writes that were never done.
    damages "damages at rest",
    /// Nodes that found their disk corrupt and stopped.
    damaged_nodes "nodes out of service",
    /// Snapshots that rotted while their node ran.
    rots_of_snapshots "rots of snapshots",
    /// Checks that have found a snapshot rotten.
    rotten_snapshots "rotten snapshots found",
    /// Nodes that set their files aside for that, and got everything from their peers.
    set_aside "nodes that healed",
    /// Nodes that found the last write of their log corrupt and went on as another store.
    doubtful "doubtful last writes",
    /// Nodes that were replaced for that.
    replaced "nodes replaced",
    /// Writes that removed entries which conflicted with the leader's.
    truncations "truncations",
    /// Changes of the members that took effect.
    changes "changes of members",
    /// Raises of the cluster level.
    raises "raises of the level",
    /// Starts of nodes of the release before.
    old_starts "starts of an old release",
    /// Starts of nodes with other flags than before.
    flag_changes "starts with other flags",
    /// Changes of settings that an operator proposed.
    settings "changes of settings",
    /// Upgrades that nodes of these runs have switched to.
    upgrades "upgrades",
    /// Upgrades that ended without a switch.
    aborts "aborted upgrades",
    /// Alarms that were set.
    alarms "alarms",
    /// Wake-ups that leaders proposed.
    wakes "wake-ups",
    /// Audits of state hashes.
    audits "audits",
    /// Guests whose memory became corrupt.
    corruptions "corrupt guests",
    /// Nodes that found that their state differs.
    quarantines "quarantines",
    /// Those that served again with the state of their leader.
    rejoined "nodes back from quarantine",
    /// Responses that a node withheld because of what audits showed.
    withheld "withheld responses",
    /// Times at which voters did not report in time which state they have.
    stopped_writes "stops of writes by timeout",
    /// States that an operator accepted where no majority agreed.
    acceptances "accepted states",
    /// Calls of nodes of another cluster with the same names.
    foreign_nodes "calls of foreign nodes",
    /// Leaders that gave their leadership away.
    transfers "transfers",
    /// Machines that were to get another state, and were sent one.
    reinstalls "reinstalls",
    /// Snapshots taken.
    snapshots "snapshots",
    /// Snapshots from a leader that a machine restored.
    restores "restores",
    /// Runs whose state machine was the wasm guest.
    guests "runs of the wasm guest",
    /// Commands that clients sent again with their idempotency key.
    retries "retries under a key",
    /// Commands that clients got a reply to.
    replies "replies",
    /// Linearizable queries with a response.
    answers "answers",
    /// Operations that were refused.
    refused "refused",
    /// Operations whose outcome the client never learned.
    unknown "unknown",
}
