//! What a guest can see and do besides reading its own state: position in the log, random bytes, events, timers, deferred
//! replies, logging.

use std::fmt::Display;

use serde::Serialize;

use crate::caller::{BatchCallers, Caller};
use crate::refusal::Refusal;
use crate::runtime::{RuntimeState, UndoLog};
use crate::token::Token;

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

/// The reply to a deferred command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LateReply {
    pub(crate) token: Token,
    pub(crate) accepted: bool,
    /// The encoded reply or refusal.
    pub(crate) body: Vec<u8>,
}

/// The functions that the host provides: imports of a module, or the harness in a native test.
pub(crate) trait Host {
    fn log(&self, level: Level, message: &str);
    fn emit(&self, event: Event);
    fn wake_at(&self, time_ms: u64);
    fn complete(&self, reply: LateReply);
    fn random(&self, length: u32) -> Vec<u8>;
    fn memory_is_low(&self) -> bool;
    fn reply_limit(&self) -> u64;
    /// Whether any command of the batch, or the query, has a caller. A module asks its import instead: see [`caller_of`].
    #[cfg(not(target_family = "wasm"))]
    fn has_callers(&self) -> bool;
    /// Who has sent this command of the batch, or the query.
    #[cfg(not(target_family = "wasm"))]
    fn caller(&self, command: u32) -> Option<Caller>;
}

/// A module does not ask through [`Host`]: then only a guest that calls `caller` imports the function, and all others run on
/// hosts that don't have it.
#[cfg(target_family = "wasm")]
fn caller_of(_: &dyn Host, known: &BatchCallers, command: u32) -> Option<Caller> {
    let exist = known.exist(crate::caller::imported_any);
    exist.then(|| crate::caller::imported(command)).flatten()
}

#[cfg(not(target_family = "wasm"))]
fn caller_of(host: &dyn Host, known: &BatchCallers, command: u32) -> Option<Caller> {
    let exist = known.exist(|| host.has_callers());
    exist.then(|| host.caller(command)).flatten()
}

/// A command in its batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchPosition<'b> {
    pub(crate) number: u32,
    pub(crate) callers: &'b BatchCallers,
}

/// Context of [`StateMachine::apply`](crate::StateMachine::apply) and of the methods `on_wake`, `on_timer` and `on_deadline`.
///
/// Everything that it returns is equal on every node. Everything that it is told to do takes effect when the command is
/// accepted; a refusal undoes it.
pub struct Apply<'h> {
    host: &'h dyn Host,
    position: LogPosition,
    runtime: &'h mut RuntimeState,
    /// The command. `None` in a wake-up, where no reply can be deferred.
    command: Option<BatchPosition<'h>>,
    deferral: Option<NewDeferral>,
    undo: UndoLog,
    events: Vec<Event>,
    replies: Vec<LateReply>,
}

/// This command is deferred.
#[derive(Debug)]
struct NewDeferral {
    token: Token,
    deadline_ms: u64,
    /// It was completed in the same call.
    is_complete: bool,
}

/// Number and size of events and late replies, which the host limits in each call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EffectsUsed {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

