//! Works on the tasks of a queue, four at once, until Ctrl-C: `queue_worker 127.0.0.1:8101,127.0.0.1:8102 email`.

use oarlock_client::queue::Queue;
use oarlock_client::worker::{TaskFailure, TaskOutput, Worker};
use oarlock_client::{Client, Endpoint};
use serde::Deserialize;

#[derive(Deserialize)]
struct Mail {
    to: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoints, name] = &arguments[..] else {
        return Err("usage: queue_worker ENDPOINTS QUEUE".into());
    };
    let client = Client::new(Endpoint::parse_list(endpoints)?)?;
    let worker = Worker::new(Queue::new(client, name)).concurrency(4);
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    let handler = |task: oarlock_client::queue::ReservedTask| async move {
        // A task that can't be read fails on each attempt.
        let mail: Mail = task
            .payload
            .parse()
            .map_err(|error| TaskFailure::from(error).dead())?;
        println!(
            "task {}, attempt {}: mail to {}",
            task.id, task.attempt, mail.to
        );
        Ok::<_, TaskFailure>(TaskOutput::json(&mail.to)?)
    };
    let report = worker.run_until(stop, handler).await?;
    println!("{} done, {} failed", report.done, report.failed);
    Ok(())
}
