//! The steps for the task queue.

use std::io::Write;

use bytes::Bytes;
use oarlock_client::{ApplyError, ApplyOptions, Client, Endpoint, QueryError, QueryOptions};
use serde_json::{Value, json};

use super::wait::STEP_TIMEOUT;
use crate::demo::cluster::DemoCluster;
use crate::demo::screen::Screen;
use crate::demo::stop::Stop;
use crate::exit::Failure;

/// Name of the tour's queue.
const QUEUE: &str = "demo";

/// Number of tasks that the tour enqueues first.
const TASKS: u64 = 5;

/// Duration of a lease, in milliseconds: longer than the tour.
const LEASE_MS: u64 = 600_000;

/// Tasks that the tour has enqueued and acknowledged, and must find again.
#[derive(Debug)]
pub(super) struct TourWork {
    /// Number of tasks before the tour, in any state.
    before: u64,
    /// Number of tasks that the tour enqueued.
    added: u64,
    /// Ids of the tour's tasks that must still be in the queue.
    kept: Vec<u64>,
    /// Number of completed tasks, including those before the tour.
    completed: u64,
}

impl TourWork {
    /// Enqueues tasks through different nodes, and completes one.
    pub(super) async fn begin(
        cluster: &DemoCluster,
        screen: &mut Screen<impl Write>,
    ) -> Result<Self, Stop> {
        let all = cluster.endpoints();
        let counts = stats(&cluster.client()?).await?;
        let mut work = Self {
            before: counts.total(),
            added: 0,
            kept: Vec::new(),
            completed: counts.completed,
        };
        screen.step(format_args!(
            "{TASKS} tasks are enqueued through different nodes"
        ))?;
        for (number, endpoint) in (1..=TASKS).zip(all.iter().cycle()) {
            work.enqueue(number, std::slice::from_ref(endpoint), screen)
                .await?;
        }
        screen.step("One task is reserved through one node and acknowledged through another")?;
        let (first, last) = (&all[..1], &all[all.len() - 1..]);
        let reserve = format!(
            r#"{{"reserve":{{"queues":["{QUEUE}"],"worker":"tour","lease_ms":{LEASE_MS}}}}}"#
        );
        let reply = apply(first, &reserve, screen).await?;
        let task = &reply["tasks"][0];
        let (Some(id), Some(token)) = (task["id"].as_u64(), task["token"].as_str()) else {
            return Err(Failure::failed(format!("no task was reserved: {reply}")).into());
        };
        apply(
            last,
            &json!({"ack": {"id": id, "token": token}}).to_string(),
            screen,
        )
        .await?;
        work.completed += 1;
        // With data of an earlier run, this may be an older task.
        work.kept.retain(|kept| *kept != id);
        Ok(work)
    }

    async fn enqueue(
        &mut self,
        number: u64,
        at: &[Endpoint],
        screen: &mut Screen<impl Write>,
    ) -> Result<(), Stop> {
        let command =
            format!(r#"{{"enqueue":{{"queue":"{QUEUE}","payload":{{"task":{number}}}}}}}"#);
        let reply = apply(at, &command, screen).await?;
        match reply["id"].as_u64() {
            Some(id) => {
                self.added += 1;
                self.kept.push(id);
                Ok(())
            }
            None => Err(Failure::failed(format!("the reply to enqueue has no id: {reply}")).into()),
        }
    }

    /// Enqueues one more task through the running nodes.
    pub(super) async fn enqueue_another(
        &mut self,
        cluster: &DemoCluster,
        screen: &mut Screen<impl Write>,
    ) -> Result<(), Stop> {
        self.enqueue(TASKS + 1, &cluster.endpoints(), screen).await
    }

    /// Checks that every acknowledged task exists.
    pub(super) async fn check_nothing_is_lost(
        &self,
        cluster: &DemoCluster,
        screen: &mut Screen<impl Write>,
    ) -> Result<(), Stop> {
        screen.step("No acknowledged task is lost")?;
        let client = cluster.client()?;
        let (endpoints, query) = (cluster.endpoints(), r#"{"stats":{}}"#);
        let response = send_query(&client, query).await?;
        screen.exchange("query", query, &endpoints, &response)?;
        let counts = QueueCounts::of(&parse(query, &response)?);
        let expected = self.before + self.added;
        if counts.total() != expected || counts.completed != self.completed {
            return Err(Failure::failed(format!(
                "the queue has {} tasks, {} of them completed; expected {expected} tasks, {} of them completed",
                counts.total(),
                counts.completed,
                self.completed
            ))
            .into());
        }
        for id in &self.kept {
            let query = format!(r#"{{"task":{{"id":{id}}}}}"#);
            let response = parse(&query, &send_query(&client, &query).await?)?;
            if response["task"]["id"].as_u64() != Some(*id) {
                return Err(Failure::failed(format!(
                    "the acknowledged task {id} is missing: {response}"
                ))
                .into());
            }
        }
        screen.good("every acknowledged task is there")?;
        Ok(())
    }
}

/// Task counts of the tour's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct QueueCounts {
    waiting: u64,
    completed: u64,
}

impl QueueCounts {
    fn of(stats: &Value) -> Self {
        let queue = &stats["queues"][QUEUE];
        let count = |name: &str| queue[name].as_u64().unwrap_or(0);
        Self {
            waiting: ["ready", "delayed", "leased", "dead"]
                .map(count)
                .iter()
                .sum(),
            completed: count("completed"),
        }
    }

    fn total(self) -> u64 {
        self.waiting + self.completed
    }
}

async fn stats(client: &Client) -> Result<QueueCounts, Failure> {
    let query = r#"{"stats":{}}"#;
    Ok(QueueCounts::of(&parse(
        query,
        &send_query(client, query).await?,
    )?))
}

async fn send_query(client: &Client, query: &str) -> Result<Bytes, Failure> {
    let options = QueryOptions {
        timeout: STEP_TIMEOUT,
        ..QueryOptions::default()
    };
    let result = client.query(query.to_owned(), &options).await;
    let result =
        result.map_err(|error: QueryError| Failure::failed(format!("{query}: {error}")))?;
    Ok(result.response)
}

/// Applies a command through these nodes, and prints command and reply.
async fn apply(
    at: &[Endpoint],
    command: &str,
    screen: &mut Screen<impl Write>,
) -> Result<Value, Stop> {
    let client = Client::new(at.to_vec()).map_err(Failure::failed)?;
    let options = ApplyOptions {
        timeout: STEP_TIMEOUT,
        ..ApplyOptions::default()
    };
    let applied = client.apply(command.to_owned(), &options).await;
    let applied =
        applied.map_err(|error: ApplyError| Failure::failed(format!("{command}: {error}")))?;
    screen.exchange("apply", command, at, &applied.reply)?;
    Ok(parse(command, &applied.reply)?)
}

fn parse(request: &str, reply: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(reply).map_err(|error| {
        Failure::failed(format!(
            "the response to {request} is not JSON ({error}): {}",
            String::from_utf8_lossy(reply)
        ))
    })
}

#[cfg(test)]
mod tests;
