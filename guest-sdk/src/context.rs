//! What a state machine sees of the world while it applies a command or answers a query.

use std::fmt::Display;

/// The point in the replicated log that a call belongs to; the same on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Moment {
    pub(crate) index: u64,
    pub(crate) time_ms: u64,
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What an operator may want to know.
    Info,
    /// What an operator should look at.
    Warn,
    /// What went wrong.
    Error,
}

/// An event, as clients read it at `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it is about: one word, or words with dots between.
    pub topic: String,
    /// Its content; the host does not look inside.
    pub payload: Vec<u8>,
}

/// What the host gives: the imports of a module, or the harness of a native test.
pub(crate) trait Host {
    fn log(&self, level: Level, message: &str);
    fn emit(&self, event: Event);
    fn wake_at(&self, time_ms: u64);
    fn random(&self, length: u32) -> Vec<u8>;
}

/// What [`StateMachine::apply`](crate::StateMachine::apply) sees beside the state and the command.
///
/// Everything it says is equal on every node. What is asked of it ([`emit`](Self::emit),
/// [`wake_at`](Self::wake_at)) is kept until the command is accepted, and dropped if it is refused.
pub struct Apply<'h> {
    host: &'h dyn Host,
    moment: Moment,
    events: Vec<Event>,
    wake_at: Option<u64>,
}

impl<'h> Apply<'h> {
    pub(crate) fn new(host: &'h dyn Host, moment: Moment) -> Self {
        Self {
            host,
            moment,
            events: Vec::new(),
            wake_at: None,
        }
    }

    /// Index of the log entry, counted from 1. Commands that came in one batch share an entry, so the
    /// index alone does not tell two commands apart.
    pub fn index(&self) -> u64 {
        self.moment.index
    }

    /// The replicated time in milliseconds since 1970-01-01 UTC. It never runs backwards, and it is the
    /// only clock that a state machine may look at.
    pub fn time_ms(&self) -> u64 {
        self.moment.time_ms
    }

    /// Bytes that nobody could foretell before the entry was made, and that are equal on every node. They
    /// are never fit for a secret: whoever reads the log can compute them.
    pub fn random(&mut self, length: u32) -> Vec<u8> {
        self.host.random(length)
    }

    /// Writes a line to the log of this node. It is not replicated.
    pub fn log(&self, level: Level, message: impl Display) {
        self.host.log(level, &message.to_string());
    }

    /// Publishes an event once the command is accepted.
    pub fn emit(&mut self, topic: impl Into<String>, payload: impl Into<Vec<u8>>) {
        self.events.push(Event {
            topic: topic.into(),
            payload: payload.into(),
        });
    }

    /// Asks for [`StateMachine::on_wake`](crate::StateMachine::on_wake) at or after a replicated time in
    /// milliseconds. One time is kept: the last call wins, and 0 forgets it.
    ///
    /// The host keeps the time outside the state, so ask again in `on_wake` for whatever comes next.
    pub fn wake_at(&mut self, time_ms: u64) {
        self.wake_at = Some(time_ms);
    }

    /// Hands on what was asked for. Called for an accepted command alone.
    pub(crate) fn commit(self) {
        for event in self.events {
            self.host.emit(event);
        }
        if let Some(time_ms) = self.wake_at {
            self.host.wake_at(time_ms);
        }
    }
}

/// What [`StateMachine::query`](crate::StateMachine::query) sees beside the state and the question.
pub struct Read<'h> {
    host: &'h dyn Host,
    moment: Moment,
}

impl<'h> Read<'h> {
    pub(crate) fn new(host: &'h dyn Host, moment: Moment) -> Self {
        Self { host, moment }
    }

    /// Index of the last entry applied.
    pub fn index(&self) -> u64 {
        self.moment.index
    }

    /// Replicated time of the last entry applied, in milliseconds since 1970-01-01 UTC. It stands still
    /// while nothing is applied.
    pub fn time_ms(&self) -> u64 {
        self.moment.time_ms
    }

    /// Writes a line to the log of this node.
    pub fn log(&self, level: Level, message: impl Display) {
        self.host.log(level, &message.to_string());
    }
}
