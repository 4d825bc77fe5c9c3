//! Clients of the task queue that send each request once, without a key, to one node: nothing hides a failure.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use oarlock_tests::process::{Cluster, Http, HttpResponse, Node, eventually};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Clients of each node.
const CLIENTS: usize = 2;
/// Longer than the test, in milliseconds.
const LEASE_MS: u64 = 3_600_000;

/// What clients know of a node.
struct NodeState {
    /// Whether it serves. While it does not, clients send no requests, and those in flight may be cut.
    serves: watch::Sender<bool>,
    /// Requests that were cut while the node was stopped.
    cut: AtomicU64,
}

/// Clients at every node, until they are stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    nodes: Vec<Arc<NodeState>>,
    done: Vec<Arc<AtomicU64>>,
    clients: JoinSet<Client>,
}

impl Load {
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            nodes: Vec::new(),
            done: Vec::new(),
            clients: JoinSet::new(),
        };
        for node in &cluster.nodes {
            let (serves, cut) = (watch::Sender::new(true), AtomicU64::new(0));
            let state = Arc::new(NodeState { serves, cut });
            for number in 0..CLIENTS {
                let client = Client::new(node, number, state.clone());
                let (stop, done) = (load.stop.clone(), client.done.clone());
                load.done.push(done);
                load.clients.spawn(client.run(stop));
            }
            load.nodes.push(state);
        }
        load
    }

    /// Clients send no further requests to this node, and what is in flight may be cut.
    pub(crate) fn pause(&self, node: usize) {
        self.nodes[node].serves.send_replace(false);
    }

    /// The node serves again.
    pub(crate) fn resume(&self, node: usize) {
        self.nodes[node].serves.send_replace(true);
    }

    /// Waits until each client of the nodes that serve has done more.
    ///
    /// # Panics
    /// If a request has failed.
    pub(crate) async fn goes_on(&mut self) {
        let before: Vec<u64> = self
            .done
            .iter()
            .map(|done| done.load(Ordering::SeqCst))
            .collect();
        eventually("each client has done more", async || {
            if let Some(ended) = self.clients.try_join_next() {
                panic!("a request has failed: {:?}", ended.err());
            }
            let goes_on = |(at, before): (usize, &u64)| {
                let serves = *self.nodes[at / CLIENTS].serves.borrow();
                !serves || self.done[at].load(Ordering::SeqCst) >= before + 3
            };
            before.iter().enumerate().all(goes_on).then_some(())
        })
        .await;
    }

    /// Stops the clients and returns them. Prints how much they have done, and how many requests were cut.
    ///
    /// # Panics
    /// If a request has failed.
    pub(crate) async fn end(self) -> Vec<Client> {
        self.stop.store(true, Ordering::SeqCst);
        let cut: u64 = self
            .nodes
            .iter()
            .map(|node| node.cut.load(Ordering::SeqCst))
            .sum();
        let done: u64 = self
            .done
            .iter()
            .map(|done| done.load(Ordering::SeqCst))
            .sum();
        println!(
            "{done} tasks were added, delivered, acknowledged and queried; {cut} requests were cut"
        );
        self.clients.join_all().await
    }
}

/// A client with a queue of its own, and what it knows of its tasks.
pub(crate) struct Client {
    http: Http,
    queue: String,
    node: Arc<NodeState>,
    done: Arc<AtomicU64>,
    /// Ids of tasks whose enqueue was acknowledged.
    added: BTreeSet<u64>,
    /// Ids of tasks that were delivered.
    delivered: BTreeSet<u64>,
    /// Ids of tasks whose ack was acknowledged.
    acknowledged: BTreeSet<u64>,
    /// Requests of each kind that were cut: it is not known whether they were executed.
    cut_enqueues: usize,
    cut_reserves: usize,
    cut_acks: usize,
}

impl Client {
    fn new(node: &Node, number: usize, state: Arc<NodeState>) -> Self {
        Self {
            http: node.http(),
            queue: format!("{}-{number}", node.id()),
            node: state,
            done: Arc::default(),
            added: BTreeSet::new(),
            delivered: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            cut_enqueues: 0,
            cut_reserves: 0,
            cut_acks: 0,
        }
    }

