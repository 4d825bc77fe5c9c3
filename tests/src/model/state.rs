//! The states of the model and the events between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use stateright::{Model, Property};
use task_queue_raft::entry::Entry;
use task_queue_raft::ids::{Index, NodeId, Term};
use task_queue_raft::message::{AppendResult, Message, RaftRequest, RaftResponse};
use task_queue_raft::raft::Role;

use super::node::{Digest, Done, NODES, Node, name};
use super::{Bounds, Planted, properties};

/// A message in flight.
pub(super) struct Packet {
    from: NodeId,
    to: usize,
    message: Message,
    term: Term,
    /// A digest of the other fields.
    key: u64,
}

/// An event that may happen next.
#[derive(Clone)]
pub enum Event {
    /// A node's election timeout passes.
    Campaign(usize),
    /// A leader detects that it has no contact to a majority.
    StepDown(usize),
    /// A leader sends a heartbeat.
    Heartbeat(usize),
    /// A client proposes to a leader.
    Propose(usize),
    /// A disk has finished a write.
    Persist(usize),
    /// A node loses its memory, with its write in flight done or not.
    Crash(usize, bool),
    /// A message arrives.
    Deliver(Delivery),
}

/// The message of an [`Event::Deliver`].
#[derive(Clone)]
pub struct Delivery(Arc<Packet>);

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Deliver(one), Self::Deliver(two)) => one.0.key == two.0.key,
            (Self::Crash(one, done), Self::Crash(two, other)) => (one, done) == (two, other),
            (Self::Campaign(one), Self::Campaign(two))
            | (Self::StepDown(one), Self::StepDown(two))
            | (Self::Heartbeat(one), Self::Heartbeat(two))
            | (Self::Propose(one), Self::Propose(two))
            | (Self::Persist(one), Self::Persist(two)) => one == two,
            _ => false,
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Campaign(node) => write!(f, "{} campaigns", name(*node)),
            Self::StepDown(node) => write!(f, "{} steps down", name(*node)),
            Self::Heartbeat(node) => write!(f, "{} sends heartbeats", name(*node)),
            Self::Propose(node) => write!(f, "a client proposes to {}", name(*node)),
            Self::Persist(node) => write!(f, "the disk of {} is done", name(*node)),
            Self::Crash(node, true) => write!(f, "{} crashes after its write", name(*node)),
            Self::Crash(node, false) => write!(f, "{} crashes", name(*node)),
            Self::Deliver(Delivery(packet)) => {
                let Packet {
                    from, to, message, ..
                } = packet.as_ref();
                write!(f, "{} hears {from}: {message:?}", name(*to))
            }
        }
    }
}

/// A committed entry, and the term of the leader that committed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) entry: Entry,
    pub(super) in_term: Term,
}

/// Three nodes, what is in flight, and what history has to be remembered for the properties.
#[derive(Clone)]
pub struct State {
    pub(super) nodes: [Arc<Node>; NODES],
    /// By key, so that the order in which they were sent makes no other state.
    network: BTreeMap<u64, Arc<Packet>>,
    /// Who has led each term.
    pub(super) leaders: BTreeMap<Term, BTreeSet<NodeId>>,
    /// What was committed first at each index, from 1 on.
    pub(super) committed: Vec<Committed>,
    /// What was applied first at each index, from 1 on.
    applied: Vec<Entry>,
    /// Two nodes have applied different entries at one index.
    pub(super) machines_differ: bool,
    crashes: u8,
    heartbeats: u8,
}

impl State {
    fn first() -> Self {
        Self {
            nodes: std::array::from_fn(|place| Arc::new(Node::new(place))),
            network: BTreeMap::new(),
            leaders: BTreeMap::new(),
            committed: Vec::new(),
            applied: Vec::new(),
            machines_differ: false,
            crashes: 0,
            heartbeats: 0,
        }
    }

    /// Adopts the results of a node, and records the data for the properties.
    fn note(&mut self, place: usize, node: Node, done: Done) {
        for (to, message) in done.sent {
            self.post(node.core.id(), &to, message);
        }
        if node.core.role() == Role::Leader {
            let leaders = self.leaders.entry(node.core.term()).or_default();
            leaders.insert(node.core.id().clone());
        }
        let known = self.committed.len() as u64;
        for index in known + 1..=node.core.log().committed().0 {
            if let Some(entry) = node.entry(Index(index)) {
                let in_term = node.core.term();
                self.committed.push(Committed { entry, in_term });
            }
        }
        for entry in done.applied {
            match self.applied.get(entry.id.index.0 as usize - 1) {
                Some(first) => self.machines_differ |= *first != entry,
                None => self.applied.push(entry),
            }
        }
        self.nodes[place] = Arc::new(node);
        self.forget_the_obsolete(place);
    }

    /// Drops the messages to a node whose term is older than the node's. It would ignore a response, and a request would
    /// only return the newer term to its sender. Both count as lost, or each state would exist once with and once without
    /// each of them.
    fn forget_the_obsolete(&mut self, to: usize) {
        let term = self.nodes[to].core.term();
        self.network
            .retain(|_, packet| packet.to != to || packet.term >= term);
    }

