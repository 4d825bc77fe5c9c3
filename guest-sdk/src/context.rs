//! What a guest can see and do besides reading its own state: position in the log, random bytes, events, timers, logging.

use std::fmt::Display;

/// Position in the replicated log of the entry that a call belongs to. Equal on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogPosition {
    pub(crate) index: u64,
    /// Milliseconds since 1970-01-01 UTC, set by the leader.
    pub(crate) time_ms: u64,
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Single steps.
    Trace,
    /// Details for debugging.
    Debug,
    /// Normal operation.
    Info,
    /// An operator should look at it.
    Warn,
    /// Something failed.
    Error,
}

/// An event that the guest published. Clients read it at `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Name of the kind of event, for example `task.done`. Clients see it as the event's type.
    pub topic: String,
    /// Content. The host does not interpret it.
    pub payload: Vec<u8>,
}

/// The functions that the host provides: imports of a module, or the harness in a native test.
pub(crate) trait Host {
    fn log(&self, level: Level, message: &str);
    fn emit(&self, event: Event);
    fn wake_at(&self, time_ms: u64);
    fn random(&self, length: u32) -> Vec<u8>;
    fn memory_is_low(&self) -> bool;
    fn reply_limit(&self) -> u64;
}

/// Context of [`StateMachine::apply`](crate::StateMachine::apply) and
/// [`StateMachine::on_wake`](crate::StateMachine::on_wake).
///
/// Everything that it returns is equal on every node. The effects of [`emit`](Self::emit) and
/// [`wake_at`](Self::wake_at) are buffered. They take effect when the command is accepted; a refusal drops them.
pub struct Apply<'h> {
    host: &'h dyn Host,
    position: LogPosition,
    events: Vec<Event>,
    wake_at: Option<u64>,
}

impl<'h> Apply<'h> {
    pub(crate) fn new(host: &'h dyn Host, position: LogPosition) -> Self {
        Self {
            host,
            position,
            events: Vec::new(),
            wake_at: None,
        }
    }

    /// Index of the log entry, counted from 1. All commands of a batch share one entry, so the index alone does not
    /// identify a command.
    pub fn index(&self) -> u64 {
        self.position.index
    }

    /// Replicated time in milliseconds since 1970-01-01 UTC. It never decreases. Use no other clock in a state machine.
    pub fn time_ms(&self) -> u64 {
        self.position.time_ms
    }

    /// Pseudo-random bytes, equal on every node. Clients cannot predict them before the entry is proposed. Do not use
    /// them for secrets: everyone who can read the log can compute them.
    pub fn random(&mut self, length: u32) -> Vec<u8> {
        self.host.random(length)
    }

    /// Whether memory is low: the memory of the guest is at 80 % of its limit or more on a node of the cluster. Then refuse
    /// commands that add state, and accept those that remove some. Equal on every node.
    pub fn memory_is_low(&self) -> bool {
        self.host.memory_is_low()
    }

    /// The longest encoded reply, in bytes. A command with a longer reply fails. An operator can change the limit, so
    /// don't store the value. Equal on every node.
    pub fn reply_limit(&self) -> u64 {
        self.host.reply_limit()
    }

    /// Writes a line to this node's log. Log lines are not replicated.
    pub fn log(&self, level: Level, message: impl Display) {
        self.host.log(level, &message.to_string());
    }

    /// Publishes an event when the command is accepted.
    pub fn emit(&mut self, topic: impl Into<String>, payload: impl Into<Vec<u8>>) {
        self.events.push(Event {
            topic: topic.into(),
            payload: payload.into(),
        });
    }

    /// Requests a call of [`StateMachine::on_wake`](crate::StateMachine::on_wake) at or after a replicated time, in
    /// milliseconds since 1970-01-01 UTC. There is one wake time: a later call replaces it, and 0 clears it.
    ///
    /// The host stores the wake time outside of the state. Set the next one in `on_wake`.
    pub fn wake_at(&mut self, time_ms: u64) {
        self.wake_at = Some(time_ms);
    }

    /// Passes the buffered effects to the host. Called only after the command was accepted.
    pub(crate) fn commit(self) {
        for event in self.events {
            self.host.emit(event);
        }
        if let Some(time_ms) = self.wake_at {
            self.host.wake_at(time_ms);
        }
    }
}

/// Context of [`StateMachine::query`](crate::StateMachine::query).
pub struct Read<'h> {
    host: &'h dyn Host,
    position: LogPosition,
}

impl<'h> Read<'h> {
    pub(crate) fn new(host: &'h dyn Host, position: LogPosition) -> Self {
        Self { host, position }
    }

    /// Index of the last applied entry.
    pub fn index(&self) -> u64 {
        self.position.index
    }

    /// Replicated time of the last applied entry, in milliseconds since 1970-01-01 UTC. It does not advance while no
    /// entry is applied.
    pub fn time_ms(&self) -> u64 {
        self.position.time_ms
    }

    /// The longest encoded response, in bytes. A query with a longer response fails.
    pub fn reply_limit(&self) -> u64 {
        self.host.reply_limit()
    }

    /// Writes a line to this node's log.
    pub fn log(&self, level: Level, message: impl Display) {
        self.host.log(level, &message.to_string());
    }
}
