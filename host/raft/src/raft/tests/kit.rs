//! A core with a disk and a state machine, alone or in a cluster that delivers messages at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use crate::entry::*;
use crate::identity::{PeerHello, Sender};
use crate::ids::*;
use crate::message::*;
use crate::raft::membership::change::{Change, ChangeError, ChangeProgress};
use crate::raft::*;
use crate::storage::LogStore;
use crate::storage::memory::{MemorySnapshots, MemoryStore};

pub(super) const MIN: Duration = Duration::from_millis(1000);
pub(super) const MAX: Duration = Duration::from_millis(2000);
pub(super) const HEARTBEAT: Duration = Duration::from_millis(300);

pub(super) fn config(id: &str, voters: &str) -> CoreConfig {
    CoreConfig {
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
    }
}

pub(super) fn id(term: u64, index: u64) -> LogId {
    LogId::new(Term(term), Index(index))
}

/// Entries of these terms, from `first` on.
pub(super) fn entries(first: u64, terms: &[u64]) -> Vec<Entry> {
    let ids = terms
        .iter()
        .zip(first..)
        .map(|(&term, index)| id(term, index));
    ids.map(|id| Entry {
        id,
        time_ms: id.index.0,
        payload: Payload::Noop,
    })
    .collect()
}

pub(super) fn command(data: &'static str) -> Vec<Command> {
    vec![Command {
        session: 1,
        sequence: 1,
        data: Bytes::from_static(data.as_bytes()),
    }]
}

/// An AppendEntries of the leader `from`.
pub(super) fn append(
    from: &str,
    term: u64,
    previous: LogId,
    terms: &[u64],
    commit: u64,
) -> Message {
    Message::Request(RaftRequest::AppendEntries(AppendEntries {
        term: Term(term),
        leader_id: from.into(),
        previous,
        entries: entries(previous.index.0.saturating_add(1), terms),
        leader_commit: Index(commit),
        round: 0,
    }))
}

pub(super) fn appended(term: u64, round: u64, result: AppendResult) -> Message {
    let response = AppendEntriesResponse {
        term: Term(term),
        round,
        result,
    };
    Message::Response(RaftResponse::AppendEntries(response))
}

pub(super) fn matched(term: u64, index: u64) -> Message {
    appended(term, 0, AppendResult::Matched(Index(index)))
}

pub(super) fn vote_request(from: &str, term: u64, last: LogId) -> RequestVote {
    RequestVote {
        term: Term(term),
        candidate_id: from.into(),
        last,
        pre_vote: false,
        transfer: false,
    }
}

pub(super) fn vote_message(vote: RequestVote) -> Message {
    Message::Request(RaftRequest::RequestVote(vote))
}

pub(super) fn vote(term: u64, granted: bool) -> Message {
    let response = RequestVoteResponse {
        term: Term(term),
        granted,
        pre_vote: false,
    };
    Message::Response(RaftResponse::RequestVote(response))
}

pub(super) fn pre_vote(term: u64, granted: bool) -> Message {
    let response = RequestVoteResponse {
        term: Term(term),
        granted,
        pre_vote: true,
    };
    Message::Response(RaftResponse::RequestVote(response))
}

pub(super) use crate::testing::TestNode as Node;

impl Node {
    /// A node of the cluster a, b, c that has never run.
    pub(super) fn new(id: &str) -> Self {
        Self::with(config(id, "a b c"), HardState::default(), &[])
    }

    /// A node of the cluster a, b, c at a term, whose disk holds entries of these terms from 1 on.
    pub(super) fn at(id: &str, term: u64, terms: &[u64]) -> Self {
        Self::with(
            config(id, "a b c"),
            HardState {
                term: Term(term),
                vote: None,
            },
            terms,
        )
    }

    pub(super) fn with(config: CoreConfig, hard_state: HardState, terms: &[u64]) -> Self {
        let mut log = MemoryStore::new();
        let batch = WriteBatch {
            hard_state: Some(hard_state),
            truncate_from: None,
            entries: entries(1, terms),
        };
        log.write(&batch).unwrap();
        Self::start(config, log, MemorySnapshots::new(), Duration::ZERO)
    }

    /// A node that starts with the content of its stores.
    pub(super) fn start(
        config: CoreConfig,
        mut log: MemoryStore,
        snapshots: MemorySnapshots,
        now: Duration,
    ) -> Self {
        let last_time_ms = log.load().unwrap().last.index.0;
        Self::from_stores(config, log, snapshots, last_time_ms, now)
    }

    /// The messages sent since the last call.
    pub(super) fn sent(&mut self) -> Vec<(NodeId, Message)> {
        std::mem::take(&mut self.sent)
    }

    /// The AppendEntries requests sent since the last call, with their receivers.
    pub(super) fn sent_appends(&mut self) -> Vec<(String, AppendEntries)> {
        let sent = self.sent().into_iter();
        sent.filter_map(|(to, message)| match message {
            Message::Request(RaftRequest::AppendEntries(append)) => {
                Some((to.as_str().to_owned(), append))
            }
            _ => None,
        })
        .collect()
    }

