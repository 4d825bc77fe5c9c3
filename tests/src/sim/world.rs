//! A cluster, its clients and its faults in virtual time: one queue of events, one thread, no clock.

mod acts;
mod clients;
mod disks;
mod faults;
mod flags;
mod foreign_nodes;
mod host;
mod lull;
mod node;
mod operator;
mod releases;
mod settle;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use task_queue_raft::ids::{NodeId, StoreId};

use self::acts::Upgrading;
use self::clients::{Client, Retry};
use self::host::{Gates, Proposals};
use self::node::Node;
use self::operator::Operator;
pub(crate) use self::settle::FINDS_DIFFERENCE;
use super::clocks::{self, ClockKind};
use super::coverage::Coverage;
use super::history::{History, OpId};
use super::invariants::{DiskView, Invariants};
use super::machine::{self, GuestLever, MachineKind, MachineSetup};
use super::network::{Frame, Network};
use super::planted::Planted;
use super::profile::Profile;
use super::rng::Rng;
use super::store::{SimLog, SimSnapshots};
use super::trace::{Trace, TraceLines};
use super::violation::Violation;
use super::{Report, SimConfig};

/// A run with more events than this is considered endless.
const MAX_EVENTS: u64 = 2_000_000;

/// Store and run of a node.
type Tag = (StoreId, u64);

/// An event at its time. Events of a node belong to one run of it: a crash cancels them.
#[derive(Debug)]
enum Event {
    /// The driver handles its waiting inputs and takes a turn.
    Turn { node: usize, run: u32 },
    /// The disk has finished its first task.
    Disk { node: usize, run: u32 },
    /// The state machine has finished its first task.
    Machine { node: usize, run: u32 },
    /// A message arrives.
    Arrival {
        from: usize,
        to: usize,
        /// The store and the run of the sender when it sent the message.
        tag: Tag,
        frame: Frame,
    },
    /// A process restarts or continues.
    Restart { node: usize, run: u32 },
    /// A client begins a request.
    Client { client: usize },
    /// A client repeats a request without an outcome.
    Again { op: OpId },
    /// The operator replaces a node with a corrupt disk.
    Replace { node: usize },
    /// A node whose state is to be reinstalled requests a snapshot.
    Reinstall {
        node: usize,
        run: u32,
        least: Duration,
    },
    /// The next fault is due.
    Fault,
    /// The host of a node looks after its duties.
    Host { node: usize, run: u32 },
    /// Operators of the guest do the next thing.
    Act,
    /// An operator goes on with an upgrade.
    Upgrade,
    /// No effect: time passes up to here.
    Mark,
}

/// Everything.
pub(crate) struct World {
    now: Duration,
    queue: BTreeMap<(Duration, u64), Event>,
    scheduled: u64,
    profile: Profile,
    planted: Option<Planted>,
    ids: Vec<NodeId>,
    /// How many of them are members from the start.
    founders: usize,
    operator: Operator,
    nodes: Vec<Node>,
    network: Network,
    clients: Vec<Client>,
    /// Commands that may be sent again.
    retries: BTreeMap<OpId, Retry>,
    history: History,
    invariants: Invariants,
    coverage: Coverage,
    /// Writes that nodes have requested from their disks.
    writes: u64,
    pub(crate) trace: Trace,
    /// Draws of nodes (delays, sessions), of faults and of clients.
    rng: Rng,
    fault_rng: Rng,
    client_rng: Rng,
    /// Draws of the operator who changes flags.
    flag_rng: Rng,
    /// Draws of the operators of the guest.
    act_rng: Rng,
    /// What the gates of nodes have let in.
    gates: Gates,
    proposals: Proposals,
    /// How many records were proposed.
    proposed: u64,
    upgrading: Option<Upgrading>,
    lever: Arc<GuestLever>,
    corruptions: u32,
    /// A log may have a record that the release before can't read, so no node goes back to it.
    raised: bool,
    /// Disks that were lost before the cluster existed.
    early_wipes: usize,
    /// How many more faults the storm has; none: as many as there is time for.
    faults_left: Option<u64>,
    /// The storm pauses, with only a quorum alive.
    lull: bool,
    /// The storm is over.
    calm: bool,
    /// When that was.
    calm_at: Duration,
    /// After it each node was sent a command.
    probed: bool,
}

