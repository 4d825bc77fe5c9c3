//! The profile of a seed's run: the kinds of faults, their number, and all limits of the nodes. Runs that differ much find
//! more faults than runs that are similar.

use std::time::Duration;

use task_queue_raft::driver::DriverLimits;
use task_queue_raft::raft::Limits;

use super::clocks::ClockKind;
use super::dimensions::Dimensions;
use super::machine::MachineKind;
use super::planted::Planted;
use super::rng::Rng;

/// The settings of one run.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) election_timeout_min: Duration,
    pub(crate) election_timeout_max: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) snapshot_threshold: u64,
    pub(crate) max_log_entries: u64,
    pub(crate) limits: Limits,
    pub(crate) driver_limits: DriverLimits,
    pub(crate) chunk_bytes: usize,

    /// Duration of the phase of faults.
    pub(crate) storm: Duration,
    pub(crate) clients: usize,
    pub(crate) think_max_ms: u64,
    /// Number of queries in 1,000 operations.
    pub(crate) reads_per_mille: u64,
    pub(crate) padding_max: u64,

    pub(crate) network: NetworkProfile,
    pub(crate) disk_max_us: u64,
    pub(crate) machine_max_us: u64,
    /// How long an input may wait for the driver, so that it takes several in at once.
    pub(crate) inbox_max_us: u64,

    /// How often the storm pauses with only a quorum healthy; the last time at its end.
    pub(crate) lulls: u32,
    /// Mean time between two faults.
    pub(crate) fault_interval_ms: u64,
    /// Which faults there are, each as often as it is listed.
    pub(crate) faults: Vec<FaultKind>,
    /// Of 1,000 turns so many end in a crash halfway through what the driver wants done.
    pub(crate) torn_turns_per_mille: u64,
    /// Clocks of the nodes differ by up to this much, and jump.
    pub(crate) clock_skew_ms: u64,
    /// Which clocks may be wrong.
    pub(crate) clocks: ClockKind,
    /// Clocks that are wrong are late.
    pub(crate) clocks_are_late: bool,
    /// Nodes that are no initial members and wait to be added.
    pub(crate) spares: usize,
    /// Clocks of two nodes differ in speed by at most so many percent.
    pub(crate) drift_percent: u32,
    /// The nodes know that, and have leases.
    pub(crate) lease_drift_percent: Option<u32>,
    /// The log is the production database, on a disk of bytes.
    pub(crate) database: bool,
    /// What the nodes replicate.
    pub(crate) machine: MachineKind,
    /// Of 1,000 commands to the guest so many have an idempotency key.
    pub(crate) keyed_per_mille: u64,
    /// The releases that the nodes run.
    pub(crate) releases: Releases,
    /// The stores are new and have numbers: the nodes found a cluster first, and one that loses its disk comes back.
    pub(crate) new_stores: bool,
    /// What operators do besides.
    pub(crate) dimensions: Dimensions,
}

/// The releases of the nodes: the one before knows cluster level 0 and protocol 1 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Releases {
    /// All nodes know level 0 only, and speak protocol 2.
    Old,
    New,
    /// Each start of a node may be one of either release, until an operator raises the level.
    Rollout,
}

/// What the network does to messages.
#[derive(Clone, Debug)]
pub(crate) struct NetworkProfile {
    pub(crate) drop_per_mille: u64,
    pub(crate) duplicate_per_mille: u64,
    /// Of 1,000 messages that meet a cut, so many are sent again after a while, as TCP does.
    pub(crate) resend_per_mille: u64,
    /// Of 1,000 messages so many are late by up to `late_max_ms`.
    pub(crate) late_per_mille: u64,
    pub(crate) late_max_ms: u64,
    pub(crate) delay_max_us: u64,
}

/// A kind of fault that comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// One node's process ends and comes back.
    Crash,
    /// Several at once.
    PowerLoss,
    /// No message passes between two groups.
    Partition,
    /// Messages between two nodes pass in one direction only.
    OneWay,
    /// The leader is cut off.
    IsolateLeader,
    /// All can talk again.
    Heal,
    /// A process is paused.
    Pause,
    /// A disk takes long.
    DiskHang,
    /// A write ends in an error.
    DiskError,
    /// A disk has no room for a while.
    DiskFull,
    /// Something on a disk of bytes is no longer what was written.
    Rot,
    /// The newest snapshot on a disk is no longer what was written, while the node runs.
    SnapshotRot,
    /// A wall clock jumps.
    ClockJump,
    /// No snapshot can be taken for a while.
    SnapshotFailure,
    /// A snapshot is requested.
    SnapshotOrder,
    /// A machine's state is reported as wrong.
    Reinstall,
    /// The members are changed.
    ChangeMembers,
    /// Leadership is transferred.
    Transfer,
    /// One node's disk is replaced by an empty one.
    WipeDisk,
    /// The cluster level is raised.
    RaiseLevel,
    /// One node's disk is copied, or replaced by an old copy.
    OldDisk,
    /// The leader is cut off, and at the same moment other processes end and come back at once: they may have granted it a lease.
    RestartVoters,
}

