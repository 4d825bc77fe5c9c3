//! What a guest needs of the queues: commands, queries, wake-ups, deadlines. The built-in guest delegates to it, and so does a
//! guest with a policy.

use oarlock_guest::{Apply, MigrateError, OldState, Read, Refusal, Token};

use crate::access::Access;
use crate::messages::{Command, Query, Reply, Response};
use crate::policy::Policy;
use crate::state::Queues;

impl<P: Policy> Queues<P> {
    /// Applies one command. Replies to commands that waited are in [`completions`](Self::take_completions) after it.
    ///
    /// # Errors
    /// A refusal; nothing has changed.
    pub fn execute(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<Reply, Refusal> {
        let now_ms = cx.time_ms();
        let access = Access::of(cx.caller());
        self.check_command(&access, &command)?;
        let reply = match command {
            Command::Reserve(reserve) => self.reserve(cx, &reserve),
            Command::EndWaits(command) => self.end_waits(&command.worker),
            Command::Batch {
                commands,
                all_or_nothing,
            } => self.batch(cx, &access, commands, all_or_nothing),
            Command::WaitFor(command) => self.wait_for(cx, &command),
            Command::Configure(change) => self.configure(now_ms, &change),
            Command::ConfigureKey(change) => self.configure_key(now_ms, &change),
            Command::Pause(name) => self.pause(&name.queue, true),
            Command::Resume(name) => self.pause(&name.queue, false),
            Command::Purge(purge) => self.purge(now_ms, &purge),
            Command::DeleteQueue(command) => self.delete_queue(now_ms, &command),
            Command::Redrive(command) => self.redrive(now_ms, &command),
            Command::OpenGroup(command) => self.open_group(*command),
            Command::CloseGroup { group } => self.close_group(now_ms, &group),
            Command::SetSchedule(command) => self.set_schedule(now_ms, *command),
            Command::AddTicks(command) => self.add_ticks(&command),
            Command::PauseSchedule(command) => self.pause_schedule(&command),
            Command::DeleteSchedule { name } => self.delete_schedule(&name),
            other => self.apply_one(cx, other, &[]),
        }?;
        self.settle(cx);
        Ok(reply)
    }

    /// Evaluates a query.
    ///
    /// # Errors
    /// A refusal.
    pub fn evaluate(&self, cx: &Read<'_>, query: Query) -> Result<Response, Refusal> {
        self.respond(cx, query)
    }

    /// Handles a wake-up.
    pub fn handle_wake(&mut self, cx: &mut Apply<'_>) {
        self.wake(cx);
    }

    /// Forgets a command that waited until its deadline.
    pub fn handle_deadline(&mut self, token: Token) {
        if let Some(waiter) = self.waiters.remove(token) {
            self.workers.end_wait(waiter.worker);
        }
        self.results.unwatch(token);
    }

    /// Takes the replies to commands that waited. Call it after each command and wake-up, and complete them.
    pub fn take_completions(&mut self) -> Vec<(Token, Reply)> {
        std::mem::take(&mut self.completions)
    }

    /// Takes over the state of another guest with the queue: the built-in one, or one with other rules.
    ///
    /// # Errors
    /// The state has another layout.
    pub fn take_over(old: OldState<'_>) -> Result<Self, MigrateError> {
        if old.name() == Some("task-queue") && old.version() == 1 {
            return Self::from_version_1(old);
        }
        old.decode()
    }

    /// Converts a state of version 1 of the built-in queue.
    ///
    /// # Errors
    /// The bytes are not such a state.
    pub fn from_version_1(old: OldState<'_>) -> Result<Self, MigrateError> {
        crate::migrate::from_version_1(old)
    }
}