    /// The only AppendEntries response sent since the last call.
    pub(super) fn append_response_sent(&mut self) -> AppendEntriesResponse {
        let mut responses: Vec<_> = self
            .sent()
            .into_iter()
            .filter_map(append_response)
            .collect();
        assert_eq!(responses.len(), 1, "{responses:?}");
        responses.remove(0)
    }

    /// The only RequestVote response sent since the last call.
    pub(super) fn vote_response_sent(&mut self) -> RequestVoteResponse {
        let sent = self.sent();
        match &sent[..] {
            [(_, Message::Response(RaftResponse::RequestVote(response)))] => response.clone(),
            other => panic!("expected one vote, got {other:?}"),
        }
    }

    pub(super) fn step(&mut self, from: &str, message: Message) {
        self.step_from(&from.into(), message);
    }

    pub(super) fn step_from(&mut self, from: &Sender, message: Message) {
        self.core.step(self.now, from, message);
        self.run();
    }

    pub(super) fn meet(&mut self, hello: &PeerHello) {
        self.core.peer_hello(self.now, hello);
        self.run();
    }

    /// The hello that it sends now.
    pub(super) fn hello(&self) -> PeerHello {
        let identity = self.core.identity();
        PeerHello {
            id: self.core.id().clone(),
            protocol: 2,
            store_id: identity.store_id,
            runs: identity.runs,
            history: identity.history,
            known_level: identity.known_level,
            peer_addr: String::new(),
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.core.tick(self.now);
        self.run();
    }

    /// Advances the time past the election timeout.
    pub(super) fn time_out(&mut self) {
        let wait = self.core.election_deadline().saturating_sub(self.now);
        self.pass(wait);
    }

    /// Makes it a candidate: its election timeout passes, and the others grant their pre-votes.
    pub(super) fn campaign(&mut self) {
        let term = self.core.term().0 + 1;
        self.time_out();
        for other in self.others() {
            if self.core.role() == Role::PreCandidate {
                self.step(&other, pre_vote(term, true));
            }
        }
        assert_eq!(self.core.term(), Term(term));
    }

    /// Makes it the leader of the next term, with the votes of all others.
    pub(super) fn elect(&mut self) {
        self.campaign();
        let term = self.core.term().0;
        for other in self.others() {
            self.step(&other, vote(term, true));
        }
        assert_eq!(self.core.role(), Role::Leader);
    }

    /// Makes it the leader, with its first entry durable on all nodes.
    pub(super) fn lead(&mut self) {
        self.elect();
        let (term, last) = (self.core.term().0, self.core.log().last().index.0);
        for other in self.others() {
            self.step(&other, matched(term, last));
        }
        assert_eq!(self.core.log().committed(), Index(last));
        self.sent();
    }

    pub(super) fn others(&self) -> Vec<String> {
        self.core
            .other_voters()
            .iter()
            .map(|id| id.as_str().to_owned())
            .collect()
    }

    pub(super) fn change(&mut self, change: &Change) -> Result<ChangeProgress, ChangeError> {
        let result = self.core.change_members(self.now, 0, change);
        self.run();
        result
    }

    pub(super) fn propose(&mut self, data: &'static str) -> LogId {
        let id = self.core.propose(self.now, 0, command(data)).unwrap();
        self.run();
        id
    }

    pub(super) fn read(&mut self, number: u64) {
        self.core.read(self.now, number);
        self.run();
    }

    /// The ids of the entries on its disk.
    pub(super) fn stored(&mut self) -> Vec<LogId> {
        let state = self.log.load().unwrap();
        if state.last == state.purged {
            return Vec::new();
        }
        let read = self
            .log
            .read(state.purged.index.next(), state.last.index, u64::MAX);
        read.unwrap().into_iter().map(|entry| entry.id).collect()
    }
}

pub(super) fn append_response(sent: (NodeId, Message)) -> Option<AppendEntriesResponse> {
    match sent.1 {
        Message::Response(RaftResponse::AppendEntries(response)) => Some(response),
        _ => None,
    }
}

/// Nodes that exchange messages without delay, unless a link is cut.
pub(super) struct Cluster {
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) now: Duration,
    cut: BTreeSet<(String, String)>,
    /// Connections begin with hellos, as in production: the last one from each node at each.
    hellos: Option<BTreeMap<(String, String), PeerHello>>,
}

impl Cluster {
    pub(super) fn new(nodes: impl IntoIterator<Item = Node>) -> Self {
        let nodes = nodes
            .into_iter()
            .map(|node| (node.core.id().as_str().to_owned(), node));
        Self {
            nodes: nodes.collect(),
            now: Duration::ZERO,
            cut: BTreeSet::new(),
            hellos: None,
        }
    }

    /// From now on connections begin with hellos, and messages show the stores of their senders.
    pub(super) fn with_hellos(mut self) -> Self {
        self.hellos = Some(BTreeMap::new());
        self
    }

