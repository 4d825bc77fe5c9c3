//! Which queues a caller may use: those in the scope `queues` of its token, or all without it.
//!
//! What belongs to no queue is refused to a caller with the scope: groups, and the list of workers. Lists of several queues
//! show those of the caller only.

use oarlock_guest::{Caller, Refusal};

use crate::messages::{Command, Configure, Enqueue, Query, Redrive};
use crate::policy::Policy;
use crate::refuse::forbidden;
use crate::state::Queues;

/// The scope of a token (`oarlock token create NAME --queues a,b`).
const SCOPE: &str = "queues";

/// What a caller may use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access(Option<Caller>);

impl Access {
    /// Without a caller the nodes don't authenticate, and without the scope the caller is not limited.
    pub(crate) fn of(caller: Option<Caller>) -> Self {
        Self(caller.filter(|caller| caller.scope(SCOPE).is_some()))
    }

    /// Whether the caller may use a queue.
    pub(crate) fn has(&self, queue: &str) -> bool {
        self.0
            .as_ref()
            .is_none_or(|caller| caller.may_use(SCOPE, queue))
    }

    fn check(&self, queue: &str, field: &str) -> Result<(), Refusal> {
        if self.has(queue) {
            return Ok(());
        }
        let text = format!("the token does not have the queue {queue}");
        Err(forbidden(field, &text))
    }

    /// Refuses what belongs to no queue.
    fn check_unlimited(&self, what: &str, field: &str) -> Result<(), Refusal> {
        if self.0.is_none() {
            return Ok(());
        }
        let text = format!("the token is limited to queues, and {what} belong to none");
        Err(forbidden(field, &text))
    }

    fn check_all<'q>(
        &self,
        queues: impl IntoIterator<Item = &'q String>,
        field: &str,
    ) -> Result<(), Refusal> {
        let mut queues = queues.into_iter();
        queues.try_for_each(|queue| self.check(queue, field))
    }

    fn check_configure(&self, change: &Configure) -> Result<(), Refusal> {
        self.check(&change.queue, "queue")?;
        self.check_all(change.dead_letter.iter().flatten(), "dead_letter")
    }

    fn check_redrive(&self, command: &Redrive) -> Result<(), Refusal> {
        self.check(&command.queue, "queue")?;
        self.check_all(&command.to, "to")
    }
}

impl<P: Policy> Queues<P> {
    /// Refuses a command for a queue that the caller may not use. The commands of a batch are checked one by one.
    pub(crate) fn check_command(&self, access: &Access, command: &Command) -> Result<(), Refusal> {
        if access.0.is_none() {
            return Ok(());
        }
        match command {
            Command::Batch { .. } => Ok(()),
            Command::Enqueue(task) => self.check_new_task(access, task, "queue"),
            Command::Reserve(reserve) => access.check_all(&reserve.queues, "queues"),
            Command::EndWaits(command) => self.check_worker(access, &command.worker),
            Command::Ack(ack) => self.check_task(access, ack.id, "id"),
            Command::Nack(nack) => self.check_task(access, nack.id, "id"),
            Command::Extend(extend) => self.check_task(access, extend.id, "id"),
            Command::Release(release) => self.check_task(access, release.id, "id"),
            Command::Cancel { id } => self.check_task(access, *id, "id"),
            Command::WaitFor(command) => self.check_task(access, command.id, "id"),
            Command::Configure(change) => access.check_configure(change),
            Command::ConfigureKey(change) => access.check(&change.queue, "queue"),
            Command::Pause(name) | Command::Resume(name) => access.check(&name.queue, "queue"),
            Command::Purge(purge) => access.check(&purge.queue, "queue"),
            Command::DeleteQueue(command) => access.check(&command.queue, "queue"),
            Command::Redrive(command) => access.check_redrive(command),
            Command::OpenGroup(_) | Command::CloseGroup { .. } => {
                access.check_unlimited("groups", "group")
            }
            Command::SetSchedule(command) => {
                self.check_schedule(access, &command.name)?;
                self.check_new_task(access, &command.task, "task.queue")
            }
            Command::AddTicks(command) => self.check_schedule(access, &command.name),
            Command::PauseSchedule(command) => self.check_schedule(access, &command.name),
            Command::DeleteSchedule { name } => self.check_schedule(access, name),
        }
    }

    /// Refuses a query about a queue that the caller may not use. Lists leave out what it may not see.
    pub(crate) fn check_query(&self, access: &Access, query: &Query) -> Result<(), Refusal> {
        match query {
            Query::Stats { .. } | Query::Schedules { .. } | Query::Stuck {} => Ok(()),
            Query::Task { id } => self.check_task(access, *id, "id"),
            Query::List { queue, .. } | Query::Keys { queue, .. } => access.check(queue, "queue"),
            Query::Workers { .. } => access.check_unlimited("workers", "workers"),
            Query::Group { .. } => access.check_unlimited("groups", "group"),
        }
    }

    fn check_new_task(&self, access: &Access, task: &Enqueue, field: &str) -> Result<(), Refusal> {
        access.check(&task.queue, field)?;
        if task.group.is_some() {
            access.check_unlimited("groups", "group")?;
        }
        let mut before = task.after.iter();
        before.try_for_each(|id| self.check_task(access, *id, "after"))
    }

    /// A task that is not there is left to the checks that follow.
    fn check_task(&self, access: &Access, id: u64, field: &str) -> Result<(), Refusal> {
        let live = self.tasks.get(id).map(|task| &self.queue(task.queue).name);
        let queue = live.or_else(|| self.results.get(id).map(|kept| &kept.queue));
        queue.map_or(Ok(()), |queue| access.check(queue, field))
    }

    fn check_schedule(&self, access: &Access, name: &str) -> Result<(), Refusal> {
        let schedule = self.schedules.list.get(name);
        schedule.map_or(Ok(()), |schedule| {
            access.check(&schedule.task.queue, "name")
        })
    }

    /// A worker is in no queue, but each of its reserves that wait is.
    fn check_worker(&self, access: &Access, worker: &str) -> Result<(), Refusal> {
        let Some(&number) = self.workers.numbers.get(worker) else {
            return Ok(());
        };
        let queues = self.waiters.queues_of_worker(number);
        queues
            .into_iter()
            .try_for_each(|queue| access.check(queue, "worker"))
    }
}
