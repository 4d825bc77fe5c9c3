//! A node: the parts that survive a crash, and those that don't.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use oarlock_wasm::ReplicatedSettings;
use task_queue_raft::applier::Applier;
use task_queue_raft::disk::{Disk, DiskTask};
use task_queue_raft::driver::{Driver, MachineTask};
use task_queue_raft::entry::SnapshotMeta;
use task_queue_raft::identity::PeerHello;
use task_queue_raft::ids::{Index, Lineage, NodeId, StoreId};
use task_queue_raft::raft::{Core, CoreConfig};
use task_queue_raft::storage::memory::MemorySnapshots;
use task_queue_raft::storage::{LogStore, SnapshotStore, StorageError, StoredState};

use super::flags::Flags;
use super::host::HostTasks;
use super::{Event, World};
use crate::sim::clocks::ClockKind;
use crate::sim::environment::{Output, SimDriver, SimEnvironment, SimInput, SimMachineTask};
use crate::sim::invariants::{Backlog, ClocksNow, DiskView, Invariants};
use crate::sim::machine::{self, MachineKind, MachineSetup, SimMachine};
use crate::sim::planted::Planted;
use crate::sim::store::{SavedLog, SimLog, SimSnapshots};
use crate::sim::violation::Violation;

/// A turn that came of nothing and did nothing, so often in a row: the driver spins.
const SPINNING: u32 = 50;

/// A right wall clock at the start of the simulation.
pub(super) const RIGHT_EPOCH_MS: u64 = 1_700_000_000_000;

/// A computer with a disk.
pub(crate) struct Node {
    pub(super) index: usize,
    pub(super) id: NodeId,
    /// Counts its processes; those of the past are void.
    pub(super) run: u32,
    pub(super) log: SimLog,
    pub(super) snapshots: SimSnapshots,
    pub(super) live: Option<Live>,
    pub(super) paused_until: Duration,
    pub(super) disk_hangs_until: Duration,
    /// Its wall clock at the start of the simulation.
    pub(super) epoch_ms: u64,
    /// Milliseconds that its monotonic clock counts in a second.
    speed: u64,
    /// The highest cluster level that its release knows.
    pub(super) known_level: u32,
    /// The flags that its process was started with last.
    pub(super) flags: Option<Flags>,
    /// A copy of its disk.
    pub(super) copy: Option<(SavedLog, MemorySnapshots)>,
    /// It has detected a corrupt disk, and stays down.
    pub(super) out_of_service: bool,
    /// Its disk records that it is in quarantine.
    pub(super) quarantined: bool,
    /// Its disk records the audit since which commands are refused.
    pub(super) stopped_by: Option<Index>,
}

/// Why no process could be started.
enum Unopened {
    /// The disk reported an error that the simulation has made: it may go better next time.
    Injected,
    /// The data on the disk is corrupt, and the node reports it.
    Damaged(String),
    /// What was acknowledged is not there.
    Lost(String),
    /// It should have started.
    Broken(String),
}

impl Unopened {
    fn of(log: &SimLog, error: &StorageError) -> Self {
        if log.is_corrupt(error) {
            Self::Damaged(error.to_string())
        } else if log.is_injected(error) {
            Self::Injected
        } else {
            Self::Broken(error.to_string())
        }
    }
}

/// A process.
pub(super) struct Live {
    pub(super) driver: SimDriver,
    pub(super) disk: Disk,
    pub(super) disk_tasks: VecDeque<DiskTask>,
    pub(super) applier: Applier<SimMachine>,
    pub(super) machine_tasks: VecDeque<SimMachineTask>,
    pub(super) inbox: VecDeque<SimInput>,
    /// What its host does in addition to Raft; none in a run of the list.
    pub(super) host: Option<HostTasks>,
    /// The last hello of each peer.
    pub(super) hellos: BTreeMap<usize, PeerHello>,
    /// When the next turn is due, if one is.
    pub(super) turn_at: Option<Duration>,
    idle_turns: u32,
}

impl Node {
    pub(super) fn new(
        index: usize,
        id: NodeId,
        skew_ms: u64,
        speed: u64,
        log: SimLog,
        snapshots: SimSnapshots,
    ) -> Self {
        Self {
            index,
            id,
            run: 0,
            log,
            snapshots,
            live: None,
            paused_until: Duration::ZERO,
            disk_hangs_until: Duration::ZERO,
            epoch_ms: RIGHT_EPOCH_MS + skew_ms,
            speed,
            known_level: 0,
            flags: None,
            copy: None,
            out_of_service: false,
            quarantined: false,
            stopped_by: None,
        }
    }