    /// Delivers the hello of one node to another, unless that one has it already.
    pub(super) fn introduce(&mut self, from: &str, to: &str) {
        let hello = self.node(from).hello();
        let Some(known) = &mut self.hellos else {
            return;
        };
        let before = known.insert((from.to_owned(), to.to_owned()), hello.clone());
        if before.as_ref() != Some(&hello) {
            self.node(to).meet(&hello);
        }
    }

    /// All nodes that reach each other have connections.
    fn introduce_all(&mut self) {
        if self.hellos.is_none() {
            return;
        }
        let names: Vec<String> = self.nodes.keys().cloned().collect();
        let pairs = names
            .iter()
            .flat_map(|from| names.iter().map(move |to| (from.clone(), to.clone())));
        for pair in pairs.filter(|(from, to)| from != to) {
            if !self.cut.contains(&pair) {
                self.introduce(&pair.0, &pair.1);
            }
        }
    }

    /// The process of a node has ended: the next one gets hellos anew.
    pub(super) fn disconnect(&mut self, id: &str) {
        if let Some(known) = &mut self.hellos {
            known.retain(|(_, to), _| to != id);
        }
    }

    fn deliver(&mut self, from: &str, to: &str, sender: &Sender, message: Message) {
        if self.hellos.is_none() {
            return self.node(to).step(from, message);
        }
        self.introduce(from, to);
        self.node(to).step_from(sender, message);
    }

    pub(super) fn of(names: &str) -> Self {
        let node = |id| Node::with(config(id, names), HardState::default(), &[]);
        Self::new(names.split(' ').map(node))
    }

    pub(super) fn node(&mut self, id: &str) -> &mut Node {
        self.nodes.get_mut(id).unwrap()
    }

    pub(super) fn cut_off(&mut self, id: &str) {
        for other in self.nodes.keys() {
            self.cut.insert((id.to_owned(), other.clone()));
            self.cut.insert((other.clone(), id.to_owned()));
        }
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Runs all nodes and delivers their messages until no node sends any.
    pub(super) fn settle(&mut self) {
        self.introduce_all();
        loop {
            let mut mail = Vec::new();
            for (from, node) in &mut self.nodes {
                node.now = self.now;
                node.run();
                let sender = node.hello().sender();
                let sent = node.sent().into_iter();
                mail.extend(sent.map(|(to, message)| (from.clone(), sender.clone(), to, message)));
            }
            if mail.is_empty() {
                break;
            }
            for (from, sender, to, message) in mail {
                if !self.cut.contains(&(from.clone(), to.as_str().to_owned())) {
                    self.deliver(&from, to.as_str(), &sender, message);
                }
            }
        }
    }

    /// Advances the time on all nodes.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self
                .nodes
                .values()
                .map(|node| node.core.next_deadline())
                .min();
            self.now = next.unwrap_or(end).clamp(self.now, end);
            for node in self.nodes.values_mut() {
                node.now = self.now;
                node.core.tick(self.now);
            }
            self.settle();
            if self.now == end {
                break;
            }
        }
    }

    /// Lets the election timeout of one node pass, when no node has a leader any more.
    pub(super) fn elect(&mut self, id: &str) {
        self.now += MAX * 2;
        let now = self.now;
        let node = self.node(id);
        node.now = now;
        node.core.tick(now);
        self.settle();
        assert_eq!(self.node(id).core.role(), Role::Leader);
    }

    pub(super) fn propose(&mut self, id: &str, data: &'static str) -> LogId {
        let made = self.node(id).propose(data);
        self.settle();
        made
    }

    /// Requests a change and delivers all messages until it is done or refused.
    pub(super) fn change(&mut self, id: &str, change: &Change) -> Result<Index, ChangeError> {
        for _ in 0..10 {
            match self.node(id).change(change)? {
                ChangeProgress::Done(index) => return Ok(index),
                ChangeProgress::InProgress => self.settle(),
            }
        }
        panic!("{change:?} never ends");
    }

    /// Wipes the disk of a node: it restarts with an empty store with this store id.
    pub(super) fn wipe(&mut self, id: &str, names: &str, store_id: u64) {
        let log = MemoryStore::with_store_id(StoreId(store_id));
        let node = Node::start(config(id, names), log, MemorySnapshots::new(), self.now);
        self.nodes.insert(id.to_owned(), node);
    }

    /// Restarts a node with the content of its stores.
    pub(super) fn restart(&mut self, id: &str, names: &str) {
        let before = self.node(id);
        let (log, snapshots) = (before.log.clone(), before.snapshots.clone());
        let node = Node::start(config(id, names), log, snapshots, self.now);
        self.nodes.insert(id.to_owned(), node);
    }

    /// Starts a node that is not a member yet.
    pub(super) fn join(&mut self, id: &str) {
        let node = Node::with(config(id, ""), HardState::default(), &[]);
        self.nodes.insert(id.to_owned(), node);
    }

    pub(super) fn leaders(&self) -> Vec<&str> {
        let leads = |node: &&Node| node.core.role() == Role::Leader;
        self.nodes
            .values()
            .filter(leads)
            .map(|node| node.core.id().as_str())
            .collect()
    }
}