impl FaultKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Crash,
        Self::PowerLoss,
        Self::Partition,
        Self::OneWay,
        Self::IsolateLeader,
        Self::Heal,
        Self::Pause,
        Self::DiskHang,
        Self::DiskError,
        Self::DiskFull,
        Self::Rot,
        Self::SnapshotRot,
        Self::ClockJump,
        Self::SnapshotFailure,
        Self::SnapshotOrder,
        Self::Reinstall,
        Self::ChangeMembers,
        Self::Transfer,
        Self::WipeDisk,
        Self::RaiseLevel,
        Self::OldDisk,
        Self::RestartVoters,
    ];
}

impl Profile {
    /// Most initial members that may be corrupt at once: the others are a majority.
    pub(crate) fn damaged_max(&self, founders: usize) -> usize {
        // If stores are new, a corrupt node returns under its own name.
        if self.faults.contains(&FaultKind::Rot) && !self.new_stores {
            (founders - 1) / 2
        } else {
            0
        }
    }

    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let heartbeat = rng.between(20, 60);
        let election_min = heartbeat * rng.between(3, 5);
        let election_max = election_min * rng.between(12, 25) / 10;
        let snapshot_threshold = rng.pick(&[4, 10, 25, 60, 10_000]);
        let max_log_entries = snapshot_threshold + rng.pick(&[2, 20, 100, 1000]);
        let database = rng.chance(220);
        let faults = draw_faults(rng, database);
        // Without membership changes they would never be added.
        let spares = if faults.contains(&FaultKind::ChangeMembers) {
            rng.pick(&[0, 1, 2])
        } else {
            0
        };
        let mut profile = Self {
            election_timeout_min: Duration::from_millis(election_min),
            election_timeout_max: Duration::from_millis(election_max),
            heartbeat_interval: Duration::from_millis(heartbeat),
            snapshot_threshold,
            max_log_entries,
            limits: draw_limits(rng),
            driver_limits: draw_driver_limits(rng, election_max),
            chunk_bytes: rng.pick(&[16, 100, 1000, 100_000]),
            storm: Duration::from_millis(rng.pick(&[3000, 6000, 12_000])),
            clients: rng.pick(&[2, 4, 8]),
            think_max_ms: rng.pick(&[5, 40, 120]),
            reads_per_mille: rng.pick(&[100, 300, 600]),
            padding_max: rng.pick(&[0, 60, 500]),
            network: NetworkProfile::draw(rng),
            disk_max_us: rng.pick(&[50, 1000, 5000, 20_000]),
            machine_max_us: rng.pick(&[10, 500, 5000]),
            inbox_max_us: rng.pick(&[0, 100, 2000, 20_000]),
            lulls: 0,
            fault_interval_ms: rng.pick(&[40, 100, 300, 300, 1000]),
            faults,
            torn_turns_per_mille: rng.pick(&[0, 0, 1, 4]),
            clock_skew_ms: rng.pick(&[0, 500, 3_600_000]),
            clocks: ClockKind::Unbounded,
            clocks_are_late: false,
            spares,
            database,
            machine: rng.pick(&[
                MachineKind::List,
                MachineKind::List,
                MachineKind::List,
                MachineKind::Guest,
            ]),
            keyed_per_mille: rng.pick(&[0, 500, 900]),
            releases: Releases::New,
            new_stores: false,
            dimensions: Dimensions::default(),
            drift_percent: 0,
            lease_drift_percent: None,
        }
        .with_clocks(rng);
        if profile.machine == MachineKind::Guest {
            let chunk_bytes = rng.pick(&[20_000, 50_000, 200_000]);
            profile.suit_guest(chunk_bytes);
        }
        let among = |kind: FaultKind| profile.faults.contains(&kind);
        let (changes, rots) = (among(FaultKind::ChangeMembers), among(FaultKind::Rot));
        if rng.chance(if rots || changes { 400 } else { 600 }) {
            profile.new_stores = true;
            let faults = &mut profile.faults;
            faults.extend([FaultKind::WipeDisk, FaultKind::WipeDisk]);
            if !database {
                faults.extend([FaultKind::OldDisk; 3]);
            }
            if rots {
                // It strikes only where the others are a quorum.
                faults.extend([FaultKind::Rot; 6]);
            }
        }
        profile.lulls = rng.pick(&[0, 1, 1, 2]);
        profile.draw_releases(rng);
        profile
    }

    /// Clocks that run at different speeds, and leases that rest on it; how chunks of snapshots follow each other.
    fn with_clocks(mut self, rng: &mut Rng) -> Self {
        self.drift_percent = rng.pick(&[0, 0, 10, 50]);
        self.limits.in_flight_chunks = rng.pick(&[1, 2, 4]);
        self.limits.snapshot_bytes_per_second = rng.pick(&[None, None, Some(100_000)]);
        self.lease_drift_percent = rng.chance(400).then_some(self.drift_percent);
        self
    }

    /// The wall clocks of the run. Where a majority is right, the voters stay the same, and the speeds of clocks are equal.
    pub(crate) fn set_clocks(&mut self, kind: ClockKind) {
        use FaultKind::{ChangeMembers, ClockJump, OldDisk, Rot, WipeDisk};
        self.clocks = kind;
        if kind != ClockKind::MajorityRight {
            return;
        }
        self.drift_percent = 0;
        self.lease_drift_percent = self.lease_drift_percent.map(|_| 0);
        self.spares = 0;
        if self.releases == Releases::Rollout {
            // The release before reports no clock.
            self.releases = Releases::New;
        }
        self.faults
            .retain(|kind| ![ChangeMembers, Rot, WipeDisk, OldDisk].contains(kind));
        self.faults.extend([ClockJump; 4]);
    }

    /// Whether idempotency keys have an end. A cluster at level 0 may start with any time.
    pub(crate) fn keys_expire(&self) -> bool {
        self.clocks == ClockKind::MajorityRight && self.new_stores
    }

    /// What operators do needs the guest. A node whose memory is corrupt serves no requests, so no small quorum is judged, and
    /// its machine is not reported as wrong by chance.
    pub(crate) fn fit_dimensions(&mut self) {
        let has_lineage = self.new_stores && self.releases == Releases::New;
        let levels = has_lineage || self.faults.contains(&FaultKind::RaiseLevel);
        self.dimensions.fit(self.machine, has_lineage, levels);
        if self.dimensions.corruption {
            self.lulls = 0;
            self.faults.retain(|kind| *kind != FaultKind::Reinstall);
        }
    }

    /// A node with an old copy of its disk takes part in elections while others are away.
    fn suit_copies(&mut self, planted: Planted) {
        use FaultKind::{Crash, Heal, IsolateLeader, OldDisk, Partition};
        (self.database, self.new_stores) = (false, true);
        self.releases = match planted {
            Planted::StoresNotChecked => Releases::Old,
            _ => Releases::New,
        };
        self.faults = vec![
            OldDisk,
            OldDisk,
            OldDisk,
            IsolateLeader,
            Partition,
            Crash,
            Heal,
            Heal,
        ];
        self.fault_interval_ms = 100;
    }

    fn draw_releases(&mut self, rng: &mut Rng) {
        self.releases = rng.pick(&[
            Releases::Old,
            Releases::New,
            Releases::New,
            Releases::Rollout,
        ]);
        if self.releases != Releases::Old && rng.chance(500) {
            self.faults.push(FaultKind::RaiseLevel);
        }
    }

    /// The snapshot of a guest holds its module: in small chunks its transfer would exceed every timeout, and a snapshot after every
    /// fourth entry would take most of the time of a run.
    fn suit_guest(&mut self, chunk_bytes: usize) {
        self.machine = MachineKind::Guest;
        self.chunk_bytes = chunk_bytes;
        let rate = &mut self.limits.snapshot_bytes_per_second;
        *rate = rate.map(|rate| 10 * rate);
        let room = self.max_log_entries - self.snapshot_threshold;
        self.snapshot_threshold = self.snapshot_threshold.max(10);
        self.max_log_entries = self.snapshot_threshold + room;
    }

    /// The memory of guests becomes corrupt again and again. The storm is long enough for voters that do not report in time, and
    /// gentle enough for audits to end; requests take long, so that some are in flight when an audit ends.
    pub(crate) fn diverge(&mut self) {
        if self.machine != MachineKind::Guest {
            self.suit_guest(50_000);
        }
        (self.new_stores, self.releases) = (true, Releases::New);
        (self.dimensions.audits, self.dimensions.corruption) = (true, true);
        if self.clocks == ClockKind::MajorityRight {
            self.clocks = ClockKind::Unbounded;
        }
        // Only commands without a key become corrupt.
        self.keyed_per_mille = self.keyed_per_mille.min(500);
        self.storm = Duration::from_secs(12);
        (self.clients, self.think_max_ms) = (8, 40);
        (self.disk_max_us, self.machine_max_us) = (20_000, 5000);
        self.fault_interval_ms = 1000;
        self.network.drop_per_mille = self.network.drop_per_mille.min(5);
    }

    /// A follower that lags gets a snapshot in many chunks, one after the other. No step is so fast that a transfer without an end
    /// takes most of the events of a run.
    fn suit_chunks(&mut self) {
        use FaultKind::{Crash, Heal, IsolateLeader, Pause};
        self.machine = MachineKind::List;
        self.faults = vec![Crash, Crash, IsolateLeader, Pause, Heal];
        self.snapshot_threshold = 10;
        self.max_log_entries = 30;
        self.chunk_bytes = 16;
        self.limits.in_flight_chunks = 1;
        self.inbox_max_us = 5000;
        self.storm = Duration::from_secs(3);
    }

    /// Segments are used again and again, writes take several sectors, and crashes come while they are written.
    fn suit_segments(&mut self, planted: Planted) {
        use FaultKind::{Crash, DiskError, PowerLoss, Rot};
        self.machine = MachineKind::List;
        (self.database, self.new_stores, self.releases) = (true, true, Releases::New);
        let rots = matches!(planted, Planted::ChainNotChecked | Planted::LossIgnored);
        self.faults = if rots {
            vec![Crash, Rot, Rot]
        } else {
            vec![Crash, Crash, Crash, PowerLoss, DiskError]
        };
        self.fault_interval_ms = 100;
        (self.snapshot_threshold, self.max_log_entries) = (10, 30);
        (self.clients, self.think_max_ms, self.padding_max) = (8, 5, 500);
        (self.disk_max_us, self.machine_max_us) = (1000, 500);
        self.network = NetworkProfile::calm();
    }

    /// What a planted fault needs to be seen: one of leases needs leases, and clocks that differ;
    /// one of keys the guest, one of disks the database.
    pub(crate) fn suit(&mut self, planted: Planted) {
        use FaultKind::{Crash, Heal, IsolateLeader, OneWay, RestartVoters, Rot};
        self.dimensions.suit(planted);
        if planted.is_of_guests() {
            if self.machine != MachineKind::Guest {
                self.suit_guest(50_000);
            }
            self.keyed_per_mille = 900;
        }
        if planted.is_of_copies() {
            self.suit_copies(planted);
        }
        if planted == Planted::LevelClaimed {
            self.releases = Releases::Rollout;
            self.faults.extend([FaultKind::RaiseLevel, Crash, Crash]);
            self.lulls = 2;
        }
        if planted == Planted::LineageNotChecked {
            (self.new_stores, self.releases) = (true, Releases::New);
        }
        if planted.is_of_audits() {
            self.diverge();
        }
        if planted == Planted::InstalledTooEarly {
            self.suit_chunks();
        }
        if matches!(planted, Planted::CommitNeedsAll | Planted::ElectionNeedsAll) {
            self.lulls = 2;
        }
        if planted.is_of_disks() && !self.database {
            self.database = true;
            self.faults = vec![Crash, Rot];
        }
        if planted.is_of_segments() {
            self.suit_segments(planted);
        }
        if planted == Planted::KeysExpireEarly {
            self.set_clocks(ClockKind::MajorityRight);
            self.new_stores = true;
        }
        if planted.is_of_time() {
            self.set_clocks(ClockKind::MajorityRight);
            self.clocks_are_late = planted == Planted::TimeStandsStill;
        }
        if planted == Planted::WakesByOwnClock {
            // The clocks of a majority may be wrong, so a leader with a wrong clock stays.
            self.clocks = ClockKind::Any;
            self.faults.extend([FaultKind::ClockJump; 4]);
        }
        if planted.is_of_leases() {
            self.clocks = ClockKind::Unbounded;
            self.drift_percent = 50;
            let known = planted != Planted::LeaseIgnoresDrift;
            self.lease_drift_percent = Some(if known { self.drift_percent } else { 0 });
            // Leaders that are cut off while others vote, and voters that lose their vote.
            self.faults = match planted {
                Planted::StartsWithoutPromise => vec![OneWay, OneWay, Crash, Crash, Heal],
                Planted::LeaseLengthForgotten => vec![RestartVoters, RestartVoters, Heal],
                Planted::LeaseKeptAfterTransfer => vec![OneWay, OneWay, Heal],
                _ => vec![IsolateLeader, OneWay, Heal],
            };
            self.fault_interval_ms = 300;
            (self.disk_max_us, self.inbox_max_us) = (1000, 100);
            self.network = NetworkProfile::calm();
        }
    }
}

