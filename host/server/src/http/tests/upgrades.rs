//! Upgrades while clients are served.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use oarlock_wasm::{CommandOutcome, Envelope, Sha256, UpgradeBegin, UpgradeOutcome, UpgradeRecord};
use serde_json::{Value, json};
use task_queue_raft::ids::Index;

use super::support::{Client, Guest, ReceivedResponse, Running, alone, anywhere};
use crate::node::{Node, Sockets};
use crate::settings::cluster::ClusterPeer;
use crate::settings::{ClusterSpec, GuestSource, ServeSettings};
use crate::wall_clock::SettableClock;

const ADD: &str = r#"{"add":{"by":5}}"#;
const GET: &str = r#"{"get":{}}"#;
const CHUNK: usize = 64 << 10;

/// The counter with a note in a custom section: another module with the same behavior.
fn counter_with(note: &str) -> Bytes {
    let mut module = std::fs::read(Guest::Counter.path()).expect("a module");
    // A custom section: id, length, length of its name, name.
    module.extend_from_slice(&[0, note.len() as u8 + 1, note.len() as u8]);
    module.extend_from_slice(note.as_bytes());
    module.into()
}

fn sha256(module: &[u8]) -> String {
    Sha256::of(module).to_string()
}

async fn post(client: &Client, query: &str, module: &Bytes) -> ReceivedResponse {
    let target = format!("/v1/state-machine{query}");
    client.send("POST", &target, &[], module.clone()).await
}

async fn runs(client: &Client) -> Value {
    client.get("/v1/status").await.json()["state_machine"]["sha256"].clone()
}

