//! One node of the model: the real core and the content of its disk.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use bytes::Bytes;
use task_queue_raft::driver::held::HeldMessages;
use task_queue_raft::entry::{Command, Entry, HardState};
use task_queue_raft::ids::{Index, Lineage, NodeId, Term};
use task_queue_raft::message::{Message, RaftRequest, RaftResponse, RequestVoteResponse};
use task_queue_raft::raft::ready::{ReadFor, WriteId};
use task_queue_raft::raft::{Core, CoreConfig, Limits, Role};
use task_queue_raft::storage::{StoredState, WriteBatch};

use super::Planted;

/// How many nodes there are.
pub(super) const NODES: usize = 3;

/// The least that a clock moves where it has to.
const STEP: Duration = Duration::from_nanos(1);

pub(super) fn name(node: usize) -> NodeId {
    ["a", "b", "c"][node].into()
}

fn config(node: usize) -> CoreConfig {
    CoreConfig {
        addresses: BTreeMap::new(),
        id: name(node),
        voters: (0..NODES).map(name).collect(),
        election_timeout_min: STEP,
        election_timeout_max: STEP,
        // Always due, so that a heartbeat can come at any time.
        heartbeat_interval: Duration::ZERO,
        max_log_entries: 1000,
        snapshot_threshold: 1000,
        lease_drift_percent: None,
        max_clock_skew: None,
        limits: Limits::default(),
        seed: 0,
        initial_settings: Bytes::new(),
        known_level: 0,
        new_lineage: Lineage::NONE,
    }
}

/// What outlives a crash.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    hard_state: HardState,
    /// From index 1 on.
    pub(super) entries: Vec<Entry>,
}

impl Stored {
    fn write(&mut self, batch: &WriteBatch) {
        if let Some(from) = batch.truncate_from {
            self.entries.retain(|entry| entry.id.index < from);
        }
        self.entries.extend(batch.entries.iter().cloned());
        if let Some(hard_state) = &batch.hard_state {
            self.hard_state = hard_state.clone();
        }
        let indexes = self.entries.iter().map(|entry| entry.id.index.0);
        assert!(indexes.eq(1..=self.entries.len() as u64), "{self:?}");
    }

    fn read(&self, from: Index, to: Index) -> Vec<Entry> {
        let wanted = |entry: &&Entry| (from..=to).contains(&entry.id.index);
        self.entries.iter().filter(wanted).cloned().collect()
    }

    fn load(&self) -> StoredState {
        let mut terms: Vec<(Index, Term)> = Vec::new();
        for Entry { id, .. } in &self.entries {
            if terms.last().is_none_or(|(_, term)| *term != id.term) {
                terms.push((id.index, id.term));
            }
        }
        StoredState {
            hard_state: self.hard_state.clone(),
            last: self
                .entries
                .last()
                .map(|entry| entry.id)
                .unwrap_or_default(),
            terms,
            ..StoredState::default()
        }
    }
}

/// What a node did in one event.
#[derive(Default)]
pub(super) struct Done {
    pub(super) sent: Vec<(NodeId, Message)>,
    pub(super) applied: Vec<Entry>,
}

/// A node.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) core: Core,
    pub(super) stored: Stored,
    place: usize,
    now: Duration,
    writing: Option<(WriteId, WriteBatch)>,
    held: HeldMessages,
    /// All of the above that decides its future, as a number.
    pub(super) digest: u64,
}

impl Node {
    pub(super) fn new(place: usize) -> Self {
        Self::start(place, Stored::default())
    }

    fn start(place: usize, stored: Stored) -> Self {
        let core = Core::new(config(place), &stored.load(), None, 0, Duration::ZERO);
        let mut node = Self {
            core,
            stored,
            place,
            now: Duration::ZERO,
            writing: None,
            held: HeldMessages::default(),
            digest: 0,
        };
        node.digest = node.digested();
        node
    }

    pub(super) fn writes(&self) -> bool {
        self.writing.is_some()
    }

    /// The entry at `index`, in memory or on the disk.
    pub(super) fn entry(&self, index: Index) -> Option<Entry> {
        let cached = self.core.log().cached(index, index, u64::MAX);
        let cached = cached.and_then(|entries| entries.into_iter().next());
        let stored = || self.stored.read(index, index).into_iter().next();
        let entry = cached.or_else(stored);
        entry.filter(|entry| self.core.log().holds(entry.id))
    }

