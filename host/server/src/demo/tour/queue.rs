//! The steps for the task queue.

use std::io::Write;

use bytes::Bytes;
use oarlock_client::{ApplyError, ApplyOptions, Client, Endpoint, QueryError, QueryOptions};
use serde_json::{Value, json};

use super::wait::PATIENCE;
use crate::demo::Stop;
use crate::demo::cluster::DemoCluster;
use crate::demo::screen::Screen;
use crate::exit::Failure;

/// The queue that the tour works with.
const QUEUE: &str = "demo";

/// How many tasks it enqueues at first.
const TASKS: u64 = 5;

/// How long a lease is, in milliseconds: longer than the tour.
const LEASE_MS: u64 = 600_000;

/// What the tour has done so far, and so must find again.
#[derive(Debug)]
pub(super) struct TourWork {
    /// Tasks that were in the queue, in whatever state, before the tour.
    before: u64,
    /// How many the tour enqueued.
    added: u64,
    /// Those of them that must still be in the queue.
    kept: Vec<u64>,
    /// Those of any time that were completed.
    completed: u64,
}

impl TourWork {
    /// Enqueues tasks over different nodes, and works one off.
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
            "{TASKS} tasks are enqueued, over one node after the other"
        ))?;
        for (number, endpoint) in (1..=TASKS).zip(all.iter().cycle()) {
            work.enqueue(number, std::slice::from_ref(endpoint), screen)
                .await?;
        }
        screen.step("One task is reserved over one node and acknowledged over another")?;
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
        // Where the data are those of an earlier run, it may be one of its tasks.
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

    /// Enqueues one more, over whoever is there.
    pub(super) async fn go_on(
        &mut self,
        cluster: &DemoCluster,
        screen: &mut Screen<impl Write>,
    ) -> Result<(), Stop> {
        self.enqueue(TASKS + 1, &cluster.endpoints(), screen).await
    }

    /// Looks for every task that was acknowledged.
    pub(super) async fn check_nothing_is_lost(
        &self,
        cluster: &DemoCluster,
        screen: &mut Screen<impl Write>,
    ) -> Result<(), Stop> {
        screen.step("Nothing is lost")?;
        let client = cluster.client()?;
        let (endpoints, query) = (cluster.endpoints(), r#"{"stats":{}}"#);
        let answer = ask(&client, query).await?;
        screen.exchange("query", query, &endpoints, &answer)?;
        let answer = parse(query, &answer)?;
        let counts = QueueCounts::of(&answer);
        let expected = self.before + self.added;
        if counts.total() != expected || counts.completed != self.completed {
            return Err(Failure::failed(format!(
                "the queue holds {} tasks, {} of them completed, where {expected} and {} were acknowledged",
                counts.total(),
                counts.completed,
                self.completed
            ))
            .into());
        }
        for id in &self.kept {
            let query = format!(r#"{{"task":{{"id":{id}}}}}"#);
            let answer = parse(&query, &ask(&client, &query).await?)?;
            if answer["task"]["id"].as_u64() != Some(*id) {
                return Err(Failure::failed(format!(
                    "task {id} was acknowledged and is gone: {answer}"
                ))
                .into());
            }
        }
        screen.good("every task that was acknowledged is there")?;
        Ok(())
    }
}

/// The tour's queue in numbers.
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
    Ok(QueueCounts::of(&parse(query, &ask(client, query).await?)?))
}

async fn ask(client: &Client, query: &str) -> Result<Bytes, Failure> {
    let options = QueryOptions {
        timeout: PATIENCE,
        ..QueryOptions::default()
    };
    let answered = client.query(query.to_owned(), &options).await;
    let answered =
        answered.map_err(|error: QueryError| Failure::failed(format!("{query}: {error}")))?;
    Ok(answered.response)
}

/// Has a command applied over these nodes and shows both.
async fn apply(
    at: &[Endpoint],
    command: &str,
    screen: &mut Screen<impl Write>,
) -> Result<Value, Stop> {
    let client = Client::new(at.to_vec()).map_err(Failure::failed)?;
    let options = ApplyOptions {
        timeout: PATIENCE,
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
            "the answer to {request} is no JSON ({error}): {}",
            String::from_utf8_lossy(reply)
        ))
    })
}

#[cfg(test)]
mod tests;
