//! Clients of real processes. They record their history for the simulation's check of linearizability.
//!
//! The object is one queue of the task queue, from which no task is reserved: enqueueing appends and returns the place, and
//! the number of tasks is the length.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::cluster::{eventually, pause};
use crate::http::Http;
use crate::http::connection::HttpResponse;
use crate::sim::history::{History, Kind, OpId, Outcome};
use crate::sim::machine::View;

const QUEUE: &str = "list";
/// How long a client waits for an outcome.
const PATIENCE_MS: &str = "2000";
/// After this time without a response it continues with the next node.
const GIVES_UP: Duration = Duration::from_secs(4);

/// What the clients share.
struct Shared {
    tasks_before: u64,
    started: Instant,
    history: Mutex<History>,
    acknowledged: AtomicU64,
    stop: AtomicBool,
    padding: String,
}

/// Clients at work.
pub struct Recorder {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

impl Recorder {
    /// Starts clients, each of which sends to one node after the other. A command is longer by `padding` bytes.
    pub fn start(clients: usize, targets: &[Http], padding: usize) -> Self {
        Self::start_after(0, clients, targets, padding)
    }

    /// The same on a machine that has so many tasks in other queues already.
    pub fn start_after(tasks: u64, clients: usize, targets: &[Http], padding: usize) -> Self {
        let shared = Arc::new(Shared {
            tasks_before: tasks,
            started: Instant::now(),
            history: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            padding: "x".repeat(padding),
        });
        let mut running = JoinSet::new();
        for client in 0..clients {
            running.spawn(Arc::clone(&shared).work(client, targets.to_vec()));
        }
        Self {
            shared,
            clients: running,
        }
    }

    /// Waits until the cluster has acknowledged so many commands more.
    pub async fn progress(&self, more: u64) {
        let wanted = self.shared.acknowledged.load(Ordering::Acquire) + more;
        eventually("the cluster serves its clients", async || {
            let now = self.shared.acknowledged.load(Ordering::Acquire);
            (now >= wanted).then_some(())
        })
        .await;
    }

    /// Ends the clients and checks what they did and saw: nothing that was acknowledged is lost, nothing that was
    /// refused was done, and the whole is linearizable.
    ///
    /// # Panics
    /// If it is not.
    pub async fn check(mut self, http: &Http) {
        self.shared.stop.store(true, Ordering::Release);
        while let Some(client) = self.clients.join_next().await {
            client.expect("a client ends well");
        }
        let list = list(http, self.shared.tasks_before).await;
        let history = self.shared.history();
        assert!(history.len() > 0, "nothing was asked");
        if let Err(violation) = history.check(&list) {
            panic!("{violation}");
        }
        println!(
            "{} operations, {} commands carried out: linearizable",
            history.len(),
            list.len()
        );
    }
}

impl Shared {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    async fn work(self: Arc<Self>, client: usize, targets: Vec<Http>) {
        for round in 0.. {
            if self.stop.load(Ordering::Acquire) {
                break;
            }
            let node = (client + round) % targets.len();
            let kind = if round % 3 == 2 {
                Kind::Read
            } else {
                Kind::Append
            };
            let id = self.history().begin(self.now(), kind, client, node);
            let outcome = self.ask(&targets[node], kind, id).await;
            self.history().end(self.now(), id, outcome);
            match outcome {
                Outcome::Appended(_) => {
                    self.acknowledged.fetch_add(1, Ordering::Release);
                }
                Outcome::Refused | Outcome::Unknown => pause().await,
                _ => {}
            }
        }
    }

    async fn ask(&self, target: &Http, kind: Kind, id: OpId) -> Outcome {
        let (path, body) = match kind {
            Kind::Append => {
                let payload = json!({"number": id, "padding": self.padding});
                let command = json!({"enqueue": {"queue": QUEUE, "payload": payload}});
                ("/v1/apply", command)
            }
            Kind::Read | Kind::StaleRead => ("/v1/query", json!({"stats": {}})),
        };
        let headers = [("oarlock-timeout-ms", PATIENCE_MS)];
        let asking = target.send("POST", path, &headers, body.to_string());
        // A paused process sends nothing.
        let Ok(Ok(response)) = tokio::time::timeout(GIVES_UP, asking).await else {
            return Outcome::Unknown;
        };
        match (kind, response.status) {
            (Kind::Append, 200) => Outcome::Appended(place(&response.json(), self.tasks_before)),
            (_, 200) => Outcome::Seen(View {
                length: length(&response.json()),
                ..View::default()
            }),
            _ if is_refused(&response) => Outcome::Refused,
            (_, 500..=599) => Outcome::Unknown,
            _ => panic!("{kind:?} was answered with {response:?}"),
        }
    }
}

/// Whether the response proves that the command was not and will not be applied.
fn is_refused(response: &HttpResponse) -> bool {
    [429, 503].contains(&response.status)
        && ["no_leader", "overloaded"].contains(&response.error_code().as_str())
}

fn place(reply: &Value, tasks_before: u64) -> u64 {
    reply["id"].as_u64().expect("an id, counted from 1") - 1 - tasks_before
}

/// A queue does not exist before its first task.
fn length(stats: &Value) -> u64 {
    stats["queues"][QUEUE]["ready"].as_u64().unwrap_or(0)
}

/// The list as it is in the end: the number of the command at each place.
async fn list(http: &Http, tasks_before: u64) -> Vec<u64> {
    let stats = query(http, json!({"stats": {}})).await;
    let mut list = Vec::new();
    for id in tasks_before + 1..=tasks_before + length(&stats) {
        let task = query(http, json!({"task": {"id": id}})).await;
        let number = task["task"]["payload"]["number"].as_u64();
        list.push(number.unwrap_or_else(|| panic!("task {id} is not there: {task}")));
    }
    list
}

async fn query(http: &Http, question: Value) -> Value {
    eventually("the node responds to a query", async || {
        let response = http.query(question.to_string()).await.ok()?;
        (response.status == 200).then(|| response.json())
    })
    .await
}
