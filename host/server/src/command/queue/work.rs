//! `oarlock queue work`: runs a program for each task of a queue.
//!
//! | module | what it does |
//! |---|---|
//! | [`handler`] | one run of the program: input, environment, outcome |
//! | [`process`] | the process group of a run, and its end |
//! | [`report`] | a line for each event |

mod handler;
mod process;
mod report;

use std::sync::Arc;
use std::time::Duration;

use oarlock_client::queue::Queue;
use oarlock_client::worker::{Worker, WorkerReport};
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};

use super::failure::explained;
use crate::cli::WorkArgs;
use crate::command::output::{warn, write_json, write_out};
use crate::exit::Failure;
use crate::serve::Signals;
use handler::HandlerProgram;
use report::EventReport;

/// Runs the worker until a signal, or with `--drain` until no task is ready.
pub(super) async fn run(args: WorkArgs, queue: Queue, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let (grace_is_over, grace) = watch::channel(false);
    let (ending, mut ended) = mpsc::channel::<()>(1);
    let program = HandlerProgram::new(args.handler, args.result, json, grace, ending)?;
    let program = Arc::new(program);
    let report = EventReport::new(json);
    let mut worker = Worker::new(queue.clone())
        .name(args.name.unwrap_or_else(name_of_process))
        .concurrency(args.jobs.into())
        .lease(Duration::from_millis(args.lease_ms))
        .on_event(move |event| report.tell(event));
    for name in args.queues.into_iter().skip(1) {
        worker = worker.also(name);
    }
    if args.drain {
        worker = worker.end_when_empty();
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async {
        // A dropped sender stops it, too.
        let _ = stopped.await;
    };
    let working = worker.run_until(stopped, move |task| {
        let program = Arc::clone(&program);
        async move { program.handle(&task).await }
    });
    let grace = Duration::from_millis(args.grace_ms);
    let outcome = supervise(working, &mut signals, stop, grace, &grace_is_over).await?;
    // Handlers whose task was lost may still be ending.
    while ended.recv().await.is_some() {}
    match outcome {
        Ok(report) => print(&report, json),
        Err(error) => Err(explained(&queue, error).await),
    }
}

/// Passes signals on: the first one stops the worker, the second one ends the handlers, the third one this process.
async fn supervise<T>(
    working: impl Future<Output = T>,
    signals: &mut Signals,
    stop: oneshot::Sender<()>,
    grace: Duration,
    grace_is_over: &watch::Sender<bool>,
) -> Result<T, Failure> {
    tokio::pin!(working);
    tokio::select! {
        ended = &mut working => return Ok(ended),
        () = signals.next() => {}
    }
    warn(&format!(
        "stopping: no more tasks are taken, and handlers have {} ms; press Ctrl-C again to end them now",
        grace.as_millis()
    ));
    drop(stop);
    tokio::select! {
        ended = &mut working => return Ok(ended),
        () = signals.next() => {}
        () = tokio::time::sleep(grace) => {}
    }
    grace_is_over.send_replace(true);
    tokio::select! {
        ended = working => Ok(ended),
        () = signals.next() => Err(Failure::failed(
            "stopped at once by a signal; tasks that were not returned are delivered again when their leases end",
        )),
    }
}

/// Name of the host and number of the process.
fn name_of_process() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "worker" } else { host };
    format!("{host}-{}", std::process::id())
}

fn print(report: &WorkerReport, json: bool) -> Result<(), Failure> {
    let WorkerReport {
        done,
        failed,
        released,
        lost,
    } = report;
    if json {
        let line = json!({"event": "stopped", "done": done, "failed": failed, "released": released, "lost": lost});
        return write_json(std::io::stdout().lock(), &line);
    }
    let line = format!("{done} done, {failed} failed, {released} given back, {lost} lost\n");
    write_out(std::io::stdout().lock(), line.as_bytes())
}
