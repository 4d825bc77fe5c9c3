//! Errors in the words of a user, with exit codes.

use oarlock_client::queue::{Queue, QueueError};
use oarlock_client::{ApplyError, QueryError, RequestError};

use crate::command::connect::refused;
use crate::exit::Failure;

/// The failure of a command. If the cluster seems to run another guest, its schema decides, and the failure names the guest.
pub(super) async fn explained(queue: &Queue, error: QueueError) -> Failure {
    if may_be_another_guest(&error)
        && let Err(named @ QueueError::NotAQueue(_)) = queue.check().await
    {
        return Failure::failed(named);
    }
    failure(&error)
}

/// The failure with its exit code: 3 if no node has an outcome, else 1.
pub(super) fn failure(error: &QueueError) -> Failure {
    let cause = match error {
        QueueError::Request(cause)
        | QueueError::Apply(
            ApplyError::NotApplied(cause) | ApplyError::OutcomeUnknown { cause, .. },
        )
        | QueueError::Query(QueryError::Request(cause)) => Some(cause),
        _ => None,
    };
    match cause {
        Some(cause) => refused(cause, error),
        None => Failure::failed(error),
    }
}

fn may_be_another_guest(error: &QueueError) -> bool {
    match error {
        QueueError::Refused(refusal) => {
            matches!(refusal.code.as_str(), "bad_command" | "bad_query")
        }
        QueueError::Decode(_) => true,
        QueueError::Query(QueryError::Request(RequestError::Invalid { code, .. })) => {
            code == "no_queries"
        }
        _ => false,
    }
}
