//! Three nodes of Oarlock with the task queue.

use std::path::Path;

use oarlock_tests::http::connection::Connection;
use oarlock_tests::process::{Cluster, Node};
use serde_json::{Value, json};

use super::broker::{Broker, LEASE_MS, QueueServer, WAIT_MS};

/// The nodes, and who leads them.
pub(super) struct TaskQueue {
    /// The nodes.
    pub(super) cluster: Cluster,
    leader: usize,
}

impl TaskQueue {
    /// Starts three nodes, of another binary if one is named, and waits for their leader.
    pub(super) async fn start(binary: Option<&Path>) -> Self {
        let cluster = Cluster::prepare(3, "queue", &["--log", "warn"]);
        Self::start_prepared(cluster, binary).await
    }

    /// The same with nodes that are prepared.
    pub(super) async fn start_prepared(mut cluster: Cluster, binary: Option<&Path>) -> Self {
        for node in &mut cluster.nodes {
            if let Some(binary) = binary {
                node.use_binary(binary);
            }
            node.start();
        }
        let leader = cluster.leader().await;
        Self { cluster, leader }
    }

    /// Addresses of all nodes, the leader's first.
    pub(super) fn addresses(&self) -> Vec<String> {
        let count = self.cluster.nodes.len();
        let at = |step| (self.leader + step) % count;
        (0..count)
            .map(|step| self.cluster.nodes[at(step)].http().0)
            .collect()
    }

    /// Kills the leader, waits for the next one, and starts it again.
    pub(super) async fn restart_leader(&mut self) {
        let killed = self.cluster.leader().await;
        self.cluster.nodes[killed].kill();
        self.leader = self.cluster.leader().await;
        self.cluster.nodes[killed].start();
    }

    /// Address of the leader.
    pub(super) fn address(&self) -> String {
        self.cluster.nodes[self.leader].http().0
    }
}

impl QueueServer for TaskQueue {
    type Client = TaskQueueClient;

    fn pids(&self) -> Vec<u32> {
        self.cluster.nodes.iter().filter_map(Node::pid).collect()
    }

    async fn client(&self, queue: &str, payload: usize) -> Result<Self::Client, String> {
        TaskQueueClient::open(&self.address(), queue, payload).await
    }
}

/// A connection, and its requests.
pub(super) struct TaskQueueClient {
    connection: Connection,
    head: Vec<u8>,
    query_head: Vec<u8>,
    enqueue: Vec<u8>,
    reserve: Vec<u8>,
}

impl TaskQueueClient {
    /// A connection to that address, for one queue.
    ///
    /// # Errors
    /// There is no connection.
    pub(super) async fn open(address: &str, queue: &str, payload: usize) -> Result<Self, String> {
        let connection = Connection::open(address).await;
        let connection = connection.map_err(|error| format!("{address}: {error}"))?;
        let payload = crate::oarlock::payload(payload);
        let enqueue = json!({"enqueue": {"queue": queue, "payload": payload}});
        let reserve = json!({"reserve": {
            "queues": [queue], "worker": "bench", "lease_ms": LEASE_MS, "wait_ms": WAIT_MS,
        }});
        Ok(Self {
            connection,
            head: format!("POST /v1/apply HTTP/1.1\r\nhost: {address}\r\n").into_bytes(),
            query_head: format!("POST /v1/query HTTP/1.1\r\nhost: {address}\r\n").into_bytes(),
            enqueue: enqueue.to_string().into_bytes(),
            reserve: reserve.to_string().into_bytes(),
        })
    }

    /// The reply to one command.
    ///
    /// # Errors
    /// It was not carried out, or may not have been.
    pub(super) async fn apply(&mut self, command: &[u8]) -> Result<Value, String> {
        self.connection.push(&self.head, command);
        self.response().await
    }

    /// The response to one query.
    ///
    /// # Errors
    /// There is none.
    pub(super) async fn query(&mut self, query: &[u8]) -> Result<Value, String> {
        self.connection.push(&self.query_head, query);
        self.response().await
    }

    async fn response(&mut self) -> Result<Value, String> {
        let sent = self.connection.send().await;
        sent.map_err(|error| error.to_string())?;
        let response = self.connection.receive(false).await?;
        if response.status != 200 {
            let body = String::from_utf8_lossy(&response.body);
            return Err(format!("HTTP {} {body}", response.status));
        }
        serde_json::from_slice(&response.body).map_err(|error| error.to_string())
    }
}

/// A task that was delivered.
pub(super) struct Taken {
    id: u64,
    token: String,
}

impl TaskQueueClient {
    /// Waits for a task.
    ///
    /// # Errors
    /// There was none.
    pub(super) async fn take(&mut self) -> Result<Taken, String> {
        let reserve = std::mem::take(&mut self.reserve);
        let reply = self.apply(&reserve).await;
        self.reserve = reserve;
        let reply = reply?;
        let task = &reply["tasks"][0];
        let (Some(id), Some(token)) = (task["id"].as_u64(), task["token"].as_str()) else {
            return Err(format!("no task: {reply}"));
        };
        Ok(Taken {
            id,
            token: token.to_owned(),
        })
    }

    /// Acknowledges a task.
    ///
    /// # Errors
    /// It is not known to be done.
    pub(super) async fn end(&mut self, task: &Taken) -> Result<(), String> {
        let ack = json!({"ack": {"id": task.id, "token": task.token}}).to_string();
        self.apply(ack.as_bytes()).await.map(drop)
    }
}

impl Broker for TaskQueueClient {
    async fn put(&mut self) -> Result<(), String> {
        let enqueue = std::mem::take(&mut self.enqueue);
        let reply = self.apply(&enqueue).await;
        self.enqueue = enqueue;
        reply.map(drop)
    }

    async fn take_and_end(&mut self) -> Result<(), String> {
        let task = self.take().await?;
        self.end(&task).await
    }
}
