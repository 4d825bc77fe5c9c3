//! Refusals, and the checks that lead to them.

use oarlock_guest::Refusal;

use crate::limits::{MAX_LEASE_MS, MAX_NAME_BYTES};

/// A value that is out of its range.
pub(crate) fn out_of_range(field: &str, words: impl Into<String>) -> Refusal {
    Refusal::new("out_of_range", words).field(field)
}

/// A limit of the whole queue that is reached.
pub(crate) fn full(what: &str, limit: usize) -> Refusal {
    let words = format!(
        "there are {limit} {what}, which is the limit; acknowledge or use what is there first"
    );
    Refusal::new("full", words).field("queue")
}

/// An id that no task has.
pub(crate) fn no_such_task(id: u64) -> Refusal {
    let words = format!("there is no task {id}: it was never added, or it was acknowledged");
    Refusal::new("no_such_task", words).field("id")
}

/// A token that is not that of the task's last delivery.
pub(crate) fn stale_token(id: u64) -> Refusal {
    let words = format!(
        "the token is not that of the last delivery of task {id}, so nothing was changed; drop this delivery"
    );
    Refusal::new("stale_token", words).field("token")
}

/// The name of a queue or worker, or a deduplication key.
pub(crate) fn check_name(field: &str, name: &str) -> Result<(), Refusal> {
    match name.len() {
        0 => Err(out_of_range(
            field,
            format!("{field} is empty; give it 1 to {MAX_NAME_BYTES} bytes"),
        )),
        length if length > MAX_NAME_BYTES => {
            let words = format!(
                "{field} has {length} bytes and may have {MAX_NAME_BYTES}; use a shorter one"
            );
            Err(out_of_range(field, words))
        }
        _ => Ok(()),
    }
}

/// A number that has a smallest and a largest value.
pub(crate) fn check_range(field: &str, value: u64, least: u64, most: u64) -> Result<(), Refusal> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(out_of_range(
        field,
        format!("{field} is {value} and has to be {least} to {most}"),
    ))
}

/// The length of a lease.
pub(crate) fn check_lease(lease_ms: u64) -> Result<(), Refusal> {
    check_range("lease_ms", lease_ms, 1, MAX_LEASE_MS)
}