    /// What its wall clock shows at a time of the simulation, in milliseconds since 1970.
    pub(super) fn wall_ms(&self, at: Duration) -> u64 {
        self.epoch_ms + u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
    }

    /// What its monotonic clock shows at a time of the simulation.
    pub(super) fn clock(&self, at: Duration) -> Duration {
        scaled(at, self.speed, 1000)
    }

    /// When its clock shows `shown`, or a moment later.
    pub(super) fn when(&self, shown: Duration) -> Duration {
        scaled(shown, 1000, self.speed) + Duration::from_nanos(1)
    }

    pub(super) fn disk_view(&self) -> DiskView<'_> {
        DiskView {
            id: &self.id,
            log: &self.log,
            snapshots: &self.snapshots,
        }
    }

    pub(super) fn core(&self) -> Option<&Core> {
        self.live.as_ref().map(|live| live.driver.core())
    }

    /// What waits at its process.
    fn backlog(&self, live: &Live) -> Backlog {
        let entries = live.machine_tasks.iter().map(|task| match task {
            MachineTask::Apply(entries) => entries.len() as u64,
            _ => 0,
        });
        Backlog {
            snapshots_fail: self.snapshots.has_failed(),
            disk_tasks: live.disk_tasks.len(),
            unapplied: entries.sum(),
        }
    }

    /// Whether its machine is about to get another state.
    pub(super) fn is_reinstalling(&self) -> bool {
        self.core().and_then(Core::reinstalling).is_some()
    }
}

impl World {
    /// Starts a process from what the disk holds, as the production node does.
    pub(super) fn start(&mut self, node: usize) -> Result<(), Violation> {
        if self.nodes[node].out_of_service {
            return Ok(());
        }
        self.choose_release(node);
        self.choose_flags(node);
        let live = match self.open(node) {
            Ok(live) => live,
            Err(Unopened::Injected) => {
                self.abandon(node);
                self.restart_later(node);
                return Ok(());
            }
            Err(Unopened::Damaged(text)) => {
                self.take_out_of_service(node, &text);
                return Ok(());
            }
            Err(Unopened::Lost(detail)) => {
                return Err(Violation {
                    invariant: "a log that is opened again holds what was acknowledged",
                    detail: format!("n{node}: {detail}"),
                });
            }
            Err(Unopened::Broken(detail)) => {
                return Err(Violation {
                    invariant: "a node starts from what its disk holds",
                    detail: format!("n{node}: {detail}"),
                });
            }
        };
        let (term, last) = (live.driver.core().term(), live.driver.core().log().last());
        let (index, view) = (live.applier.last().index, live.applier.machine().view());
        self.nodes[node].live = Some(live);
        self.trace.note(self.now, node, term.0, || {
            format!("starts in term {term} with entries up to {last}, applied {index}")
        });
        self.invariants.on_start(node, index, view)?;
        self.introduce_to_all(node);
        self.wake(node, self.now);
        if self.profile.machine == MachineKind::Guest {
            let run = self.nodes[node].run;
            self.schedule(Duration::from_millis(5), Event::Host { node, run });
        }
        Ok(())
    }

    /// A process that could not start has ended.
    fn abandon(&mut self, node: usize) {
        self.nodes[node].log.crash();
        self.nodes[node].run += 1;
    }

    pub(super) fn restart_later(&mut self, node: usize) {
        let (down, run) = (self.rng.millis(10, 500), self.nodes[node].run);
        self.schedule(down, Event::Restart { node, run });
    }

    /// The node has found corrupt data. It serves and votes no more with what it has: either it sets that aside
    /// and gets everything from its peers, or it stays away and the operator replaces it.
    pub(super) fn take_out_of_service(&mut self, node: usize, text: &str) {
        self.trace
            .note(self.now, node, 4, || format!("is out of service: {text}"));
        self.abandon(node);
        self.coverage.damaged_nodes += 1;
        if self.profile.new_stores {
            self.lose_disk(node, SimLog::set_aside);
            self.coverage.set_aside += 1;
            self.restart_later(node);
        } else {
            self.nodes[node].out_of_service = true;
            self.schedule(Duration::from_millis(50), Event::Replace { node });
        }
    }

