//! `oarlock queue wait`: waits until a task is done.

use std::time::{Duration, Instant};

use oarlock_client::queue::{MAX_WAIT, Queue, TaskState};

use super::failure::explained;
use crate::command::output::write_json;
use crate::exit::Failure;

/// Prints state and result of a task that is done. One request waits for at most [`MAX_WAIT`].
pub(super) async fn wait(queue: &Queue, id: u64, wait: Duration) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let left = wait.saturating_sub(begun.elapsed());
        let waited = match queue.wait_for(id, left.min(MAX_WAIT)).await {
            Ok(waited) => waited,
            Err(error) => return Err(explained(queue, error).await),
        };
        let state = waited.state;
        match state {
            TaskState::Done => return write_json(std::io::stdout().lock(), &waited),
            TaskState::Unknown => {
                return Err(Failure::failed(format!(
                    "there is no task {id}: it was never added, or it was acknowledged without a result, or removed"
                )));
            }
            TaskState::Dead => {
                return Err(Failure::failed(format!(
                    "task {id} is dead; `oarlock queue task {id}` shows its errors, `oarlock queue redrive` returns it"
                )));
            }
            TaskState::Cancelled => {
                return Err(Failure::failed(format!("task {id} was cancelled")));
            }
            _ if left > MAX_WAIT => {}
            _ => {
                return Err(Failure::failed(format!(
                    "task {id} is {} after {} ms; wait longer with --wait-ms",
                    state.name(),
                    wait.as_millis()
                )));
            }
        }
    }
}