    fn post(&mut self, from: &NodeId, to: &NodeId, mut message: Message) {
        match &mut message {
            // Always granted, without messages.
            Message::Request(RaftRequest::RequestVote(vote)) if vote.pre_vote => return,
            // Counts only for reads, which are not in this model.
            Message::Request(RaftRequest::AppendEntries(append)) => append.round = 0,
            Message::Response(RaftResponse::AppendEntries(answer)) => answer.round = 0,
            _ => {}
        }
        let Some(to) = (0..NODES).find(|place| name(*place) == *to) else {
            return;
        };
        let mut digest = Digest(DefaultHasher::new());
        if let Err(error) = write!(digest, "{from}{to}{message:?}") {
            unreachable!("a hasher takes all: {error}");
        }
        let key = digest.0.finish();
        let packet = Packet {
            from: from.clone(),
            to,
            term: term_of(&message),
            message,
            key,
        };
        if packet.term >= self.nodes[to].core.term() {
            self.network.insert(key, Arc::new(packet));
        }
    }

    fn newest_term(&self) -> Term {
        let terms = self.nodes.iter().map(|node| node.core.term());
        terms.max().unwrap_or_default()
    }
}

/// Plants a fault in a node's messages.
fn tamper(message: &mut Message, planted: Option<Planted>) {
    match (planted, message) {
        (
            Some(Planted::DenialBecomesGrant),
            Message::Response(RaftResponse::RequestVote(answer)),
        ) => answer.granted = true,
        (
            Some(Planted::AcknowledgesTooMuch),
            Message::Response(RaftResponse::AppendEntries(answer)),
        ) => {
            if let AppendResult::Matched(index) = &mut answer.result {
                *index = index.next();
            }
        }
        _ => {}
    }
}

/// Of its sender, or for a vote asked for, of the election.
fn term_of(message: &Message) -> Term {
    match message {
        Message::Request(RaftRequest::AppendEntries(append)) => append.term,
        Message::Request(RaftRequest::RequestVote(vote)) => vote.term,
        Message::Response(RaftResponse::AppendEntries(answer)) => answer.term,
        Message::Response(RaftResponse::RequestVote(answer)) => answer.term,
        // Others are not sent in this model; if they were, they would be kept.
        _ => Term(u64::MAX),
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for node in &self.nodes {
            node.digest.hash(hasher);
        }
        for key in self.network.keys() {
            key.hash(hasher);
        }
        self.leaders.hash(hasher);
        for Committed { entry, in_term } in &self.committed {
            (entry.id, in_term).hash(hasher);
        }
        self.applied.len().hash(hasher);
        (self.machines_differ, self.crashes, self.heartbeats).hash(hasher);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let digests = |state: &Self| state.nodes.each_ref().map(|node| node.digest);
        digests(self) == digests(other)
            && self.network.keys().eq(other.network.keys())
            && self.leaders == other.leaders
            && self.committed == other.committed
            && self.applied == other.applied
            && (self.machines_differ, self.crashes, self.heartbeats)
                == (other.machines_differ, other.crashes, other.heartbeats)
    }
}

impl Model for Bounds {
    type State = State;
    type Action = Event;

    fn init_states(&self) -> Vec<State> {
        vec![State::first()]
    }

    fn actions(&self, state: &State, events: &mut Vec<Event>) {
        for (place, node) in state.nodes.iter().enumerate() {
            let core = &node.core;
            let leads = core.role() == Role::Leader;
            // Nodes differ by name alone, so the first to campaign may as well be the first of them.
            let may = place == 0 || state.newest_term() > Term::ZERO;
            if !leads && may && core.term().0 < self.terms {
                events.push(Event::Campaign(place));
            }
            if leads && self.steps_down {
                events.push(Event::StepDown(place));
            }
            if leads && state.heartbeats < self.heartbeats {
                events.push(Event::Heartbeat(place));
            }
            if leads && core.log().last().index.0 < self.entries {
                events.push(Event::Propose(place));
            }
            if node.writes() {
                events.push(Event::Persist(place));
            }
            if state.crashes < self.crashes {
                events.push(Event::Crash(place, false));
                if node.writes() {
                    events.push(Event::Crash(place, true));
                }
            }
        }
        let packets = state.network.values();
        events.extend(packets.map(|packet| Event::Deliver(Delivery(Arc::clone(packet)))));
    }

    fn next_state(&self, last: &State, event: Event) -> Option<State> {
        let mut state = last.clone();
        let place = match &event {
            Event::Campaign(place)
            | Event::StepDown(place)
            | Event::Heartbeat(place)
            | Event::Propose(place)
            | Event::Persist(place)
            | Event::Crash(place, _) => *place,
            Event::Deliver(Delivery(packet)) => packet.to,
        };
        let mut node = state.nodes[place].as_ref().clone();
        match event {
            Event::Campaign(_) => node.campaign(),
            Event::StepDown(_) => node.step_down(),
            Event::Heartbeat(_) => {
                state.heartbeats += 1;
                node.heartbeat();
            }
            Event::Propose(_) => node.propose(),
            Event::Persist(_) => node.persist(),
            Event::Crash(_, after_write) => {
                state.crashes += 1;
                node.crash(after_write, self.planted);
            }
            Event::Deliver(Delivery(packet)) => {
                if !self.duplicates {
                    state.network.remove(&packet.key);
                }
                node.step(&packet.from, &packet.message);
            }
        }
        let mut done = node.run(self.slow_disks);
        for (_, message) in &mut done.sent {
            tamper(message, self.planted);
        }
        state.note(place, node, done);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