    fn open(&mut self, node: usize) -> Result<Live, Unopened> {
        let (seed, session) = (self.rng.number(), self.rng.number());
        let run = self.rng.number() | 1;
        let state = &self.nodes[node];
        let mut log = state.log.clone();
        let unopened = |error| Unopened::of(&state.log, &error);
        let snapshots: Arc<dyn SnapshotStore> = Arc::new(state.snapshots.clone());
        log.open().map_err(unopened)?;
        if let Some(doubt) = log.doubt() {
            self.exclude_loss(node, &doubt)?;
        }
        let state = &self.nodes[node];
        let unopened = |error| Unopened::of(&state.log, &error);
        if self.is_current(node) {
            log.begin_run(run).map_err(unopened)?;
        }
        let stored = log.load().map_err(unopened)?;
        if let Some(loss) = log.loss() {
            return Err(Unopened::Lost(loss));
        }
        let snapshot = snapshots.newest().map_err(unopened)?;
        let reaches = snapshot
            .as_ref()
            .map_or(Index::ZERO, |meta| meta.last.index);
        if reaches < stored.purged.index {
            return Err(Unopened::Broken(format!(
                "the newest snapshot reaches {reaches}, and the log begins behind {}",
                stored.purged
            )));
        }
        let machine = SimMachine::new(self.machine_setup(node));
        let is_guest = self.profile.machine == MachineKind::Guest;
        let host = is_guest
            .then(|| HostTasks::new(self.nodes[node].quarantined, self.nodes[node].stopped_by));
        let mut applier = Applier::new(machine, Arc::clone(&snapshots));
        if let Some(meta) = &snapshot {
            let restored = applier.restore(meta);
            restored.map_err(|error| Unopened::Broken(error.to_string()))?;
        }
        let last_time_ms = last_time_ms(&log, &stored, snapshot.as_ref()).map_err(unopened)?;
        let config = self.core_config(node, seed);
        if config.longest_lease() > stored.granted_lease {
            log.record_lease(config.longest_lease()).map_err(unopened)?;
        }
        let core = Core::new(
            config,
            &stored,
            snapshot,
            last_time_ms,
            self.clock_at_start(node),
        );
        let driver = Driver::new(
            core,
            SimEnvironment::default(),
            self.profile.driver_limits.clone(),
            session,
        );
        Ok(Live {
            driver,
            disk: Disk::new(Box::new(log), snapshots),
            disk_tasks: VecDeque::new(),
            applier,
            machine_tasks: VecDeque::new(),
            inbox: VecDeque::new(),
            host,
            hellos: BTreeMap::new(),
            turn_at: None,
            idle_turns: 0,
        })
    }

    /// The last write of the log of a node is corrupt, and may have been acknowledged: the node goes on as another store. Without
    /// store ids it can't, and is replaced.
    fn exclude_loss(&mut self, node: usize, doubt: &str) -> Result<(), Unopened> {
        let state = &self.nodes[node];
        let log = state.log.clone();
        if !log.disk().is_some_and(|disk| disk.is_damaged()) {
            return Err(Unopened::Broken(format!("nothing is corrupt: {doubt}")));
        }
        let unopened = |error| Unopened::of(&log, &error);
        if self.planted == Some(Planted::LossIgnored) {
            return log.ignore_loss().map_err(unopened);
        }
        if !self.profile.new_stores {
            return Err(Unopened::Damaged(doubt.to_owned()));
        }
        let (reach, id) = (state.snapshots.reach(), state.id.clone());
        let store_id = StoreId(self.fault_rng.number() | 1);
        log.exclude_loss(store_id, reach).map_err(unopened)?;
        self.invariants.forget(&id);
        self.coverage.doubtful += 1;
        self.trace.note(self.now, node, store_id.0, || {
            format!("is store {store_id} now: {doubt}")
        });
        Ok(())
    }

    /// What the machine of a process is made with: its flags have limits of the guest, too.
    fn machine_setup(&self, node: usize) -> MachineSetup {
        let flags = self.nodes[node].flags.as_ref();
        let command_bytes = flags.and_then(|flags| flags.command_bytes);
        MachineSetup {
            kind: self.profile.machine,
            node,
            planted: self.planted,
            limits: machine::limits(self.profile.keys_expire(), command_bytes),
            lever: Arc::clone(&self.lever),
        }
    }

