//! Sizes of encoded replies, as upper bounds: what is accepted must fit into the reply that delivers it.

use crate::draft::NewTask;
use crate::payload::Payload;
use crate::task::Task;

/// Bytes of a reply besides its tasks or queues.
pub(crate) const REPLY_BYTES: u64 = 128;

/// Bytes of a task besides its texts: keys, numbers and the token.
const TASK_BYTES: u64 = 256;

/// Bytes of the counts of a queue.
const COUNTS_BYTES: u64 = 192;

/// Bytes of the details of a queue besides its texts.
pub(crate) const DETAIL_BYTES: u64 = 1024;

/// Longest encoding of one byte of text: `\u0000`.
const ESCAPED_BYTES: u64 = 6;

/// Size of a text, in quotes.
pub(crate) fn text(text: &str) -> u64 {
    2 + ESCAPED_BYTES * text.len() as u64
}

fn optional(value: Option<&str>) -> u64 {
    value.map_or(0, text)
}

fn attributes(list: &[(Box<str>, Box<str>)]) -> u64 {
    list.iter()
        .map(|(name, value)| 2 + text(name) + text(value))
        .sum()
}

/// Size of a task that is delivered, with its separator.
pub(crate) fn delivered(queue: &str, fairness_key: Option<&str>, task: &Task) -> u64 {
    let base = TASK_BYTES + text(queue) + task.payload.encoded_len() + optional(fairness_key);
    base + task.extra().map_or(0, |extra| {
        optional(extra.content_type.as_deref())
            + optional(extra.ordering_key.as_deref())
            + attributes(&extra.attributes)
    })
}

/// Size of a reply that delivers a new task alone.
pub(crate) fn new_delivered_alone(task: &NewTask) -> u64 {
    REPLY_BYTES
        + TASK_BYTES
        + text(&task.queue)
        + task.payload.encoded_len()
        + optional(task.fairness_key.as_deref())
        + optional(task.content_type.as_deref())
        + optional(task.ordering_key.as_deref())
        + attributes(&task.attributes)
}

/// Size of a response with one task, besides its failures.
pub(crate) fn shown_alone(queue: &str, payload: &Payload, more: &[Option<&str>]) -> u64 {
    let more: u64 = more.iter().map(|value| optional(*value)).sum();
    REPLY_BYTES + TASK_BYTES + text(queue) + payload.encoded_len() + more
}

/// Size of a queue's name and counts, with the separator.
pub(crate) fn counts(queue: &str) -> u64 {
    COUNTS_BYTES + text(queue)
}
