//! Clients of the queue. Commands have keys, so a change of the leader does not disturb a test.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use oarlock_tests::process::{Cluster, Http, HttpResponse, Node, eventually};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// A cluster, and the addresses of its nodes. Each request goes to the next node.
pub(crate) struct QueueClient {
    targets: Vec<Http>,
    next: AtomicUsize,
    /// Keeps the nodes running.
    _cluster: Option<Arc<Mutex<Cluster>>>,
}

static SHARED: Mutex<Weak<Mutex<Cluster>>> = Mutex::const_new(Weak::new());
static KEYS: AtomicUsize = AtomicUsize::new(0);

/// A client of the cluster that the tests share. The last test stops it.
pub(crate) async fn shared() -> QueueClient {
    let mut shared = SHARED.lock().await;
    let cluster = if let Some(cluster) = shared.upgrade() {
        cluster
    } else {
        let mut cluster = Cluster::start(3, "queue", &[]);
        cluster.leader().await;
        let cluster = Arc::new(Mutex::new(cluster));
        *shared = Arc::downgrade(&cluster);
        cluster
    };
    let mut client = QueueClient::of(&*cluster.lock().await);
    client._cluster = Some(cluster);
    client
}

impl QueueClient {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        Self::to(cluster.nodes.iter().map(Node::http).collect())
    }

    pub(crate) fn to(targets: Vec<Http>) -> Self {
        Self {
            targets,
            next: AtomicUsize::new(0),
            _cluster: None,
        }
    }

    /// The address of a node.
    pub(crate) fn address(&self, node: usize) -> String {
        self.targets[node].0.clone()
    }

    /// The response to a command: a reply or a refusal.
    async fn exchange(&self, key: &str, command: &Value) -> HttpResponse {
        let body = command.to_string();
        let headers = [("idempotency-key", key), ("oarlock-timeout-ms", "50000")];
        eventually("a node executes the command", async || {
            let at = self.next.fetch_add(1, Ordering::Relaxed) % self.targets.len();
            let sent = self.targets[at].send("POST", "/v1/apply", &headers, body.clone());
            let response = sent.await.ok()?;
            (![429, 503, 504].contains(&response.status)).then_some(response)
        })
        .await
    }

    /// The response to a command, with a key of its own.
    pub(crate) async fn exchange_once(&self, command: &Value) -> HttpResponse {
        self.exchange(&new_key(), command).await
    }

    /// The reply to a command that is accepted.
    pub(crate) async fn send(&self, command: Value) -> Value {
        self.send_with_key(&new_key(), command).await
    }

    /// The same, with a key.
    pub(crate) async fn send_with_key(&self, key: &str, command: Value) -> Value {
        let response = self.exchange(key, &command).await;
        assert_eq!(response.status, 200, "{command}: {response:?}");
        response.json()
    }

    /// Whether a command is accepted. Otherwise there is no room for it, or the guest was out of memory before that was known.
    pub(crate) async fn accepts(&self, command: Value) -> bool {
        let response = self.exchange_once(&command).await;
        let code = response.json()["error"]["code"].clone();
        match response.status {
            200 => true,
            _ if [json!("full"), json!("out_of_memory")].contains(&code) => false,
            _ => panic!("{response:?}"),
        }
    }

    /// Code and field of a refusal.
    pub(crate) async fn refused(&self, command: Value) -> (String, String) {
        let response = self.exchange_once(&command).await;
        assert_eq!(response.status, 422, "{command}: {response:?}");
        let body = response.json();
        let text = |key: &str| body["error"][key].as_str().unwrap_or_default().to_owned();
        (text("code"), text("field"))
    }

    /// Adds a task with this number as its payload, and more fields. Returns its id.
    pub(crate) async fn enqueue(&self, queue: &str, payload: u64, more: Value) -> u64 {
        let mut task = json!({"queue": queue, "payload": payload});
        if let (Some(task), Value::Object(more)) = (task.as_object_mut(), more) {
            task.extend(more);
        }
        let reply = self.send(json!({ "enqueue": task })).await;
        reply["id"].as_u64().expect("an id")
    }

    /// The tasks that a reserve delivers. It waits for the first one.
    pub(crate) async fn reserve(&self, queue: &str, max: u32, lease_ms: u64) -> Vec<Value> {
        self.reserve_within(queue, max, lease_ms, 40_000).await
    }

    /// The tasks that a reserve delivers now.
    pub(crate) async fn reserve_now(&self, queue: &str, max: u32) -> Vec<Value> {
        self.reserve_within(queue, max, 600_000, 0).await
    }

    async fn reserve_within(
        &self,
        queue: &str,
        max: u32,
        lease_ms: u64,
        wait_ms: u64,
    ) -> Vec<Value> {
        let reply = self.send(reserve(queue, "w", max, lease_ms, wait_ms)).await;
        reply["tasks"].as_array().expect("tasks").clone()
    }

    /// The task that a reserve delivers. It waits for it.
    pub(crate) async fn reserve_one(&self, queue: &str) -> Value {
        let mut tasks = self.reserve(queue, 1, 600_000).await;
        tasks.pop().expect("a task")
    }

    pub(crate) async fn ack(&self, task: &Value) {
        let ack = json!({"ack": {"id": task["id"], "token": task["token"]}});
        assert_eq!(self.send(ack).await, json!({}));
    }

    /// Returns a task, and its new state.
    pub(crate) async fn nack(&self, task: &Value, error: &str) -> Value {
        let fields = json!({"id": task["id"], "token": task["token"], "error": error});
        self.send(json!({ "nack": fields })).await["state"].clone()
    }

    /// The response to a linearizable query.
    pub(crate) async fn query(&self, query: Value) -> Value {
        eventually("a node responds", async || {
            let at = self.next.fetch_add(1, Ordering::Relaxed) % self.targets.len();
            let response = self.targets[at].query(query.to_string()).await.ok()?;
            (response.status == 200).then(|| response.json())
        })
        .await
    }

    /// The numbers of a queue, with details.
    pub(crate) async fn stats(&self, queue: &str) -> Value {
        let stats = self.query(json!({"stats": {"detail": true}})).await;
        stats["queues"][queue].clone()
    }

    pub(crate) async fn task(&self, id: u64) -> Value {
        self.query(json!({"task": {"id": id}})).await["task"].clone()
    }

    /// Waits until so many reserves wait for a task of this queue, which exists.
    pub(crate) async fn until_waiting(&self, queue: &str, count: u64) {
        eventually("the workers wait", async || {
            (self.stats(queue).await["waiters"] == count).then_some(())
        })
        .await;
    }
}

