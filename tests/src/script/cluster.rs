//! The nodes of a script, what is in flight between them, and the commands.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use task_queue_raft::entry::Command as Order;
use task_queue_raft::ids::{Index, Lineage, NodeId};
use task_queue_raft::message::Message;
use task_queue_raft::raft::membership::change::ChangeProgress;
use task_queue_raft::raft::{CoreConfig, Limits, Role};
use task_queue_raft::storage::memory::{MemorySnapshots, MemoryStore};

use super::change;
use super::command::Command;
use super::node::Node;
use super::print;

/// Options of `nodes`.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// `inflight`: messages with entries in flight to one peer.
    pub in_flight: usize,
    /// `message`: entries of one message, in bytes of their cost. 64 and less: one entry each.
    pub message_bytes: u64,
    /// `threshold`: a snapshot is taken after so many applied entries, and half of it stays in the log.
    pub threshold: u64,
    /// `log`: most entries in the log, and as many more for control records.
    pub log: u64,
    /// `spare`: more nodes, with the numbers after the voters', that wait to be added.
    pub spare: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            in_flight: 64,
            message_bytes: 1 << 20,
            threshold: 500,
            log: 1000,
            spare: 0,
        }
    }
}

impl Options {
    fn of(command: &Command) -> Result<Self, String> {
        command.check_options(&["inflight", "message", "threshold", "log", "spare"])?;
        let default = Self::default();
        let in_flight = command.option("inflight")?;
        Ok(Self {
            in_flight: in_flight.map_or(default.in_flight, |most| {
                usize::try_from(most).unwrap_or(usize::MAX)
            }),
            message_bytes: command.option("message")?.unwrap_or(default.message_bytes),
            threshold: command.option("threshold")?.unwrap_or(default.threshold),
            log: command.option("log")?.unwrap_or(default.log),
            spare: command.option("spare")?.unwrap_or(default.spare),
        })
    }

    /// Timeouts of exactly a second, so that a script's times can be read.
    fn config(&self, id: u64, nodes: u64) -> CoreConfig {
        CoreConfig {
            addresses: BTreeMap::new(),
            id: name(id),
            // A spare node knows no members until it is added.
            voters: (1..=nodes).filter(|_| id <= nodes).map(name).collect(),
            election_timeout_min: Duration::from_millis(1000),
            election_timeout_max: Duration::from_millis(1000),
            heartbeat_interval: Duration::from_millis(300),
            max_log_entries: self.log,
            snapshot_threshold: self.threshold,
            lease_drift_percent: None,
            initial_settings: Bytes::new(),
            max_clock_skew: None,
            known_level: 0,
            new_lineage: Lineage::NONE,
            limits: Limits {
                in_flight_messages: self.in_flight,
                message_bytes: self.message_bytes,
                reserved_entries: self.log,
                ..Limits::default()
            },
            seed: id,
        }
    }
}

fn name(id: u64) -> NodeId {
    id.to_string().into()
}

/// Whether the disk or the machine of a node is to be fast.
fn is_fast(command: &Command) -> Result<bool, String> {
    match command.arg(1)? {
        "fast" => Ok(true),
        "slow" => Ok(false),
        other => Err(format!("fast or slow, not {other}")),
    }
}

/// A message in flight.
struct Packet {
    from: NodeId,
    to: NodeId,
    message: Message,
}

/// The nodes, by name, and the messages in flight, in the order in which they were sent.
#[derive(Default)]
pub struct Cluster {
    nodes: BTreeMap<NodeId, Node>,
    network: Vec<Packet>,
}

impl Cluster {
    /// Carries out a command, and returns what the nodes did.
    ///
    /// # Errors
    /// Where the command is unknown, malformed, or impossible now.
    pub fn carry_out(&mut self, command: &Command) -> Result<Vec<String>, String> {
        match command.name.as_str() {
            "nodes" => self.start(command),
            "campaign" => self.campaign(command),
            "tick" => self.tick(command),
            "elapse" => self.elapse(command),
            "propose" => self.propose(command),
            "read" => {
                let (id, node) = (command.number(1)?, self.node(command.number(0)?)?);
                node.inner.core.read(node.inner.now, id);
                self.gather(command.number(0)?)
            }
            "change" => self.change(command),
            "transfer" => self.transfer(command),
            "forget" => {
                let node = self.node(command.number(0)?)?;
                node.inner.core.forget_leader(node.inner.now);
                self.gather(command.number(0)?)
            }
            "deliver" => self.deliver(command),
            "stabilize" => self.stabilize(command),
            "disk" => self.disk(command),
            "persist" => self.persist(command),
            "machine" => self.machine(command),
            "compact" => {
                self.node(command.number(0)?)?.inner.core.take_snapshot();
                self.gather(command.number(0)?)
            }
            "restart" => {
                let node = self.node(command.number(0)?)?;
                *node = node.restarted();
                self.gather(command.number(0)?)
            }
            "show" => self.show(command),
            "log" => {
                let stored = self.node(command.number(0)?)?.stored()?;
                Ok(stored.iter().map(print::entry).collect())
            }
            other => Err(format!("{other} is no command")),
        }
    }

