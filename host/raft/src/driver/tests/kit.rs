//! Drivers with queues in memory as their environment, and the production disk and applier behind these.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::machine::ClassedMachine;
use crate::applier::Applier;
use crate::disk::{Disk, DiskTask};
use crate::driver::*;
use crate::entry::ClusterState;
use crate::entry::*;
use crate::ids::*;
use crate::message::*;
use crate::raft::fault::CoreFault;
use crate::raft::ready::IdentityChange;
use crate::raft::{Core, CoreConfig, Limits, Role};
use crate::storage::memory::{MemorySnapshots, MemoryStore};
use crate::storage::{LogStore, SnapshotStore};

pub(super) const MIN: Duration = Duration::from_millis(1000);
pub(super) const MAX: Duration = Duration::from_millis(2000);
pub(super) const HEARTBEAT: Duration = Duration::from_millis(300);
/// Default timeout of a client in these tests.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);
pub(super) const LEADER_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) type Outcome = Result<Applied<Bytes>, SubmitError>;
type Machine = ClassedMachine;

/// An environment that keeps the work it is given.
#[derive(Default)]
pub(super) struct Queues {
    pub(super) disk: VecDeque<DiskTask>,
    pub(super) machine: VecDeque<MachineTask<Machine, u32>>,
    pub(super) sent: Vec<(NodeId, Message)>,
    pub(super) outcomes: BTreeMap<u32, Outcome>,
    pub(super) responses: BTreeMap<u32, Result<(Index, Option<Bytes>), SubmitError>>,
    pub(super) admin: BTreeMap<u32, Result<Index, AdminError>>,
    pub(super) peers: BTreeMap<NodeId, String>,
}

impl Environment<Machine> for Queues {
    type CommandClient = u32;
    type QueryClient = u32;
    type Operator = u32;

    fn disk(&mut self, task: DiskTask) {
        self.disk.push_back(task);
    }
    fn machine(&mut self, task: MachineTask<Machine, u32>) {
        self.machine.push_back(task);
    }
    fn send(&mut self, to: &NodeId, message: Message) {
        self.sent.push((to.clone(), message));
    }
    fn reply(&mut self, client: u32, outcome: Outcome) {
        assert_eq!(
            self.outcomes.insert(client, outcome),
            None,
            "{client} was completed before"
        );
    }
    fn reject_query(&mut self, client: u32, error: SubmitError) {
        assert_eq!(
            self.responses.insert(client, Err(error)),
            None,
            "{client} was completed before"
        );
    }
    fn complete(&mut self, operator: u32, outcome: Result<Index, AdminError>) {
        assert_eq!(
            self.admin.insert(operator, outcome),
            None,
            "{operator} was completed before"
        );
    }
    fn set_identity(&mut self, _: IdentityChange) {}

    fn fail(&mut self, fault: CoreFault) {
        panic!("{fault}");
    }

    fn set_peers(&mut self, peers: BTreeMap<NodeId, String>) {
        self.peers = peers;
    }
    fn wall_ms(&mut self) -> u64 {
        1_700_000_000_000
    }
}

#[derive(Clone)]
pub(super) struct Setup {
    pub(super) core: CoreConfig,
    pub(super) driver: DriverLimits,
}

pub(super) fn setup(id: &str, voters: &str) -> Setup {
    Setup {
        core: CoreConfig {
            id: id.into(),
            voters: voters.split_whitespace().map(NodeId::from).collect(),
            addresses: BTreeMap::new(),
            election_timeout_min: MIN,
            election_timeout_max: MAX,
            heartbeat_interval: HEARTBEAT,
            max_log_entries: 1000,
            snapshot_threshold: 500,
            lease_drift_percent: None,
            max_clock_skew: None,
            limits: Limits::default(),
            seed: id.bytes().map(u64::from).sum(),
            initial_settings: Bytes::new(),
            known_level: 0,
            new_lineage: Lineage::NONE,
        },
        driver: DriverLimits {
            leader_timeout: LEADER_TIMEOUT,
            ..DriverLimits::default()
        },
    }
}

pub(super) struct Node {
    pub(super) driver: Driver<Machine, Queues>,
    pub(super) now: Duration,
    /// If false, its tasks wait.
    pub(super) disk_works: bool,
    /// If false, its tasks wait.
    pub(super) machine_works: bool,
    pub(super) applier: Applier<Machine>,
    setup: Setup,
    disk: Disk,
    log: MemoryStore,
    snapshots: MemorySnapshots,
    session: u64,
}

impl Node {
    pub(super) fn new(setup: Setup) -> Self {
        let session = setup.core.id.as_str().bytes().map(u64::from).sum();
        Self::start(
            setup,
            MemoryStore::new(),
            MemorySnapshots::new(),
            session,
            Duration::ZERO,
        )
    }

