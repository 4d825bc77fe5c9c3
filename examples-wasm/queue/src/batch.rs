//! Several commands in one.

use std::collections::BTreeSet;

use oarlock_guest::{Apply, Refusal};

use crate::access::Access;
use crate::draft::{NewTask, not_in_batch};
use crate::enqueue::Planned;
use crate::limits::{MAX_AFTER, MAX_BATCH};
use crate::messages::{BatchItem, Command, Reply};
use crate::policy::Policy;
use crate::refuse::{bad_command, check_range};
use crate::state::Queues;

/// A command that was checked.
enum Prepared {
    /// A task to add, and the positions in the batch of tasks that must be done before.
    New(NewTask, Vec<u32>),
    Known(Command),
}

impl<P: Policy> Queues<P> {
    /// Applies commands in their order, each with its own outcome.
    pub(crate) fn batch(
        &mut self,
        cx: &mut Apply<'_>,
        access: &Access,
        commands: Vec<Command>,
        all_or_nothing: bool,
    ) -> Result<Reply, Refusal> {
        check_range("commands", commands.len() as u64, 1, MAX_BATCH as u64)?;
        if let Some(position) = commands
            .iter()
            .position(|command| !may_be_in_batch(command))
        {
            let text = format!(
                "commands[{position}] is not enqueue, ack, nack, extend, release or cancel; send it alone"
            );
            return Err(bad_command("batch", &text, "commands"));
        }
        if all_or_nothing {
            return self.batch_or_nothing(cx, access, commands);
        }
        let mut ids = Vec::with_capacity(commands.len());
        let results = commands
            .into_iter()
            .map(|command| {
                let allowed = self.check_command(access, &command);
                match allowed.and_then(|()| self.apply_one(cx, command, &ids)) {
                    Ok(reply) => {
                        ids.push(added(&reply));
                        BatchItem::Ok(reply)
                    }
                    Err(refusal) => {
                        ids.push(None);
                        BatchItem::Refused(refusal)
                    }
                }
            })
            .collect();
        Ok(Reply::Batch { results })
    }

    /// Applies all commands, or none. All are checked before the first one is applied.
    fn batch_or_nothing(
        &mut self,
        cx: &mut Apply<'_>,
        access: &Access,
        commands: Vec<Command>,
    ) -> Result<Reply, Refusal> {
        let mut planned = Planned::default();
        let mut seen = BTreeSet::new();
        let mut prepared = Vec::with_capacity(commands.len());
        let mut is_new = Vec::with_capacity(commands.len());
        for (position, command) in commands.into_iter().enumerate() {
            if let Some(id) = task_of(&command)
                && !seen.insert(id)
            {
                let text = format!(
                    "commands[{position}] is the second one for task {id}; all_or_nothing permits one"
                );
                return Err(bad_command("batch", &text, "commands"));
            }
            let allowed = self.check_command(access, &command);
            let next = allowed.and_then(|()| self.prepare_one(cx, command, &is_new, &mut planned));
            prepared.push(next.map_err(|refusal| at(position, &refusal))?);
            is_new.push(matches!(prepared.last(), Some(Prepared::New(..))));
        }
        let mut results: Vec<Option<Reply>> = vec![None; prepared.len()];
        let mut new = Vec::new();
        // Commands for tasks that exist come first: a new task can push an old one out of a full queue.
        for (position, prepared) in prepared.into_iter().enumerate() {
            match prepared {
                Prepared::New(task, after) => new.push((position, task, after)),
                Prepared::Known(command) => {
                    let reply = self.apply_one(cx, command, &[]);
                    results[position] =
                        Some(reply.expect("it was checked, and each task is named once"));
                }
            }
        }
        let mut ids = vec![None; results.len()];
        for (position, mut task, after) in new {
            task.after
                .extend(after.into_iter().filter_map(|before| ids[before as usize]));
            let reply = self.commit(task, cx.time_ms());
            ids[position] = added(&reply);
            results[position] = Some(reply);
        }
        let results = results.into_iter().flatten().map(BatchItem::Ok).collect();
        Ok(Reply::Batch { results })
    }

    /// Checks a command of a batch. `is_new` tells which positions before it add a task.
    fn prepare_one(
        &self,
        cx: &Apply<'_>,
        command: Command,
        is_new: &[bool],
        planned: &mut Planned,
    ) -> Result<Prepared, Refusal> {
        match &command {
            Command::Ack(ack) => self.check_ack(ack)?,
            Command::Nack(nack) => self.check_nack(nack)?,
            Command::Extend(extend) => self.check_extend(extend)?,
            Command::Release(release) => self.check_token(release.id, &release.token).map(drop)?,
            Command::Cancel { id } => self.check_exists(*id)?,
            _ => {}
        }
        let Command::Enqueue(mut enqueue) = command else {
            return Ok(Prepared::Known(command));
        };
        let after = std::mem::take(&mut enqueue.after_batch);
        for &before in &after {
            if !is_new.get(before as usize).copied().unwrap_or(false) {
                return Err(not_in_batch(before));
            }
        }
        let task = self.prepare(cx, *enqueue, &[])?;
        check_range(
            "after_batch",
            (task.after.len() + after.len()) as u64,
            0,
            MAX_AFTER as u64,
        )?;
        self.check_new(cx, &task, planned)?;
        planned.add(&task);
        Ok(Prepared::New(task, after))
    }

    /// Applies a command that may be in a batch.
    pub(crate) fn apply_one(
        &mut self,
        cx: &mut Apply<'_>,
        command: Command,
        ids: &[Option<u64>],
    ) -> Result<Reply, Refusal> {
        let now_ms = cx.time_ms();
        match command {
            Command::Enqueue(task) => self.enqueue(cx, *task, ids),
            Command::Ack(ack) => self.ack(now_ms, ack),
            Command::Nack(nack) => self.nack(now_ms, &nack),
            Command::Extend(extend) => self.extend(now_ms, &extend),
            Command::Release(release) => self.release(now_ms, &release),
            Command::Cancel { id } => self.cancel(now_ms, id),
            _ => Err(bad_command(
                "batch",
                "this command is sent alone",
                "commands",
            )),
        }
    }
}

fn may_be_in_batch(command: &Command) -> bool {
    use Command::{Ack, Cancel, Enqueue, Extend, Nack, Release};
    matches!(
        command,
        Enqueue(_) | Ack(_) | Nack(_) | Extend(_) | Release(_) | Cancel { .. }
    )
}

/// The task that a command names.
fn task_of(command: &Command) -> Option<u64> {
    match command {
        Command::Ack(ack) => Some(ack.id),
        Command::Nack(nack) => Some(nack.id),
        Command::Extend(extend) => Some(extend.id),
        Command::Release(release) => Some(release.id),
        Command::Cancel { id } => Some(*id),
        _ => None,
    }
}

/// The id of the task that an enqueue added, or found.
fn added(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::Enqueued { id, .. } => Some(*id),
        _ => None,
    }
}

/// A refusal that names the command of the batch.
fn at(position: usize, refusal: &Refusal) -> Refusal {
    let field = refusal
        .named_field()
        .map_or_else(String::new, |field| format!(".{field}"));
    let text = format!(
        "commands[{position}]: {}; nothing was applied",
        refusal.message()
    );
    Refusal::new(refusal.code().to_owned(), text).field(format!("commands[{position}]{field}"))
}
