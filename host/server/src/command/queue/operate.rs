//! `oarlock queue pause`, `resume`, `purge`, `cancel`, `configure` and `redrive`.

use oarlock_client::queue::{Queue, QueueError, RedriveOptions};
use serde_json::{Map, Value, json};

use super::failure::explained;
use crate::cli::RedriveArgs;
use crate::command::output::{print_safely, write_json, write_out};
use crate::exit::Failure;

pub(super) async fn pause(queue: &Queue, json: bool) -> Result<(), Failure> {
    let line = format!("deliveries of {} are stopped", queue.name());
    ended(queue, queue.pause().await, &line, json).await
}

pub(super) async fn resume(queue: &Queue, json: bool) -> Result<(), Failure> {
    let line = format!("{} delivers tasks", queue.name());
    ended(queue, queue.resume().await, &line, json).await
}

pub(super) async fn configure(queue: &Queue, settings: &str, json: bool) -> Result<(), Failure> {
    let settings = self::settings(settings, "{\"max_attempts\":5}")?;
    let line = format!("changed the settings of {}", queue.name());
    ended(queue, queue.configure(&settings).await, &line, json).await
}

/// The settings of an argument.
///
/// # Errors
/// The text is no JSON object.
pub(super) fn settings(text: &str, example: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::usage(format!(
            "the settings are no JSON object: {error}; write for example '{example}'"
        ))
    })
}

/// Prints the end of a command without data.
pub(super) async fn ended(
    queue: &Queue,
    outcome: Result<(), QueueError>,
    line: &str,
    json: bool,
) -> Result<(), Failure> {
    match outcome {
        Ok(()) => print(line, &json!({}), json),
        Err(error) => Err(explained(queue, error).await),
    }
}

/// Removes tasks, in as many commands as it takes.
pub(super) async fn purge(queue: &Queue, dead: bool, json: bool) -> Result<(), Failure> {
    let mut removed = 0;
    loop {
        match queue.purge(dead).await {
            Ok(part) => {
                removed += part.removed;
                if !part.more || part.removed == 0 {
                    let line = format!("removed {removed} tasks of {}", queue.name());
                    return print(&line, &json!({ "removed": removed }), json);
                }
            }
            Err(error) => {
                let failure = explained(queue, error).await;
                return Err(failure.noted(format!("{removed} tasks were removed before")));
            }
        }
    }
}

/// Returns dead tasks, in as many commands as it takes.
pub(super) async fn redrive(queue: &Queue, args: &RedriveArgs, json: bool) -> Result<(), Failure> {
    let mut options = RedriveOptions {
        ids: args.ids.clone(),
        error: args.error.clone(),
        fairness_key: args.fairness_key.clone(),
        min_age_ms: args.min_age_ms,
        to: args.to.clone(),
        after: 0,
        dry_run: args.dry_run,
    };
    let mut redriven = 0;
    loop {
        match queue.redrive(&options).await {
            Ok(part) => {
                redriven += part.redriven;
                match part.next {
                    Some(next) if next > options.after => options.after = next,
                    _ => break,
                }
            }
            Err(error) => {
                let failure = explained(queue, error).await;
                let what = if args.dry_run { "counted" } else { "returned" };
                return Err(failure.noted(format!("{redriven} tasks were {what} before")));
            }
        }
    }
    let to = args.to.as_deref().unwrap_or(queue.name());
    let line = if args.dry_run {
        format!("{redriven} tasks would return to {to}; nothing was changed")
    } else {
        format!("{redriven} tasks returned to {to}")
    };
    let value = json!({"redriven": redriven, "dry_run": args.dry_run});
    print(&line, &value, json)
}

/// Removes a task, or tells its worker to stop.
pub(super) async fn cancel(queue: &Queue, id: u64, json: bool) -> Result<(), Failure> {
    match queue.cancel(id).await {
        Ok(state) => {
            let line = match state.name() {
                "leased" => format!("task {id} runs; its worker is told to stop"),
                _ => format!("task {id} was removed"),
            };
            print(&line, &json!({ "state": state.name() }), json)
        }
        Err(error) => Err(explained(queue, error).await),
    }
}

/// Prints a line, or with `json` the value.
pub(super) fn print(line: &str, value: &Value, json: bool) -> Result<(), Failure> {
    if json {
        return write_json(std::io::stdout().lock(), value);
    }
    let line = format!("{}\n", print_safely(line));
    write_out(std::io::stdout().lock(), line.as_bytes())
}