async fn history(client: &Client) -> Vec<Value> {
    let upgrades = client.get("/v1/upgrades").await.json();
    upgrades["history"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn an_upgrade_keeps_state_and_keys_and_so_does_the_way_back() {
    let running = Running::start(Guest::Counter).await;
    let client = &running.client;
    let key = [("idempotency-key", "once")];
    client.apply_with(&key, ADD).await;
    let (first, second) = (
        Bytes::from(std::fs::read(Guest::Counter.path()).expect("a module")),
        counter_with("second"),
    );

    let tried = post(client, "?dry_run=true&by=ann", &second).await.json();
    assert_eq!(tried["activated_index"], Value::Null, "{tried}");
    assert_eq!(runs(client).await, sha256(&first));

    let response = post(client, "?by=ann", &second).await;
    assert_eq!(response.status, 200, "{response:?}");
    let upgraded = response.json();
    let activated_index = upgraded["activated_index"].as_u64().expect("a number");
    assert_eq!(upgraded["sha256"], sha256(&second));
    assert_eq!(
        (&upgraded["name"], &upgraded["version"]),
        (&json!("counter"), &json!(1))
    );
    assert_eq!(runs(client).await, sha256(&second));
    assert_eq!(client.get("/v1/state-machine").await.body, second);
    assert_eq!(client.query(GET).await.json(), json!({"value": 5}));
    let again = client.apply_with(&key, ADD).await.json();
    assert_eq!(again, json!({"value": 5}), "the first reply");
    assert_eq!(client.apply(ADD).await.json(), json!({"value": 10}));
    // The same request again changes nothing.
    assert_eq!(post(client, "", &second).await.json(), upgraded);

    let past = history(client).await;
    let ends: Vec<&Value> = past.iter().map(|record| &record["end"]).collect();
    assert_eq!(ends, ["activated", "dry_run_passed"]);
    for record in &past {
        assert_eq!(record["name"], "counter", "a dry run has a name too");
        assert_eq!(record["version"], 1);
    }
    let upgrades = client.get("/v1/upgrades").await.json();
    assert_eq!(
        upgrades["first_module"],
        json!({"sha256": sha256(&first), "name": "counter", "version": 1})
    );
    assert_eq!(past[0]["by"], "ann");
    assert_eq!(past[0]["ended_index"], activated_index);

    assert_eq!(post(client, "", &first).await.status, 200);
    assert_eq!(runs(client).await, sha256(&first));
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_node_starts_with_the_active_module_of_its_cluster_whichever_module_it_is_given() {
    let running = Running::start(Guest::Counter).await;
    let (second, file) = (counter_with("second"), "second.wasm");
    running.client.apply(ADD).await;
    assert_eq!(post(&running.client, "", &second).await.status, 200);
    // With a snapshot, the node can be started with any module of the cluster.
    let taken = running.client.send("POST", "/v1/snapshot", &[], "").await;
    assert_eq!(taken.status, 200, "{taken:?}");
    let path = running.dir.path().join(file);
    std::fs::write(&path, &second).expect("writable");

    let mut settings = alone(Guest::Counter, running.dir.path()).await;
    let running = running.restart(settings.clone()).await;
    assert_eq!(runs(&running.client).await, sha256(&second));
    settings.guest = GuestSource::File(path);
    let running = running.restart(settings).await;
    assert_eq!(runs(&running.client).await, sha256(&second));
    assert_eq!(running.client.query(GET).await.json(), json!({"value": 5}));

    // A module that was never active in this cluster is an error.
    let Running { node, dir, .. } = running;
    node.shutdown().await;
    let foreign = alone(Guest::Faulty, dir.path()).await;
    let Err(error) = Node::start(foreign).await else {
        panic!("it started");
    };
    let message = error.to_string();
    assert!(message.contains("never ran"), "{message}");
}

#[tokio::test]
async fn an_invalid_module_is_refused_with_its_reason_and_the_current_one_stays_active() {
    let running = Running::start(Guest::Counter).await;
    let client = &running.client;
    client.apply(ADD).await;
    let foreign = Bytes::from(std::fs::read(Guest::Faulty.path()).expect("a module"));
    for (module, reason) in [
        (
            Bytes::from_static(b"no module at all"),
            "not a WebAssembly binary",
        ),
        // A node does not even parse it.
        (
            Bytes::from_static(b"(component)"),
            "not a WebAssembly binary",
        ),
        (foreign, "has no `migrate`"),
    ] {
        let response = post(client, "?replace_machine=true", &module).await;
        response.assert_error(422, "module_refused");
        let message = response.json()["error"]["message"].to_string();
        assert!(message.contains(reason), "{message}");
    }
    for query in ["?dry_run=maybe", "?wait_ms=0", "?colour=red", "?by=%0a"] {
        let response = post(client, query, &counter_with("second")).await;
        response.assert_error(400, "malformed");
    }
    post(client, "", &Bytes::new())
        .await
        .assert_error(400, "malformed");
    assert_eq!(client.apply(ADD).await.json(), json!({"value": 10}));
    assert_eq!(history(client).await[0]["end"], "module_refused");
    running.node.shutdown().await;
}

#[tokio::test]
async fn there_is_one_upgrade_at_a_time_and_an_incomplete_one_is_aborted_at_its_deadline() {
    let running = Running::start(Guest::Counter).await;
    let app = running.node.app();
    let begin = UpgradeBegin {
        sha256: Sha256::of(b"never sent"),
        bytes: 1_000,
        wait_ms: 600_000,
        dry_run: false,
        by: "bob".to_owned(),
    };
    let upgrade = propose(&running.node, &UpgradeRecord::Begin(begin)).await;
    assert_eq!(upgrade.1, UpgradeOutcome::Begun);
    let second = counter_with("second");
    let response = post(&running.client, "", &second).await;
    response.assert_error(409, "upgrade_under_way");
    let shown = running.client.get("/v1/upgrades").await.json();
    assert_eq!(shown["upgrade"]["by"], "bob");
    assert_eq!(shown["upgrade"]["nodes"]["node1"]["state"], "waiting");
    let metrics = running.client.get("/metrics").await.body;
    let metrics = String::from_utf8_lossy(&metrics);
    assert!(
        metrics.contains("oarlock_upgrade_in_progress 1"),
        "{metrics}"
    );
    let close = UpgradeRecord::Close {
        upgrade: upgrade.0,
        end: oarlock_wasm::UpgradeEnd::because(oarlock_wasm::AbortCause::TimedOut),
    };
    assert_eq!(
        propose(&running.node, &close).await.1,
        UpgradeOutcome::Closed
    );

    // The deadline is over before the module is complete: the leader aborts the upgrade.
    let short = UpgradeBegin {
        sha256: Sha256::of(b"never sent"),
        bytes: 1_000,
        wait_ms: 1,
        dry_run: false,
        by: "bob".to_owned(),
    };
    let upgrade = propose(&running.node, &UpgradeRecord::Begin(short)).await.0;
    let past = app.upgrades.end_of(upgrade).await.expect("it runs");
    assert!(past.end.to_string().contains("0 of 1000 bytes"), "{past:?}");
    assert_eq!(post(&running.client, "", &second).await.status, 200);
    running.node.shutdown().await;
}

#[tokio::test]
async fn the_list_of_upgrades_waits_for_another_revision() {
    let running = Running::start(Guest::Counter).await;
    let now = running.client.get("/v1/upgrades").await.json();
    let later = {
        let client = running.client.clone();
        let path = format!("/v1/upgrades?after={}", now["revision"]);
        tokio::spawn(async move { client.get(&path).await.json() })
    };
    assert_eq!(
        post(&running.client, "", &counter_with("second"))
            .await
            .status,
        200
    );
    let later = later.await.expect("a response");
    assert_ne!(later["revision"], now["revision"]);
    running.node.shutdown().await;
}

/// Commits one record.
async fn propose(node: &Node, record: &UpgradeRecord) -> (Index, UpgradeOutcome) {
    loop {
        let applied = node
            .app()
            .raft
            .submit(Envelope::upgrade(record), Duration::from_secs(30));
        match applied.await {
            Ok(applied) => match applied.reply {
                CommandOutcome::Upgrade(response) => return (applied.index, response),
                other => panic!("{other:?}"),
            },
            Err(error) => assert!(error.to_string().contains("leader"), "{error}"),
        }
    }
}

/// Three nodes that can be stopped and restarted.
pub(super) struct Three {
    dir: tempfile::TempDir,
    cluster: ClusterSpec,
    nodes: Vec<Option<Node>>,
    /// The wall clocks of the nodes.
    pub(super) clocks: Vec<SettableClock>,
    change: fn(usize, &mut ServeSettings),
}

impl Three {
    async fn start() -> Self {
        Self::start_with(|_, _| {}).await
    }

    /// The same with changed settings for some nodes.
    pub(super) async fn start_with(change: fn(usize, &mut ServeSettings)) -> Self {
        let sockets: Vec<std::net::TcpListener> = (0..3)
            .map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"))
            .collect();
        let members = sockets.iter().enumerate().map(|(at, socket)| ClusterPeer {
            node_id: format!("node{}", at + 1),
            addr: socket
                .local_addr()
                .expect("bound")
                .to_string()
                .parse()
                .expect("an address"),
        });
        let mut three = Self {
            dir: tempfile::tempdir().expect("a directory"),
            cluster: ClusterSpec::new(members.collect()).expect("a cluster"),
            nodes: vec![None, None, None],
            clocks: (0..3).map(|_| SettableClock::default()).collect(),
            change,
        };
        for (at, socket) in sockets.into_iter().enumerate() {
            three.start_on(at, Some(socket)).await;
        }
        for node in three.running() {
            node.app().readiness.caught_up().await;
        }
        three
    }

    async fn start_on(&mut self, at: usize, peers: Option<std::net::TcpListener>) {
        let id = format!("node{}", at + 1);
        let guest = Guest::Counter.load().await;
        let dir: &Path = self.dir.path();
        let settings =
            ServeSettings::of_cluster(self.cluster.clone(), &id, anywhere(), dir.join(&id), guest);
        let mut settings = settings.expect("a node of its cluster");
        settings.raft.heartbeat_interval = Duration::from_millis(100);
        settings.raft.election_timeout_min = Duration::from_millis(500);
        settings.raft.election_timeout_max = Duration::from_millis(1_000);
        settings.wall_clock = self.clocks[at].clone();
        (self.change)(at, &mut settings);
        let sockets = Sockets {
            peers,
            clients: None,
        };
        let node = Node::start_on(settings, sockets).await;
        self.nodes[at] = Some(node.expect("it starts"));
    }

    pub(super) async fn stop(&mut self, at: usize) {
        self.nodes[at].take().expect("it runs").shutdown().await;
    }

    /// Stops a node and starts it again on its data directory.
    pub(super) async fn restart(&mut self, at: usize) {
        self.stop(at).await;
        self.start_again(at).await;
    }

    /// Starts a stopped node on its data directory.
    pub(super) async fn start_again(&mut self, at: usize) {
        self.start_on(at, None).await;
    }

    /// The data directory of a node.
    pub(super) fn data_dir(&self, at: usize) -> std::path::PathBuf {
        self.dir.path().join(format!("node{}", at + 1))
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    pub(super) fn node(&self, at: usize) -> &Node {
        self.nodes[at].as_ref().expect("it runs")
    }

    pub(super) fn client(&self, at: usize) -> Client {
        let node = self.nodes[at].as_ref().expect("it runs");
        Client(node.client_addr().to_string())
    }

    /// The position of the leader, according to the node at `at`.
    pub(super) async fn leader(&self, at: usize) -> usize {
        let node = self.nodes[at].as_ref().expect("it runs");
        let mut status = node.app().raft.watch_status();
        let known = status
            .wait_for(|status| status.leader.is_some())
            .await
            .expect("it runs");
        let leader = known.leader.as_ref().expect("there is one").as_str();
        (0..3)
            .find(|at| leader == format!("node{}", at + 1))
            .expect("one of three")
    }

    /// Waits until this module is active on every node.
    async fn all_run(&self, module: &[u8]) {
        let wanted = Sha256::of(module);
        for node in self.running() {
            let app = node.app();
            app.readiness.caught_up().await;
            app.upgrades
                .find(|_| (app.machine.get().sha256 == wanted).then_some(()))
                .await
                .expect("it runs");
        }
    }

    pub(super) async fn shutdown(self) {
        for node in self.nodes.into_iter().flatten() {
            node.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_waits_for_a_stopped_voter_and_names_it_at_the_deadline() {
    let mut three = Three::start().await;
    let stopped = (three.leader(0).await + 1) % 3;
    let other = (stopped + 1) % 3;
    three.stop(stopped).await;
    let second = counter_with("second");
    let response = post(&three.client(other), "?wait_ms=200", &second).await;
    response.assert_error(409, "voters_not_ready");
    let message = response.json()["error"]["message"].to_string();
    assert!(
        message.contains(&format!("node{}", stopped + 1)),
        "{message}"
    );

    let client = three.client(other);
    let waiting = {
        let (client, second) = (client.clone(), second.clone());
        tokio::spawn(async move { post(&client, "", &second).await })
    };
    let app = three.nodes[other].as_ref().expect("it runs").app();
    let two_ready = app.upgrades.find(|upgrades| {
        let pending = upgrades.pending.as_ref()?;
        (pending.reports.len() == 2).then_some(())
    });
    two_ready.await.expect("it runs");
    assert_eq!(client.apply(ADD).await.json(), json!({"value": 5}));
    three.start_on(stopped, None).await;
    assert_eq!(waiting.await.expect("a response").status, 200);
    three.all_run(&second).await;
    three.shutdown().await;
}

/// Commits the first records of an upgrade. `step` is how many kinds of them.
async fn up_to(step: usize, node: &Node, module: &Bytes) {
    let begin = UpgradeBegin {
        sha256: Sha256::of(module),
        bytes: module.len() as u64,
        wait_ms: 600_000,
        dry_run: false,
        by: "ann".to_owned(),
    };
    if step == 0 {
        return;
    }
    let (upgrade, response) = propose(node, &UpgradeRecord::Begin(begin)).await;
    assert_eq!(response, UpgradeOutcome::Begun);
    let chunks = module.chunks(CHUNK).enumerate();
    let chunks = chunks.take(match step {
        1 => 0,
        2 => 1,
        _ => usize::MAX,
    });
    for (number, chunk) in chunks {
        propose(
            node,
            &UpgradeRecord::Chunk {
                upgrade,
                offset: (number * CHUNK) as u64,
                bytes: Bytes::copy_from_slice(chunk),
            },
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_node_stops_at_any_step_all_nodes_activate_the_same_module_and_lose_no_command() {
    let mut three = Three::start().await;
    let mut value = 0;
    for step in 0..=4 {
        // Stops the leader; at the last step a follower.
        let leader = three.leader(0).await;
        let stops = if step == 4 { (leader + 1) % 3 } else { leader };
        let stays = (stops + 1) % 3;
        let module = counter_with(&format!("step {step}"));
        up_to(step, three.nodes[stops].as_ref().expect("it runs"), &module).await;
        three.stop(stops).await;
        let client = three.client(stays);
        let upgraded = {
            let (client, module) = (client.clone(), module.clone());
            let wait = [("oarlock-timeout-ms", "120000")];
            tokio::spawn(async move {
                // Until the new leader is elected.
                loop {
                    let response = client.send("POST", "/v1/state-machine", &wait, module.clone());
                    match response.await {
                        response if response.status == 503 => {}
                        response => return response,
                    }
                }
            })
        };
        let key = format!("step-{step}");
        value += 5;
        let headers = [
            ("idempotency-key", key.as_str()),
            ("oarlock-timeout-ms", "60000"),
        ];
        loop {
            let response = client.apply_with(&headers, ADD).await;
            if response.status != 503 {
                assert_eq!(response.json(), json!({"value": value}), "{response:?}");
                break;
            }
        }
        three.start_on(stops, None).await;
        let response = upgraded.await.expect("a response");
        assert_eq!(response.status, 200, "step {step}: {response:?}");
        three.all_run(&module).await;
        let again = client.apply_with(&headers, ADD).await.json();
        assert_eq!(again, json!({"value": value}), "keys survive step {step}");
    }
    three.shutdown().await;
}