    async fn run(mut self, stop: Arc<AtomicBool>) -> Self {
        let mut serves = self.node.serves.subscribe();
        while !stop.load(Ordering::SeqCst) {
            let served = serves.wait_for(|serves| *serves).await;
            drop(served.expect("the load has it"));
            self.add_and_work().await;
        }
        self
    }

    /// Adds a task, takes one, acknowledges it, and queries.
    async fn add_and_work(&mut self) {
        let enqueue = json!({"enqueue": {"queue": self.queue, "payload": self.added.len()}});
        match self.send("/v1/apply", &enqueue).await {
            Some(reply) => {
                let id = reply["id"].as_u64().expect("an id");
                assert!(self.added.insert(id), "the id {id} was used twice");
            }
            None => return self.cut_enqueues += 1,
        }
        let reserve =
            json!({"reserve": {"queues": [self.queue], "worker": "w", "lease_ms": LEASE_MS}});
        let Some(reply) = self.send("/v1/apply", &reserve).await else {
            return self.cut_reserves += 1;
        };
        let task = reply["tasks"][0].clone();
        let id = task["id"]
            .as_u64()
            .unwrap_or_else(|| panic!("no task: {reply}"));
        assert!(self.delivered.insert(id), "task {id} was delivered twice");
        let ack = json!({"ack": {"id": id, "token": task["token"]}});
        match self.send("/v1/apply", &ack).await {
            Some(_) => assert!(self.acknowledged.insert(id)),
            None => return self.cut_acks += 1,
        }
        let stats = self.send("/v1/query", &json!({"stats": {}})).await;
        if let Some(stats) = stats {
            // A linearizable query: the acknowledged task is no longer there.
            let queue = &stats["queues"][&self.queue];
            assert!(
                queue["leased"].as_u64() <= Some(self.not_acknowledged()),
                "{queue}"
            );
            self.done.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The most tasks that can be leased.
    fn not_acknowledged(&self) -> u64 {
        let known = self.delivered.len() - self.acknowledged.len();
        (known + self.cut_reserves) as u64
    }

    /// The reply. `None` if the request was cut, or refused at connect, because its node is being restarted.
    async fn send(&self, path: &str, body: &Value) -> Option<Value> {
        let headers = [("oarlock-timeout-ms", "50000")];
        let sent = self
            .http
            .send("POST", path, &headers, body.to_string())
            .await;
        match sent {
            Ok(HttpResponse {
                status: 200, body, ..
            }) => Some(serde_json::from_slice(&body).expect("JSON")),
            Err(error) => {
                let is_stopped = !*self.node.serves.borrow();
                assert!(is_stopped, "{body}: {error}, and the node runs");
                self.node.cut.fetch_add(1, Ordering::SeqCst);
                None
            }
            Ok(response) => panic!("{body}: {response:?}"),
        }
    }

    /// Checks that each acknowledged request has its effect, once.
    ///
    /// # Panics
    /// If not.
    pub(crate) async fn check(&self, node: &Node) {
        let stats = node
            .http()
            .query(r#"{"stats":{}}"#)
            .await
            .expect("a response")
            .json();
        let queue = &stats["queues"][&self.queue];
        let number = |name: &str| queue[name].as_u64().expect("a number") as usize;
        let open = number("ready") + number("leased");
        let rest = self.added.difference(&self.acknowledged).count();
        // What was cut may have been executed or not.
        let expected = rest.saturating_sub(self.cut_acks)..=rest + self.cut_enqueues;
        assert!(expected.contains(&open), "{expected:?}: {queue}");
        for id in &self.acknowledged {
            assert_eq!(
                self.shown(node, *id).await,
                None,
                "task {id} was acknowledged"
            );
        }
        for id in self.added.difference(&self.acknowledged) {
            let state = self.shown(node, *id).await;
            let may_be_done = self.cut_acks > 0 && self.delivered.contains(id);
            let is_open = ["ready", "leased"].map(Some).contains(&state.as_deref());
            assert!(is_open || may_be_done, "task {id} is {state:?}");
        }
    }

    /// The state of a task at this node. `None` if it is gone.
    async fn shown(&self, node: &Node, id: u64) -> Option<String> {
        let query = json!({"task": {"id": id}}).to_string();
        let shown = node.http().query(query).await.expect("a response").json();
        shown["task"]["state"].as_str().map(str::to_owned)
    }
}