    /// The clock when a node starts. With the planted fault it is early, so that the node does not wait before it votes.
    fn clock_at_start(&self, node: usize) -> Duration {
        let now = self.nodes[node].clock(self.now);
        if self.planted == Some(Planted::StartsWithoutPromise) {
            return now.saturating_sub(self.profile.election_timeout_min);
        }
        now
    }

    /// The start configuration of a node: a spare one waits to be added.
    fn founders_of(&self, node: usize) -> BTreeSet<NodeId> {
        if node < self.founders {
            self.ids[..self.founders].iter().cloned().collect()
        } else {
            BTreeSet::new()
        }
    }

    /// The settings that a node proposes to a cluster: its flags.
    fn initial_settings(&self, node: usize) -> Bytes {
        match self.profile.machine {
            MachineKind::List => Bytes::new(),
            MachineKind::Guest => {
                ReplicatedSettings::proposed(&self.machine_setup(node).limits).encode()
            }
        }
    }

    pub(super) fn max_clock_skew(&self) -> Option<Duration> {
        let removed = self.planted.is_some_and(Planted::removes_bound);
        self.profile.clocks.max_skew().filter(|_| !removed)
    }

    fn core_config(&self, node: usize, seed: u64) -> CoreConfig {
        let profile = &self.profile;
        let flags = self.nodes[node].flags.clone();
        let flags = flags.unwrap_or_else(|| Flags::of(profile));
        CoreConfig {
            id: self.nodes[node].id.clone(),
            voters: self.founders_of(node),
            addresses: BTreeMap::new(),
            election_timeout_min: flags.election_timeout_min,
            election_timeout_max: flags.election_timeout_max,
            heartbeat_interval: profile.heartbeat_interval,
            max_log_entries: flags.max_log_entries,
            snapshot_threshold: flags.snapshot_threshold,
            lease_drift_percent: flags.lease_drift_percent,
            max_clock_skew: self.max_clock_skew(),
            limits: profile.limits.clone(),
            seed,
            initial_settings: self.initial_settings(node),
            known_level: self.nodes[node].known_level,
            new_lineage: Lineage(u128::from(seed) << 64 | u128::from(seed)),
        }
    }

    /// Ends a process at once. What waits for the disk is lost; what the disk is busy with may still be done.
    pub(super) fn crash(&mut self, node: usize, down: Duration) -> Result<(), Violation> {
        let Some(mut live) = self.nodes[node].live.take() else {
            return Ok(());
        };
        let hangs = self.nodes[node].disk_hangs_until > self.now;
        let done = if hangs {
            0
        } else {
            self.rng.pick(&[0, 0, 1, 1, 2])
        };
        let cut = self.nodes[node].log.disk().filter(|_| !hangs);
        for (number, task) in live.disk_tasks.drain(..).take(done + 1).enumerate() {
            if number == done {
                // This one is cut short, where a disk can be in the middle of something.
                let Some(disk) = &cut else { break };
                disk.fail_soon();
            }
            if !self.run_disk_task(node, &mut live.disk, task)?.is_done() {
                break;
            }
        }
        let state = &mut self.nodes[node];
        // Before the database is closed: the process has no time to tidy up.
        state.log.crash();
        state.snapshots.crash();
        state.run += 1;
        state.paused_until = Duration::ZERO;
        let run = state.run;
        self.trace.note(self.now, node, done as u64, || {
            format!("crashes for {down:?}, {done} more disk tasks done")
        });
        self.schedule(down, Event::Restart { node, run });
        self.coverage.crashes += 1;
        self.clients_lose(node);
        self.operator.lose(node);
        self.hosts_lose(node);
        Ok(())
    }

    /// Makes sure that the driver takes a turn at `at` or before.
    pub(super) fn wake(&mut self, node: usize, at: Duration) {
        let run = self.nodes[node].run;
        let Some(live) = &mut self.nodes[node].live else {
            return;
        };
        if live.turn_at.is_none_or(|due| at < due) {
            live.turn_at = Some(at);
            self.schedule_at(at, Event::Turn { node, run });
        }
    }

    /// Puts an input before the driver.
    pub(super) fn put(&mut self, node: usize, input: SimInput) {
        let delay = self.rng.micros(0, self.profile.inbox_max_us);
        if let Some(live) = &mut self.nodes[node].live {
            live.inbox.push_back(input);
            self.wake(node, self.now + delay);
        }
    }