    fn start(&mut self, command: &Command) -> Result<Vec<String>, String> {
        let (count, options) = (command.number(0)?, Options::of(command)?);
        if !self.nodes.is_empty() || count == 0 || count + options.spare > 9 {
            return Err("nodes comes once, with 1 to 9".to_owned());
        }
        for id in 1..=count + options.spare {
            let (log, snapshots) = (MemoryStore::new(), MemorySnapshots::new());
            let node = Node::start(options.config(id, count), log, snapshots, Duration::ZERO);
            self.nodes.insert(name(id), node);
        }
        Ok(Vec::new())
    }

    fn node(&mut self, id: u64) -> Result<&mut Node, String> {
        let node = self.nodes.get_mut(&name(id));
        node.ok_or_else(|| format!("there is no node {id}"))
    }

    /// The nodes from this argument on; all where there is none.
    fn named(&self, command: &Command, at: usize) -> Result<Vec<NodeId>, String> {
        let named: Vec<_> = command.numbers_from(at)?.into_iter().map(name).collect();
        if let Some(unknown) = named.iter().find(|id| !self.nodes.contains_key(id)) {
            return Err(format!("there is no node {unknown}"));
        }
        Ok(if named.is_empty() {
            self.nodes.keys().cloned().collect()
        } else {
            named
        })
    }

    /// Lets a node carry out its requests, and collects its lines and messages.
    fn gather(&mut self, id: u64) -> Result<Vec<String>, String> {
        let node = self.node(id)?;
        node.run();
        let (lines, sent) = (node.take_lines(), node.take_sent());
        let packets = sent.into_iter().map(|(to, message)| Packet {
            from: name(id),
            to,
            message,
        });
        self.network.extend(packets);
        Ok(lines)
    }

    fn campaign(&mut self, command: &Command) -> Result<Vec<String>, String> {
        let node = self.node(command.number(0)?)?;
        if node.inner.core.role() == Role::Leader {
            return Err("a leader does not campaign".to_owned());
        }
        node.inner.now = node.inner.now.max(node.inner.core.election_deadline());
        node.inner.core.tick(node.inner.now);
        self.gather(command.number(0)?)
    }

    fn tick(&mut self, command: &Command) -> Result<Vec<String>, String> {
        let node = self.node(command.number(0)?)?;
        node.inner.now = node.inner.now.max(node.inner.core.next_deadline());
        node.inner.core.tick(node.inner.now);
        self.gather(command.number(0)?)
    }

