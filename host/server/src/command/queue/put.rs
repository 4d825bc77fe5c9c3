//! `oarlock queue put`: adds one task, or one for each line.

use std::collections::BTreeMap;

use oarlock_client::queue::{DedupeKeep, MAX_BATCH, NewTask, Queue, TaskPayload};
use serde_json::json;

use super::content;
use super::failure::explained;
use crate::cli::{DedupeKeepArg, PutArgs};
use crate::command::output::{write_json, write_out};
use crate::exit::Failure;

/// Most bytes of contents in one batch. A command is at most 1 MiB by default, and bytes grow by a third in it.
const MAX_BATCH_BYTES: usize = 512 << 10;

/// Adds the tasks, and prints their ids.
pub(super) async fn run(args: &PutArgs, queue: &Queue, json: bool) -> Result<(), Failure> {
    let read = content::read(&args.content, std::io::stdin().lock())?;
    let template = template(args)?;
    if args.lines {
        return put_lines(args, queue, &template, &read, json).await;
    }
    let task = NewTask {
        payload: content::payload(&read, &args.content)?,
        ..template
    };
    let enqueued = match queue.enqueue(&task).await {
        Ok(enqueued) => enqueued,
        Err(error) => return Err(explained(queue, error).await),
    };
    if json {
        return write_json(std::io::stdout().lock(), &enqueued);
    }
    let note = if enqueued.duplicate {
        ": a task with this key exists, nothing was added"
    } else {
        ""
    };
    let line = format!("task {}{note}\n", enqueued.id);
    write_out(std::io::stdout().lock(), line.as_bytes())
}

/// A task with the fields of the flags, and an empty content.
fn template(args: &PutArgs) -> Result<NewTask, Failure> {
    let mut attributes = BTreeMap::new();
    for attribute in &args.attributes {
        let Some((name, value)) = attribute.split_once('=') else {
            return Err(Failure::usage(format!(
                "--attribute {attribute:?} has no value; write NAME=VALUE"
            )));
        };
        attributes.insert(name.to_owned(), value.to_owned());
    }
    Ok(NewTask {
        content_type: args.content_type.clone(),
        attributes,
        priority: args.priority,
        delay_ms: args.delay_ms,
        max_attempts: args.max_attempts,
        ttl_ms: args.ttl_ms,
        dedupe_key: args.dedupe_key.clone(),
        dedupe_window_ms: args.dedupe_window_ms,
        dedupe_keep: args.dedupe_keep.map(|keep| match keep {
            DedupeKeepArg::First => DedupeKeep::First,
            DedupeKeepArg::Last => DedupeKeep::Last,
            DedupeKeepArg::Debounce => DedupeKeep::Debounce,
        }),
        fairness_key: args.fairness_key.clone(),
        weight: args.weight,
        ordering_key: args.ordering_key.clone(),
        group: args.group.clone(),
        after: args.after.clone(),
        ..NewTask::new(TaskPayload::bytes(""))
    })
}

/// What was added so far.
#[derive(Clone, Copy, Default)]
struct Added {
    tasks: u64,
    duplicates: u64,
}

async fn put_lines(
    args: &PutArgs,
    queue: &Queue,
    template: &NewTask,
    read: &[u8],
    json: bool,
) -> Result<(), Failure> {
    let mut tasks = Vec::new();
    for (number, line) in (1..).zip(read.split(|byte| *byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let payload = content::payload(line, &args.content)
            .map_err(|failure| Failure::usage(format!("line {number}: {failure}")))?;
        let dedupe_key = template
            .dedupe_key
            .as_ref()
            .map(|key| format!("{key}-{number}"));
        let task = NewTask {
            payload,
            dedupe_key,
            ..template.clone()
        };
        tasks.push((number, task));
    }
    let mut added = Added::default();
    for batch in batches(&tasks) {
        put_batch(queue, batch, &mut added).await?;
    }
    let Added { tasks, duplicates } = added;
    if json {
        let added = json!({"added": tasks, "duplicates": duplicates});
        return write_json(std::io::stdout().lock(), &added);
    }
    let line = format!("{tasks} tasks added, {duplicates} duplicates\n");
    write_out(std::io::stdout().lock(), line.as_bytes())
}

/// Splits tasks into batches that fit into a command.
fn batches(mut tasks: &[(u64, NewTask)]) -> Vec<&[(u64, NewTask)]> {
    let mut batches = Vec::new();
    while !tasks.is_empty() {
        let mut bytes = 0;
        let fitting = tasks.iter().take(MAX_BATCH).take_while(|(_, task)| {
            bytes += task.payload.as_bytes().len();
            bytes <= MAX_BATCH_BYTES
        });
        // A task that is too large alone is refused by the node, with its limit.
        let count = fitting.count().max(1);
        let (batch, rest) = tasks.split_at(count);
        batches.push(batch);
        tasks = rest;
    }
    batches
}

async fn put_batch(
    queue: &Queue,
    batch: &[(u64, NewTask)],
    added: &mut Added,
) -> Result<(), Failure> {
    let tasks: Vec<_> = batch.iter().map(|(_, task)| task.clone()).collect();
    let so_far = |added: Added| format!("{} tasks were added before", added.tasks);
    let outcomes = match queue.enqueue_all(&tasks, false).await {
        Ok(outcomes) => outcomes,
        Err(error) => {
            let failure = explained(queue, error).await;
            return Err(failure.noted(so_far(*added)));
        }
    };
    for ((number, _), outcome) in batch.iter().zip(outcomes) {
        match outcome {
            Ok(enqueued) if enqueued.duplicate => added.duplicates += 1,
            Ok(_) => added.tasks += 1,
            Err(refusal) => {
                return Err(Failure::failed(format!(
                    "line {number} was refused: {refusal}; {}, and others of its batch may be",
                    so_far(*added)
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(sizes: &[usize]) -> Vec<(u64, NewTask)> {
        let task = |size: &usize| (1, NewTask::new(TaskPayload::bytes(vec![0; *size])));
        sizes.iter().map(task).collect()
    }

    fn lengths(sizes: &[usize]) -> Vec<usize> {
        batches(&tasks(sizes))
            .iter()
            .map(|batch| batch.len())
            .collect()
    }

    #[test]
    fn a_batch_is_bounded_in_number_and_bytes() {
        assert_eq!(lengths(&[1; 2500]), [1000, 1000, 500]);
        let half = MAX_BATCH_BYTES / 2;
        assert_eq!(lengths(&[half, half, half]), [2, 1]);
        assert_eq!(lengths(&[MAX_BATCH_BYTES * 2, 1]), [1, 1]);
        assert_eq!(lengths(&[]), [0; 0]);
    }
}