    /// The driver takes in what waits, and acts; as the driver's thread does.
    pub(super) fn turn(&mut self, node: usize) -> Result<(), Violation> {
        let (now, run) = (self.now, self.nodes[node].run);
        let wall_ms = self.nodes[node].wall_ms(now);
        let few = self.rng.chance(100);
        let clock = self.nodes[node].clock(now);
        let Some(live) = &mut self.nodes[node].live else {
            return Ok(());
        };
        if live.turn_at.is_none_or(|due| due > now) {
            // Another turn has done its work.
            return Ok(());
        }
        live.turn_at = None;
        live.driver.env_mut().wall_ms = wall_ms;
        let inputs = if few {
            live.inbox.len().min(1)
        } else {
            live.inbox.len()
        };
        live.driver.handle(clock, SimInput::Tick);
        for input in live.inbox.drain(..inputs) {
            live.driver.handle(clock, input);
        }
        live.driver.turn();
        let outputs = std::mem::take(&mut live.driver.env_mut().outputs);
        let (more, due) = (!live.inbox.is_empty(), live.driver.next_deadline());
        live.idle_turns = if inputs == 0 && outputs.is_empty() && due <= clock {
            live.idle_turns + 1
        } else {
            0
        };
        if live.idle_turns >= SPINNING {
            let detail = format!(
                "n{node} wants to be woken at {due:?}, has nothing to do, and wants it again"
            );
            return Err(Violation {
                invariant: "an idle node is quiet",
                detail,
            });
        }
        let core = live.driver.core();
        self.trace.note(now, node, (inputs as u64) << 32 | outputs.len() as u64, || {
            let log = core.log();
            format!(
                "{:?} of term {}: {inputs} inputs, {} outputs; applied {} committed {} stable {} last {}",
                core.role(), core.term(), outputs.len(), log.applied(), log.committed(), log.stable(), log.last()
            )
        });
        let nodes = &self.nodes;
        if let Some(live) = &nodes[node].live {
            let core = live.driver.core();
            self.invariants
                .after_turn(node, run, core, &Self::disks(nodes))?;
            self.invariants
                .on_backlog(node, core, nodes[node].backlog(live))?;
            let clocks = ClocksNow {
                majority_is_right: self.profile.clocks == ClockKind::MajorityRight,
                are_bounded: self.profile.clocks != ClockKind::Unbounded,
                fault_unbounded: self.planted.is_some_and(Planted::removes_bound),
                right_ms: RIGHT_EPOCH_MS + u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
                monotonic: clock,
            };
            self.invariants.on_log_time(node, run, core, clocks)?;
        }
        Invariants::on_leases(
            nodes
                .iter()
                .filter_map(|node| Some((node.core()?, node.clock(now)))),
        )?;
        let due = nodes[node].when(due);
        self.wake(
            node,
            if more {
                now
            } else {
                due.max(now + Duration::from_micros(10))
            },
        );
        self.carry_out(node, outputs)
    }

    /// Does what the driver wants done, or crashes halfway.
    fn carry_out(&mut self, node: usize, mut outputs: Vec<Output>) -> Result<(), Violation> {
        let torn = !self.calm
            && !self.lull
            && !outputs.is_empty()
            && self.rng.chance(self.profile.torn_turns_per_mille);
        if torn {
            outputs.truncate(self.rng.place(outputs.len()));
        }
        for output in outputs {
            self.do_output(node, output)?;
        }
        if torn {
            self.coverage.torn_turns += 1;
            let down = self.rng.millis(1, 500);
            self.crash(node, down)?;
        }
        Ok(())
    }
}

fn scaled(time: Duration, by: u64, of: u64) -> Duration {
    let nanos = time.as_nanos() * u128::from(by) / u128::from(of);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn last_time_ms(
    log: &SimLog,
    stored: &StoredState,
    snapshot: Option<&SnapshotMeta>,
) -> Result<u64, StorageError> {
    let mut time_ms = snapshot.map_or(0, |meta| meta.time_ms);
    if stored.last.index > stored.purged.index {
        let newest = log.read(stored.last.index, stored.last.index, u64::MAX)?;
        time_ms = newest.last().map_or(0, |entry| entry.time_ms).max(time_ms);
    }
    Ok(time_ms)
}