impl World {
    pub(crate) fn new(config: &SimConfig, lines: TraceLines) -> Self {
        let (profile, mut rng) = config.drawn();
        let nodes = config.nodes + profile.spares;
        let network = Network::new(nodes, profile.network.clone(), rng.fork());
        let lever = Arc::new(GuestLever::default());
        let reference = MachineSetup {
            kind: profile.machine,
            node: usize::MAX - 1,
            planted: None,
            limits: machine::limits(profile.keys_expire(), None),
            lever: Arc::new(GuestLever::of_reference()),
        };
        let mut world = Self {
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            scheduled: 0,
            planted: config.planted,
            founders: config.nodes,
            operator: Operator::default(),
            ids: (0..nodes)
                .map(|node| NodeId::from(format!("n{node}")))
                .collect(),
            nodes: Vec::new(),
            network,
            clients: vec![Client::default(); profile.clients],
            retries: BTreeMap::new(),
            history: History::default(),
            invariants: Invariants::new(&profile, reference),
            lever,
            coverage: Coverage::default(),
            writes: 0,
            trace: Trace::new(lines),
            fault_rng: rng.fork(),
            client_rng: rng.fork(),
            flag_rng: Rng::new(config.seed ^ 0x00f1_a650),
            act_rng: Rng::new(config.seed ^ 0x00ac_7500),
            gates: Gates::new(),
            proposals: Proposals::new(),
            proposed: 0,
            upgrading: None,
            corruptions: 0,
            rng,
            raised: false,
            early_wipes: 0,
            faults_left: config.cuts.faults,
            lull: false,
            calm: false,
            calm_at: Duration::ZERO,
            probed: false,
            profile,
        };
        world.trace.note(Duration::ZERO, 0, config.seed, || {
            format!("{:?}", world.profile)
        });
        for (index, id) in world.ids.iter().enumerate() {
            let skew = world.rng.below(world.profile.clock_skew_ms);
            let skew = if world.profile.clocks == ClockKind::MajorityRight {
                clocks::right(skew)
            } else {
                skew
            };
            let store_id = if world.profile.new_stores {
                world.rng.number() | 1
            } else {
                0
            };
            let fastest = 1000 + 10 * u64::from(world.profile.drift_percent);
            let speed = match world.rng.below(3) {
                0 => 1000,
                1 => fastest,
                _ => world.rng.between(1000, fastest),
            };
            let log = if world.profile.database {
                SimLog::database(id, world.rng.fork(), config.planted, store_id)
            } else {
                SimLog::new(config.planted, store_id)
            };
            let snapshots = SimSnapshots::new(world.profile.chunk_bytes, config.planted);
            world
                .nodes
                .push(Node::new(index, id.clone(), skew, speed, log, snapshots));
        }
        let founders = &world.ids[..world.founders];
        world.invariants.found(founders.iter());
        world
    }

    /// The whole run: a phase of faults (the storm), then a phase without faults in which the cluster must recover.
    pub(crate) fn run(&mut self) -> Result<Report, Violation> {
        for node in 0..self.nodes.len() {
            self.start(node)?;
        }
        for client in 0..self.clients.len() {
            self.schedule(
                Duration::from_millis(client as u64),
                Event::Client { client },
            );
        }
        self.wipe_a_founder()?;
        self.schedule(Duration::from_millis(200), Event::Fault);
        if self.profile.dimensions.has_operators() {
            self.schedule(Duration::from_millis(400), Event::Act);
        }
        let storm = self.profile.storm;
        for lull in 1..=self.profile.lulls {
            self.run_until(storm * lull / self.profile.lulls)?;
            self.lull()?;
        }
        self.run_until(storm)?;
        self.settle()?;
        Ok(Report {
            events: self.trace.events(),
            hash: self.trace.hash(),
            coverage: self.coverage(),
            virtual_time: self.now,
        })
    }

    pub(crate) fn coverage(&self) -> Coverage {
        let mut coverage = self.coverage;
        coverage.elections = self.invariants.leaders();
        coverage.databases = u64::from(self.profile.database);
        for disk in self.nodes.iter().filter_map(|node| node.log.disk()) {
            let counts = disk.counts();
            coverage.torn_writes += counts.torn;
            coverage.lost_writes += counts.lost;
            coverage.failed_writes += counts.errors;
            coverage.damages += counts.damages;
        }
        self.invariants.count(&mut coverage);
        coverage.guests = u64::from(self.profile.machine == MachineKind::Guest);
        self.history.count(&mut coverage);
        coverage
    }

    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.schedule_at(self.now + after, event);
    }

    fn schedule_at(&mut self, at: Duration, event: Event) {
        self.scheduled += 1;
        self.queue.insert((at.max(self.now), self.scheduled), event);
    }

    fn run_until(&mut self, end: Duration) -> Result<(), Violation> {
        self.schedule_at(end, Event::Mark);
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            if matches!(event, Event::Mark) {
                return Ok(());
            }
            if self.trace.events() > MAX_EVENTS {
                let detail = format!("{MAX_EVENTS} events in {at:?}");
                return Err(Violation {
                    invariant: "a cluster is not busy for its own sake",
                    detail,
                });
            }
            self.happen(event)?;
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Turn { node, run } if self.is_awake(node, run, Event::Turn { node, run }) => {
                self.turn(node)
            }
            Event::Disk { node, run } if self.is_awake(node, run, Event::Disk { node, run }) => {
                self.disk_step(node)
            }
            Event::Machine { node, run }
                if self.is_awake(node, run, Event::Machine { node, run }) =>
            {
                self.machine_step(node)
            }
            Event::Arrival {
                from,
                to,
                tag,
                frame,
            } => self.arrive(from, to, tag, &frame),
            Event::Restart { node, run } if self.nodes[node].run == run => self.start(node),
            Event::Client { client } => {
                self.client_acts(client);
                Ok(())
            }
            Event::Again { op } => {
                self.ask_again(op);
                Ok(())
            }
            Event::Reinstall { node, run, least } => self.carry_on_reinstall(node, run, least),
            Event::Replace { node } => {
                self.replace(node);
                Ok(())
            }
            Event::Fault => self.next_fault(),
            Event::Host { node, run } if self.is_awake(node, run, Event::Host { node, run }) => {
                self.host_step(node, run)
            }
            Event::Act => {
                self.act();
                Ok(())
            }
            Event::Upgrade => {
                self.upgrade();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether a node's event may happen now. A paused process does it when it continues.
    fn is_awake(&mut self, node: usize, run: u32, event: Event) -> bool {
        let state = &self.nodes[node];
        if state.run != run || state.live.is_none() {
            return false;
        }
        let until = state.paused_until;
        if until > self.now {
            self.schedule_at(until, event);
            return false;
        }
        true
    }

    fn disks(nodes: &[Node]) -> Vec<DiskView<'_>> {
        nodes.iter().map(Node::disk_view).collect()
    }
}