impl<'h> Apply<'h> {
    pub(crate) fn new(
        host: &'h dyn Host,
        position: LogPosition,
        runtime: &'h mut RuntimeState,
        command: Option<BatchPosition<'h>>,
    ) -> Self {
        Self {
            host,
            position,
            runtime,
            command,
            deferral: None,
            undo: UndoLog::new(),
            events: Vec::new(),
            replies: Vec::new(),
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

    /// Who has sent this command. Equal on every node. Each call asks the host, so keep the result.
    ///
    /// `None` if the nodes don't authenticate their clients (no `--certs-dir`), in `on_wake`, `on_timer` and `on_deadline`, and in
    /// a cluster at level 0. A guest that calls it needs a host of the same release or a later one.
    pub fn caller(&self) -> Option<Caller> {
        let command = self.command?;
        caller_of(self.host, command.callers, command.number)
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

    /// Publishes an event when the command is accepted. Clients read it at `GET /v1/events`.
    pub fn emit(&mut self, topic: impl Into<String>, payload: impl Into<Vec<u8>>) {
        self.events.push(Event {
            topic: topic.into(),
            payload: payload.into(),
        });
    }

    /// Publishes an event whose payload is a value as JSON, when the command is accepted.
    ///
    /// # Panics
    ///
    /// JSON cannot encode the value, for example a map whose keys are lists. In a module this is a trap: the host undoes the
    /// command.
    pub fn emit_json(&mut self, topic: impl Into<String>, payload: &(impl Serialize + ?Sized)) {
        let topic = topic.into();
        match serde_json::to_vec(payload) {
            Ok(payload) => self.events.push(Event { topic, payload }),
            Err(error) => panic!(
                "the payload of the event `{topic}` cannot be encoded as JSON: {error}; change its type"
            ),
        }
    }

    /// Requests a call of [`StateMachine::on_wake`](crate::StateMachine::on_wake) at or after a replicated time, in
    /// milliseconds since 1970-01-01 UTC. There is one wake time: a later call replaces it, and 0 clears it. It is cleared
    /// when `on_wake` is called.
    ///
    /// For more than one time use [`set_timer`](Self::set_timer), which is independent of it.
    pub fn wake_at(&mut self, time_ms: u64) {
        self.runtime.set_wake(time_ms, &mut self.undo);
    }

    /// Sets the timer `id`: [`StateMachine::on_timer`](crate::StateMachine::on_timer) is called once, at or after a
    /// replicated time in milliseconds since 1970-01-01 UTC, never before it. A timer with the same id is replaced.
    ///
    /// Timers fire in the order of their times, and of their ids if the times are equal. A time that has passed fires in an
    /// entry of its own, after this one.
    ///
    /// # Errors
    ///
    /// A refusal, ready to be returned with `?`: 1,000,000 timers are set (`too_many_timers`), or the id is longer than 256
    /// bytes (`timer_id_too_long`). Replacing a timer that is set never fails.
    pub fn set_timer(&mut self, id: impl AsRef<str>, at_ms: u64) -> Result<(), Refusal> {
        self.runtime.set_timer(id.as_ref(), at_ms, &mut self.undo)
    }

    /// Cancels a timer. Returns whether it was set.
    pub fn cancel_timer(&mut self, id: impl AsRef<str>) -> bool {
        self.runtime.cancel_timer(id.as_ref(), &mut self.undo)
    }

    /// The time at which a timer fires, in milliseconds since 1970-01-01 UTC. `None`: it is not set.
    pub fn timer_ms(&self, id: impl AsRef<str>) -> Option<u64> {
        self.runtime.timer_ms(id.as_ref())
    }

    /// Defers the reply to this command. The client waits until [`complete`](Self::complete) or [`refuse`](Self::refuse) is
    /// called with the returned token, in this entry or in a later one.
    ///
    /// The value that `apply` then returns with `Ok` is the reply at the deadline, a replicated time in milliseconds since
    /// 1970-01-01 UTC, if nothing completed the command before. At most 64 KiB of it are possible, encoded. Before it is
    /// sent, [`StateMachine::on_deadline`](crate::StateMachine::on_deadline) is called. If `apply` returns a refusal, nothing
    /// is deferred. A second call in the same command sets another deadline and returns the same token.
    ///
    /// The client's own timeout (`--timeout-ms`, or the header `Oarlock-Timeout-Ms`) is independent of the deadline. A client
    /// that repeats the command with the same idempotency key waits for the same reply, also at another node.
    ///
    /// # Errors
    ///
    /// A refusal, ready to be returned with `?`: 100,000 commands wait, or their kept replies have 16 MiB
    /// (`too_many_waiting`). Call it before you change the state.
    ///
    /// # Panics
    ///
    /// There is no command: it was called in `on_wake`, `on_timer` or `on_deadline`.
    pub fn defer(&mut self, deadline_ms: u64) -> Result<Token, Refusal> {
        assert!(
            self.command.is_some(),
            "`defer` was called in `on_wake`, `on_timer` or `on_deadline`, where no command can be deferred; call it in `apply`"
        );
        if let Some(deferral) = &mut self.deferral {
            deferral.deadline_ms = deadline_ms;
            return Ok(deferral.token);
        }
        let token = self
            .runtime
            .new_token(self.position.index, &mut self.undo)?;
        self.deferral = Some(NewDeferral {
            token,
            deadline_ms,
            is_complete: false,
        });
        Ok(token)
    }

    /// Whether a deferred command has no reply yet. True in `on_deadline` for its own token.
    pub fn is_waiting(&self, token: Token) -> bool {
        match &self.deferral {
            Some(deferral) if deferral.token == token => !deferral.is_complete,
            _ => self.runtime.is_waiting(token),
        }
    }

    /// Completes a deferred command with an encoded reply or refusal. Returns whether it was waiting.
    pub(crate) fn complete_encoded(&mut self, reply: LateReply) -> bool {
        let was_waiting = match &mut self.deferral {
            Some(deferral) if deferral.token == reply.token => {
                !std::mem::replace(&mut deferral.is_complete, true)
            }
            _ => self.runtime.complete(reply.token, &mut self.undo),
        };
        if was_waiting {
            self.replies.push(reply);
        }
        was_waiting
    }

    /// The deadline of a deferred command has passed: completes it with the kept reply, if it still waits.
    pub(crate) fn expire(&mut self, token: Token) {
        if let Some(body) = self.runtime.take_reply(token) {
            self.replies.push(LateReply {
                token,
                accepted: true,
                body,
            });
        }
    }

    /// The token of this command, if it is deferred.
    pub(crate) fn deferred(&self) -> Option<Token> {
        self.deferral.as_ref().map(|deferral| deferral.token)
    }

    /// The command is accepted, or the wake-up done: passes the buffered effects to the host.
    pub(crate) fn commit(self) -> EffectsUsed {
        let mut used = EffectsUsed {
            count: self.events.len() + self.replies.len(),
            bytes: 0,
        };
        for event in self.events {
            used.bytes += event.topic.len() + event.payload.len();
            self.host.emit(event);
        }
        for reply in self.replies {
            used.bytes += reply.body.len();
            self.host.complete(reply);
        }
        used
    }

    /// The command is accepted and deferred. Keeps the encoded reply until the deadline.
    pub(crate) fn commit_deferred(mut self, reply: Vec<u8>) {
        if let Some(deferral) = self.deferral.take()
            && !deferral.is_complete
        {
            self.runtime
                .keep_reply(deferral.token, deferral.deadline_ms, reply);
        }
        self.commit();
    }

    /// The command is refused: undoes what it did.
    pub(crate) fn roll_back(self) {
        self.runtime.undo(self.undo);
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

    /// Who has sent this query. `None` if the nodes don't authenticate their clients (no `--certs-dir`).
    pub fn caller(&self) -> Option<Caller> {
        caller_of(self.host, &BatchCallers::default(), 0)
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
