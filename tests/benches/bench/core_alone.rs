//! The consensus core alone: three nodes in one thread, messages handed over at once, every write durable at once.
//! What is left is what Raft itself costs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use task_queue_raft::entry::Command;
use task_queue_raft::ids::{Lineage, NodeId};
use task_queue_raft::message::Message;
use task_queue_raft::raft::{Core, CoreConfig, Limits, Role};
use task_queue_raft::storage::StoredState;

use super::Options;
use super::report::Report;

/// Entries in one turn of the nodes, and commands in one entry.
const SHAPES: [(usize, usize); 3] = [(1, 1), (64, 1), (1, 256)];

/// Measures each shape for one turn.
pub(crate) fn measure(options: &Options, report: &mut Report) {
    for (entries, commands) in SHAPES {
        let mut cluster = Cluster::new();
        cluster.elect();
        let (begun, mut done) = (Instant::now(), 0_u64);
        while begun.elapsed() < options.turn() {
            done += cluster.commit(entries, commands);
        }
        let rate = done as f64 / begun.elapsed().as_secs_f64();
        let name = format!("core alone, {entries} entries in flight, {commands} commands each");
        report.line(&name, rate, "commands/s");
    }
}

struct Cluster {
    ids: Vec<NodeId>,
    cores: Vec<Core>,
    now: Duration,
    mail: VecDeque<(usize, usize, Message)>,
    data: Bytes,
}

impl Cluster {
    fn new() -> Self {
        let ids: Vec<NodeId> = ["a", "b", "c"].into_iter().map(NodeId::from).collect();
        let cores = ids.iter().enumerate().map(|(seed, id)| {
            let config = CoreConfig {
                lease_drift_percent: None,
                max_clock_skew: None,
                id: id.clone(),
                voters: ids.iter().cloned().collect::<BTreeSet<_>>(),
                addresses: BTreeMap::new(),
                election_timeout_min: Duration::from_secs(1),
                election_timeout_max: Duration::from_secs(2),
                heartbeat_interval: Duration::from_millis(300),
                max_log_entries: u64::MAX,
                snapshot_threshold: u64::MAX,
                limits: Limits {
                    cache_bytes: 1 << 20,
                    ..Limits::default()
                },
                seed: seed as u64,
                initial_settings: Bytes::new(),
                known_level: 0,
                new_lineage: Lineage::NONE,
            };
            Core::new(config, &StoredState::default(), None, 0, Duration::ZERO)
        });
        Self {
            cores: cores.collect(),
            ids,
            now: Duration::ZERO,
            mail: VecDeque::new(),
            data: Bytes::from(vec![0x5a; 256]),
        }
    }

    /// Lets time pass for the first node until it leads.
    fn elect(&mut self) {
        while self.cores[0].role() != Role::Leader {
            self.now = self.cores[0].next_deadline();
            self.cores[0].tick(self.now);
            self.settle();
        }
    }

    /// Has some entries committed and applied on all nodes; returns how many commands they hold.
    fn commit(&mut self, entries: usize, commands: usize) -> u64 {
        for _ in 0..entries {
            let command = |sequence| Command {
                session: 1,
                sequence,
                data: self.data.clone(),
            };
            let batch = (0..commands as u64).map(command).collect();
            self.cores[0]
                .propose(self.now, 0, batch)
                .expect("there is room");
        }
        self.settle();
        let last = self.cores[0].log().last().index;
        assert!(self.cores.iter().all(|core| core.log().applied() == last));
        (entries * commands) as u64
    }

    /// Carries out what the cores want until they want nothing more.
    fn settle(&mut self) {
        loop {
            let mut busy = false;
            for at in 0..self.cores.len() {
                busy |= self.carry_out(at);
            }
            while let Some((from, to, message)) = self.mail.pop_front() {
                busy = true;
                self.cores[to].step(self.now, &(&self.ids[from]).into(), message);
            }
            if !busy {
                return;
            }
        }
    }

    fn carry_out(&mut self, at: usize) -> bool {
        let ready = self.cores[at].ready();
        if ready.is_empty() {
            return false;
        }
        if let Some((id, _)) = ready.write {
            self.cores[at].persisted(self.now, id);
        }
        for envelope in ready.messages {
            let to = self.ids.iter().position(|id| *id == envelope.to);
            self.mail.extend(to.map(|to| (at, to, envelope.message)));
        }
        if let Some(last) = ready.apply.last() {
            self.cores[at].applied(self.now, last.id.index);
        }
        true
    }
}
