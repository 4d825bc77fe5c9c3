//! Refusals, and the checks that return them.

use oarlock_guest::Refusal;

use crate::limits::{MAX_LEASE_MS, MAX_NAME_BYTES};

/// A value is out of range.
pub(crate) fn out_of_range(field: &str, text: impl Into<String>) -> Refusal {
    Refusal::new("out_of_range", text).field(field)
}

/// Fields of a command contradict each other, in the words of the decoder.
pub(crate) fn bad_command(command: &str, text: &str, field: &str) -> Refusal {
    Refusal::new("bad_command", format!("command `{command}`: {text}")).field(field)
}

/// The same for a query.
pub(crate) fn bad_query(query: &str, text: &str, field: &str) -> Refusal {
    Refusal::new("bad_query", format!("query `{query}`: {text}")).field(field)
}

/// A limit on tasks or queues is reached.
pub(crate) fn full(what: &str, limit: usize) -> Refusal {
    let text = format!(
        "there are {limit} {what}, which is the limit; acknowledge tasks or use an existing queue"
    );
    Refusal::new("full", text).field("queue")
}

/// Another limit is reached.
pub(crate) fn too_many(field: &str, what: &str, limit: usize) -> Refusal {
    let text =
        format!("there are {limit} {what}, which is the limit; try again when there are fewer");
    Refusal::new("full", text).field(field)
}

/// The queue is at a limit of its own.
pub(crate) fn queue_is_full(queue: &str, what: &str, limit: u64) -> Refusal {
    let text = format!(
        "queue {queue} has its most {what}, {limit}; acknowledge tasks, or raise it with configure"
    );
    Refusal::new("full", text).field("queue")
}

/// The memory of the guest is low on a node.
pub(crate) fn memory_is_low() -> Refusal {
    let text = "memory is low, so no task is added; acknowledge tasks, then try again";
    Refusal::new("full", text).field("queue")
}

/// A reply with this task would be over the limit of replies.
pub(crate) fn too_large(field: &str, bytes: u64, limit: u64) -> Refusal {
    let text = format!(
        "a reply with this task can take {bytes} bytes, but {limit} is the limit of replies; store a smaller payload, or raise the limit"
    );
    Refusal::new("too_large", text).field(field)
}

/// No task has this id.
pub(crate) fn no_such_task(id: u64) -> Refusal {
    let text =
        format!("there is no task {id}: it was never added, or it was acknowledged or removed");
    Refusal::new("no_such_task", text).field("id")
}

/// No queue has this name.
pub(crate) fn no_such_queue(queue: &str) -> Refusal {
    let text = format!("there is no queue {queue}; its first task or configure creates it");
    Refusal::new("no_such_queue", text).field("queue")
}

/// No schedule has this name.
pub(crate) fn no_such_schedule(name: &str) -> Refusal {
    Refusal::new("no_such_schedule", format!("there is no schedule {name}")).field("name")
}

/// No group has this name.
pub(crate) fn no_such_group(group: &str) -> Refusal {
    let text =
        format!("there is no open group {group}: it was not opened, or it is closed or complete");
    Refusal::new("no_such_group", text).field("group")
}

/// The caller may not use a queue.
pub(crate) fn forbidden(field: &str, text: &str) -> Refusal {
    let text = format!("{text}; use a token with this scope, or one without scopes");
    Refusal::new("forbidden", text).field(field)
}

/// The token is not that of the last delivery of the task.
pub(crate) fn stale_token(id: u64) -> Refusal {
    let text = format!(
        "the token is not that of the last delivery of task {id}; nothing changed; drop this delivery"
    );
    Refusal::new("stale_token", text).field("token")
}

/// Checks a name of a queue or worker, or a key.
pub(crate) fn check_name(field: &str, name: &str) -> Result<(), Refusal> {
    match name.len() {
        0 => Err(out_of_range(
            field,
            format!("{field} is empty; give it 1 to {MAX_NAME_BYTES} bytes"),
        )),
        length if length > MAX_NAME_BYTES => {
            let text = format!(
                "{field} has {length} bytes, the limit is {MAX_NAME_BYTES}; use a shorter one"
            );
            Err(out_of_range(field, text))
        }
        _ => Ok(()),
    }
}

/// Checks that a number is in a range.
pub(crate) fn check_range(field: &str, value: u64, least: u64, most: u64) -> Result<(), Refusal> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(out_of_range(
        field,
        format!("{field} is {value}; it must be {least} to {most}"),
    ))
}

/// Checks the length of a lease.
pub(crate) fn check_lease(lease_ms: u64) -> Result<(), Refusal> {
    check_range("lease_ms", lease_ms, 1, MAX_LEASE_MS)
}