    fn start(
        setup: Setup,
        mut log: MemoryStore,
        snapshots: MemorySnapshots,
        session: u64,
        now: Duration,
    ) -> Self {
        let stored = log.load().unwrap();
        let newest = snapshots.newest().unwrap();
        let shelf: Arc<dyn SnapshotStore> = Arc::new(snapshots.clone());
        let mut applier = Applier::new(Machine::default(), Arc::clone(&shelf));
        if let Some(meta) = &newest {
            applier.restore(meta).unwrap();
        }
        let core = Core::new(setup.core.clone(), &stored, newest, 0, now);
        Self {
            driver: Driver::new(core, Queues::default(), setup.driver.clone(), session),
            now,
            disk_works: true,
            machine_works: true,
            applier,
            setup,
            disk: Disk::new(Box::new(log.clone()), shelf),
            log,
            snapshots,
            session,
        }
    }

    /// Restarts the node, with the data on its disk and a new session.
    pub(super) fn restart(&mut self) {
        let (log, snapshots) = (self.log.clone(), self.snapshots.clone());
        *self = Self::start(
            self.setup.clone(),
            log,
            snapshots,
            self.session + 1000,
            self.now,
        );
    }

    pub(super) fn handle(&mut self, input: Input<Machine, Queues>) {
        self.driver.handle(self.now, input);
    }

    /// Takes turns until there is no more work.
    pub(super) fn run(&mut self) {
        loop {
            self.driver.turn();
            self.driver.core().check();
            let written = self.disk_works && self.finish_disk_task();
            let worked = written || (self.machine_works && self.finish_machine_task());
            if !worked {
                break;
            }
        }
    }

    pub(super) fn finish_disk_task(&mut self) -> bool {
        let Some(task) = self.driver.env_mut().disk.pop_front() else {
            return false;
        };
        let done = self.disk.run(task).unwrap();
        self.handle(Input::Disk(done));
        true
    }

    pub(super) fn finish_machine_task(&mut self) -> bool {
        let Some(task) = self.driver.env_mut().machine.pop_front() else {
            return false;
        };
        match task {
            MachineTask::Apply(entries) => {
                let replies = self.applier.apply(self.driver.session(), entries).unwrap();
                self.handle(Input::Applied(self.applier.last().index, replies));
            }
            MachineTask::Query(position, client) => {
                let response = self.applier.query(position);
                self.driver.env_mut().responses.insert(client, Ok(response));
            }
            MachineTask::TakeSnapshot => {
                let taken = self.applier.take_snapshot();
                let taken = taken.map_err(|error| error.to_string().into());
                self.handle(Input::SnapshotTaken(taken));
            }
            MachineTask::CheckSnapshot(meta) => {
                let is_sound = self.applier.snapshots().check(&meta).is_ok();
                self.handle(Input::SnapshotChecked(meta, is_sound));
            }
            MachineTask::Restore(meta) => {
                self.applier.restore(&meta).unwrap();
                self.handle(Input::Restored(meta));
            }
        }
        true
    }

    /// Replaces the state of its machine, and its newest snapshot, by one that holds only this command.
    pub(super) fn spoil(&mut self, command: &str) {
        let last = self.applier.last();
        let mut writer = self
            .snapshots
            .create(last, 0, None, ClusterState::default())
            .unwrap();
        let length = (command.len() as u64).to_be_bytes();
        writer.write_all(&length).unwrap();
        writer.write_all(command.as_bytes()).unwrap();
        let meta = writer.finish().unwrap();
        self.applier.restore(&meta).unwrap();
    }

    /// The snapshot that was set aside last, if any.
    pub(super) fn set_aside(&self) -> Option<SnapshotMeta> {
        self.snapshots.last_quarantined()
    }

    pub(super) fn core(&self) -> &Core {
        self.driver.core()
    }

    pub(super) fn propose(&mut self, client: u32, data: &'static str) {
        self.submit(client, data, true, DEADLINE);
    }

    pub(super) fn submit(
        &mut self,
        client: u32,
        data: &'static str,
        forward: bool,
        wait: Duration,
    ) {
        let (data, deadline) = (Bytes::from_static(data.as_bytes()), self.now + wait);
        self.handle(Input::Propose {
            data,
            deadline,
            forward,
            client,
        });
    }

    pub(super) fn query(&mut self, client: u32, query: usize, consistency: Consistency) {
        self.query_for(client, query, consistency, DEADLINE);
    }

    pub(super) fn query_for(
        &mut self,
        client: u32,
        query: usize,
        consistency: Consistency,
        wait: Duration,
    ) {
        let deadline = self.now + wait;
        self.handle(Input::Query {
            query,
            consistency,
            deadline,
            client,
        });
    }

