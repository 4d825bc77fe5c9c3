//! Sizes of encoded replies, as upper bounds: what is accepted must fit into the reply that delivers it.

use oarlock_guest::JsonText;

/// Bytes of a reply besides its tasks or queues.
pub(crate) const REPLY_BYTES: u64 = 128;

/// Bytes of a task besides its texts: keys, numbers and the token.
const TASK_BYTES: u64 = 256;

/// Bytes of the counts of a queue.
const COUNTS_BYTES: u64 = 192;

/// Longest encoding of one byte of text: `\u0000`.
const ESCAPED_BYTES: u64 = 6;

/// Size of a text, in quotes.
pub(crate) fn text(text: &str) -> u64 {
    2 + ESCAPED_BYTES * text.len() as u64
}

/// Size of a task that is delivered, with its separator.
pub(crate) fn delivered(queue: &str, payload: &JsonText) -> u64 {
    TASK_BYTES + text(queue) + payload.as_str().len() as u64
}

/// Size of a reply that delivers this task alone.
pub(crate) fn delivered_alone(queue: &str, payload: &JsonText) -> u64 {
    REPLY_BYTES + delivered(queue, payload)
}

/// Size of a queue's name and counts, with the separator.
pub(crate) fn counts(queue: &str) -> u64 {
    COUNTS_BYTES + text(queue)
}