fn draw_limits(rng: &mut Rng) -> Limits {
    Limits {
        message_bytes: rng.pick(&[100, 1000, 1 << 20]),
        in_flight_messages: rng.pick(&[1, 2, 64]),
        in_flight_bytes: rng.pick(&[200, 2000, 1 << 20]),
        uncommitted_bytes: rng.pick(&[1000, 1 << 20]),
        cache_bytes: rng.pick(&[0, 500, 1 << 20]),
        unapplied_entries: rng.pick(&[1, 8, 1024]),
        unapplied_bytes: rng.pick(&[1, 500, 1 << 20]),
        pending_reads: rng.pick(&[2, 1000]),
        promote_lag: rng.pick(&[0, 8, 64]),
        commit_delay: Duration::from_millis(rng.pick(&[0, 3, 20])),
        snapshot_check_interval: Duration::from_millis(rng.pick(&[300, 1500])),
        reserved_entries: rng.pick(&[4, 64]),
        ..Limits::default()
    }
}

fn draw_driver_limits(rng: &mut Rng, election_max: u64) -> DriverLimits {
    DriverLimits {
        waiting: rng.pick(&[3, 1000]),
        command_bytes: 1 << 20,
        queued_bytes: rng.pick(&[100, 1 << 20]),
        reserved: 3,
        batch_bytes: rng.pick(&[50, 1000, 1 << 20]),
        batch_commands: rng.pick(&[1, 3, 1000]),
        entries_in_flight: rng.pick(&[1, 2, 8]),
        leader_timeout: Duration::from_millis(election_max * rng.between(1, 6)),
        read_retry: Duration::from_millis(rng.between(5, 100)),
        // A candidate's requests wait together for its own vote: with less space, some voters would never receive one.
        held_messages: rng.pick(&[10, 65_536]),
    }
}