    pub(super) fn admin(&mut self, operator: u32, request: AdminRequest) {
        let deadline = self.now + DEADLINE;
        self.handle(Input::Admin {
            request,
            deadline,
            operator,
        });
    }

    /// The outcome of an admin request, if it is known.
    pub(super) fn completed(&self, operator: u32) -> Option<&Result<Index, AdminError>> {
        self.driver.env().admin.get(&operator)
    }

    pub(super) fn outcome(&self, client: u32) -> Option<&Outcome> {
        self.driver.env().outcomes.get(&client)
    }

    /// Whether a client has its reply, which is its command.
    pub(super) fn was_done(&self, client: u32, data: &'static str) -> bool {
        matches!(self.outcome(client), Some(Ok(applied)) if applied.reply == data)
    }

    /// The commands that the machine has applied, in order.
    pub(super) fn applied(&self) -> Vec<&str> {
        let commands = self.applier.machine().0.commands().iter();
        commands
            .map(|command| std::str::from_utf8(command).unwrap())
            .collect()
    }
}

/// Nodes whose messages arrive at once, unless they are lost or held back.
pub(super) struct Cluster {
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) now: Duration,
    cut: BTreeSet<String>,
    /// Messages that this selects do not arrive, and are put into `kept`.
    pub(super) keep: fn(&Message) -> bool,
    pub(super) kept: Vec<(String, NodeId, Message)>,
}

impl Cluster {
    pub(super) fn of(names: &str) -> Self {
        Self::with(names.split(' ').map(|id| setup(id, names)))
    }

    pub(super) fn with(setups: impl Iterator<Item = Setup>) -> Self {
        let nodes = setups.map(|setup| (setup.core.id.as_str().to_owned(), Node::new(setup)));
        Self {
            nodes: nodes.collect(),
            now: Duration::ZERO,
            cut: BTreeSet::new(),
            keep: |_| false,
            kept: Vec::new(),
        }
    }

    pub(super) fn node(&mut self, id: &str) -> &mut Node {
        self.nodes.get_mut(id).unwrap()
    }

    pub(super) fn cut_off(&mut self, id: &str) {
        self.cut.insert(id.to_owned());
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(super) fn deliver(&mut self, from: &str, to: &NodeId, message: Message) {
        let now = self.now;
        let node = self.node(to.as_str());
        node.now = now;
        node.handle(Input::Message(from.into(), message));
        node.run();
    }

    /// Runs all nodes and delivers their messages, until none sends any more.
    pub(super) fn settle(&mut self) {
        loop {
            let mut mail = Vec::new();
            for (from, node) in &mut self.nodes {
                node.now = self.now;
                node.run();
                let sent = std::mem::take(&mut node.driver.env_mut().sent).into_iter();
                mail.extend(sent.map(|(to, message)| (from.clone(), to, message)));
            }
            if mail.is_empty() {
                break;
            }
            for (from, to, message) in mail {
                if self.cut.contains(&from) || self.cut.contains(to.as_str()) {
                    continue;
                }
                if (self.keep)(&message) {
                    self.kept.push((from, to, message));
                } else {
                    self.deliver(&from, &to, message);
                }
            }
        }
    }

    /// Lets time pass on all nodes.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self
                .nodes
                .values()
                .map(|node| node.driver.next_deadline())
                .min();
            self.now = next.unwrap_or(end).clamp(self.now, end);
            for node in self.nodes.values_mut() {
                node.now = self.now;
                node.handle(Input::Tick);
            }
            self.settle();
            if self.now == end {
                break;
            }
        }
    }

    /// Makes a node the leader: its election timeout ends while no leader sends heartbeats.
    pub(super) fn elect(&mut self, id: &str) {
        self.now += MAX * 2;
        let now = self.now;
        let node = self.node(id);
        node.now = now;
        node.handle(Input::Tick);
        self.settle();
        assert_eq!(self.node(id).core().role(), Role::Leader);
    }

    /// Makes a leader step down for lack of a majority, before any other node acts.
    pub(super) fn step_down(&mut self, id: &str) {
        self.now += MIN * 2;
        let now = self.now;
        let node = self.node(id);
        node.now = now;
        node.handle(Input::Tick);
        node.run();
        assert_eq!(node.core().role(), Role::Follower);
    }

    /// Proposes at a node, and runs the cluster until there is no more work.
    pub(super) fn propose(&mut self, id: &str, client: u32, data: &'static str) {
        let now = self.now;
        let node = self.node(id);
        node.now = now;
        node.propose(client, data);
        self.settle();
    }
}