/// A command that reserves tasks.
pub(crate) fn reserve(queue: &str, worker: &str, max: u32, lease_ms: u64, wait_ms: u64) -> Value {
    json!({"reserve": {"queues": [queue], "worker": worker, "max": max, "lease_ms": lease_ms, "wait_ms": wait_ms}})
}

/// A worker that waits at one node. It sends its reserve once.
pub(crate) struct WaitingWorker(JoinHandle<Option<HttpResponse>>);

impl WaitingWorker {
    pub(crate) fn start(http: &Http, key: &str, queue: &str) -> Self {
        let (http, key) = (http.clone(), key.to_owned());
        let command = reserve(queue, &key, 1, 600_000, 45_000).to_string();
        Self(tokio::spawn(async move {
            let headers = [("idempotency-key", &*key), ("oarlock-timeout-ms", "50000")];
            let response = http.send("POST", "/v1/apply", &headers, command).await;
            response.ok().filter(|response| response.status == 200)
        }))
    }

    /// Payload of its task; nothing if its node did not respond with one.
    pub(crate) async fn payload(self) -> Option<u64> {
        let response = self.0.await.expect("sending does not panic")?;
        response.json()["tasks"][0]["payload"].as_u64()
    }
}

fn new_key() -> String {
    format!("key-{}", KEYS.fetch_add(1, Ordering::Relaxed))
}

/// The payloads of delivered tasks.
pub(crate) fn payloads(tasks: &[Value]) -> Vec<u64> {
    tasks
        .iter()
        .map(|task| task["payload"].as_u64().expect("a number"))
        .collect()
}