impl NetworkProfile {
    fn draw(rng: &mut Rng) -> Self {
        Self {
            drop_per_mille: rng.pick(&[0, 0, 5, 50, 150]),
            duplicate_per_mille: rng.pick(&[0, 5, 50, 150]),
            resend_per_mille: rng.pick(&[0, 500, 900]),
            late_per_mille: rng.pick(&[0, 5, 50, 200]),
            late_max_ms: rng.pick(&[50, 500, 3000]),
            delay_max_us: rng.pick(&[200, 200, 2000, 2000, 10_000, 50_000]),
        }
    }

    /// A network that does no harm.
    pub(crate) fn calm() -> Self {
        Self {
            drop_per_mille: 0,
            duplicate_per_mille: 0,
            resend_per_mille: 0,
            late_per_mille: 0,
            late_max_ms: 0,
            delay_max_us: 1000,
        }
    }
}

fn draw_faults(rng: &mut Rng, database: bool) -> Vec<FaultKind> {
    use FaultKind::{
        ChangeMembers, ClockJump, Crash, DiskError, DiskFull, DiskHang, Heal, IsolateLeader,
        OneWay, Partition, Pause, PowerLoss, Reinstall, RestartVoters, Rot, SnapshotFailure,
        SnapshotOrder, SnapshotRot, Transfer,
    };
    let groups: [&[FaultKind]; 11] = [
        &[Crash, Crash, Crash, PowerLoss, DiskError],
        &[RestartVoters, Heal],
        &[DiskFull, DiskFull],
        &[
            Partition,
            Partition,
            OneWay,
            OneWay,
            IsolateLeader,
            Heal,
            Heal,
            Heal,
        ],
        &[Pause, Pause],
        &[DiskHang, DiskHang],
        &[ClockJump],
        &[SnapshotFailure, SnapshotOrder, Reinstall],
        &[SnapshotRot, SnapshotRot],
        &[ChangeMembers, ChangeMembers],
        &[Transfer],
    ];
    let mut faults: Vec<_> = groups
        .iter()
        .filter(|_| rng.chance(600))
        .flat_map(|group| group.iter().copied())
        .collect();
    if faults.is_empty() {
        faults.extend([Crash, Partition, Heal]);
    }
    if database {
        faults.extend([
            Crash, Crash, PowerLoss, DiskError, DiskError, DiskError, DiskFull,
        ]);
        if rng.chance(600) {
            // A corrupt node does not return. With other changes of the members, too few nodes might be left. So the only
            // change is the one that replaces it.
            faults.retain(|fault| *fault != ChangeMembers);
            faults.extend([Rot, Rot, Rot, Rot]);
        }
    }
    faults
}