    /// Its election timeout passes, and it wins the pre-vote: one other node grants it, without a message.
    pub(super) fn campaign(&mut self) {
        self.now = self.now.max(self.core.election_deadline());
        self.core.tick(self.now);
        if self.core.role() == Role::PreCandidate {
            let yes = RequestVoteResponse {
                term: self.core.term().next(),
                granted: true,
                pre_vote: true,
            };
            let other = name((self.place + 1) % NODES);
            let message = Message::Response(RaftResponse::RequestVote(yes));
            self.core.step(self.now, &other.into(), message);
        }
    }

    /// A leader finds that it has no contact to a majority.
    pub(super) fn step_down(&mut self) {
        self.now = self.now.max(self.core.election_deadline());
        self.core.tick(self.now);
        assert_ne!(self.core.role(), Role::Leader, "it steps down");
    }

    pub(super) fn heartbeat(&mut self) {
        self.core.tick(self.now);
    }

    /// The data names the proposer, so that entries of two leaders of one term would differ.
    pub(super) fn propose(&mut self) {
        let data = Bytes::copy_from_slice(self.core.id().as_str().as_bytes());
        let command = Command {
            session: 0,
            sequence: 0,
            data,
        };
        // Refused or not: both are events that may happen.
        let _ = self.core.propose(self.now, 0, vec![command]);
    }

    pub(super) fn step(&mut self, from: &NodeId, message: &Message) {
        let asks = matches!(message, Message::Request(RaftRequest::RequestVote(_)));
        if asks && self.core.role() != Role::Leader {
            // Late enough for it not to hold on to its leader. Held on to, the request would do as if lost.
            self.now += STEP;
        }
        self.core.step(self.now, &from.into(), message.clone());
    }

    /// The write in flight is complete.
    pub(super) fn persist(&mut self) {
        if let Some((id, batch)) = self.writing.take() {
            self.stored.write(&batch);
            self.held.written(id);
            self.core.persisted(self.now, id);
        }
    }

    /// It loses its memory. The write in flight either completed, without being reported, or never happened.
    pub(super) fn crash(&mut self, after_write: bool, planted: Option<Planted>) {
        let mut stored = std::mem::take(&mut self.stored);
        if let (true, Some((_, batch))) = (after_write, &self.writing) {
            stored.write(batch);
        }
        if planted == Some(Planted::VoteForgotten) {
            stored.hard_state = HardState::default();
        }
        *self = Self::start(self.place, stored);
    }

    /// Carries out what the core requests, in the driver's order, until it requests nothing more.
    pub(super) fn run(&mut self, slow_disk: bool) -> Done {
        let mut done = Done::default();
        loop {
            self.core.check();
            let ready = self.core.ready();
            let idle = ready.is_empty();
            while let Some(message) = self.held.release() {
                done.sent.push((message.to, message.message));
            }
            for message in ready.messages {
                if let Some(message) = self.held.hold(message, usize::MAX) {
                    done.sent.push((message.to, message.message));
                }
            }
            if ready.write.is_some() {
                self.writing = ready.write;
            }
            if let Some(last) = ready.apply.last().map(|entry| entry.id.index) {
                done.applied.extend(ready.apply);
                self.core.applied(self.now, last);
            }
            for read in ready.log_reads {
                let entries = self.stored.read(read.from, read.to);
                // None: the entries for a peer were replaced meanwhile.
                let wanted = !entries.is_empty() || matches!(read.reader, ReadFor::Peer(_));
                assert!(wanted, "committed entries are on the disk");
                self.core.entries_read(self.now, &read.reader, entries);
            }
            let works = !slow_disk && self.writes();
            if works {
                self.persist();
            }
            if idle && !works {
                break;
            }
        }
        self.digest = self.digested();
        done
    }

    fn digested(&self) -> u64 {
        let mut digest = Digest(DefaultHasher::new());
        let held = self.held.waiting();
        let held = held.map(|(held, writes)| (&held.to, &held.message, writes));
        let held: Vec<_> = held.collect();
        let written = write!(
            digest,
            "{:?}{:?}{held:?}",
            self.stored,
            self.writing.as_ref().map(|(_, batch)| batch)
        )
        .and_then(|()| self.core.digest(&mut digest));
        match written {
            Ok(()) => digest.0.finish(),
            Err(error) => unreachable!("a hasher takes all: {error}"),
        }
    }
}

/// A hasher that text can be written to.
pub(super) struct Digest(pub(super) DefaultHasher);

impl Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