    fn elapse(&mut self, command: &Command) -> Result<Vec<String>, String> {
        let time = Duration::from_millis(command.number(0)?);
        for id in self.named(command, 1)? {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.inner.now += time;
            }
        }
        Ok(Vec::new())
    }

    fn propose(&mut self, command: &Command) -> Result<Vec<String>, String> {
        let node = self.node(command.number(0)?)?;
        let orders = command.args.iter().skip(1).zip(1..);
        let orders = orders.map(|(text, sequence)| Order {
            session: 0,
            sequence,
            data: Bytes::copy_from_slice(text.as_bytes()),
        });
        let refused = node
            .inner
            .core
            .propose(node.inner.now, 0, orders.collect())
            .err();
        let mut lines = self.gather(command.number(0)?)?;
        lines.extend(refused.map(|why| format!("{} refuses: {why}", command.args[0])));
        Ok(lines)
    }

    /// One step of a change, which a driver would repeat until it is done.
    fn change(&mut self, command: &Command) -> Result<Vec<String>, String> {
        let change = change::parse(command)?;
        let node = self.node(command.number(0)?)?;
        let response = node.inner.core.change_members(node.inner.now, 0, &change);
        let mut lines = self.gather(command.number(0)?)?;
        let response = match response {
            Ok(ChangeProgress::Done(Index(0))) => "has it so from the start".to_owned(),
            Ok(ChangeProgress::Done(index)) => format!("has it so since {index}"),
            Ok(ChangeProgress::InProgress) => "reports it in progress".to_owned(),
            Err(error) => format!("refuses: {error}"),
        };
        lines.push(format!("{} {response}", command.args[0]));
        Ok(lines)
    }

    fn transfer(&mut self, command: &Command) -> Result<Vec<String>, String> {
        let to = command.numbers_from(1)?.first().copied().map(name);
        let node = self.node(command.number(0)?)?;
        let response = node.inner.core.transfer_leadership(node.inner.now, to);
        let mut lines = self.gather(command.number(0)?)?;
        let response = match response {
            Ok(to) => format!("gives its leadership to {to}"),
            Err(error) => format!("refuses: {error}"),
        };
        lines.push(format!("{} {response}", command.args[0]));
        Ok(lines)
    }

    fn deliver(&mut self, command: &Command) -> Result<Vec<String>, String> {
        command.check_options(&["from", "drop", "count"])?;
        let names = |numbers: Vec<u64>| numbers.into_iter().map(name).collect::<Vec<_>>();
        let (from, drop) = (names(command.list("from")?), names(command.list("drop")?));
        // A command that only loses messages delivers none.
        let to = match (command.args.is_empty(), drop.is_empty()) {
            (true, false) => Vec::new(),
            _ => self.named(command, 0)?,
        };
        let mut left = command.option("count")?.unwrap_or(u64::MAX);
        let mut lines = Vec::new();
        for packet in std::mem::take(&mut self.network) {
            let concerns = |list: &[NodeId]| list.contains(&packet.to);
            let due = left > 0 && (from.is_empty() || from.contains(&packet.from));
            if due && concerns(&drop) {
                left -= 1;
                let what = print::message(&packet.message);
                lines.push(format!("lost: {}->{} {what}", packet.from, packet.to));
            } else if due && concerns(&to) {
                left -= 1;
                lines.extend(self.hand_over(packet)?);
            } else {
                self.network.push(packet);
            }
        }
        Ok(lines)
    }

    fn hand_over(&mut self, packet: Packet) -> Result<Vec<String>, String> {
        let Packet { from, to, message } = packet;
        let mut lines = vec![format!("{from}->{to} {}", print::message(&message))];
        let node = self
            .nodes
            .get_mut(&to)
            .ok_or_else(|| format!("there is no node {to}"))?;
        node.inner
            .core
            .step(node.inner.now, &(&from).into(), message);
        let id = to.as_str().parse().map_err(|_| "nodes have numbers")?;
        lines.extend(self.gather(id)?);
        Ok(lines)
    }

    fn stabilize(&mut self, command: &Command) -> Result<Vec<String>, String> {
        const MOST: usize = 10_000;
        let among = self.named(command, 0)?;
        let mut lines = Vec::new();
        for _ in 0..MOST {
            let next = self
                .network
                .iter()
                .position(|packet| among.contains(&packet.to));
            let Some(next) = next else {
                return Ok(lines);
            };
            let packet = self.network.remove(next);
            lines.extend(self.hand_over(packet)?);
        }
        Err(format!("the nodes still send after {MOST} messages"))
    }

    fn disk(&mut self, command: &Command) -> Result<Vec<String>, String> {
        let fast = is_fast(command)?;
        self.node(command.number(0)?)?.set_disk_works(fast);
        self.gather(command.number(0)?)
    }

    fn machine(&mut self, command: &Command) -> Result<Vec<String>, String> {
        let fast = is_fast(command)?;
        self.node(command.number(0)?)?.set_machine_works(fast);
        self.gather(command.number(0)?)
    }

    fn persist(&mut self, command: &Command) -> Result<Vec<String>, String> {
        let count = if command.args.len() > 1 {
            command.number(1)?
        } else {
            1
        };
        let mut lines = Vec::new();
        for _ in 0..count {
            if !self.node(command.number(0)?)?.finish_task() {
                return Err("the disk has nothing to do".to_owned());
            }
            lines.extend(self.gather(command.number(0)?)?);
        }
        Ok(lines)
    }

    fn show(&mut self, command: &Command) -> Result<Vec<String>, String> {
        let named = self.named(command, 0)?;
        let nodes = self
            .nodes
            .values()
            .filter(|node| named.contains(node.inner.core.id()));
        Ok(nodes
            .flat_map(|node| print::state(&node.inner.core))
            .collect())
    }
}
