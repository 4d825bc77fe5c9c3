//! Three real processes: they serve over any node, survive `kill -9`, and lose nothing that they acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use oarlock_tests::process::{Cluster, Http, Node, apply_somewhere, eventually};
use serde_json::{Value, json};

fn enqueue(payload: u64) -> String {
    json!({"enqueue": {"queue": "email", "payload": payload}}).to_string()
}

async fn task(http: &Http, id: u64) -> Value {
    let response = http
        .query(json!({"task": {"id": id}}).to_string())
        .await
        .expect("a response");
    assert_eq!(response.status, 200, "{response:?}");
    response.json()["task"].clone()
}

/// Enqueues one task after another until stopped. Returns the acknowledged ones by their payload.
async fn enqueue_until(
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    targets: Vec<Http>,
    run: &str,
) -> BTreeMap<u64, u64> {
    let mut acknowledged = BTreeMap::new();
    for payload in 1.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let reply = apply_somewhere(&targets, &format!("{run}-{payload}"), &enqueue(payload)).await;
        let id = reply["id"].as_u64().expect("an id");
        assert!(
            acknowledged.values().all(|&other| other != id),
            "task {id} was acknowledged twice"
        );
        acknowledged.insert(payload, id);
        done.fetch_add(1, Ordering::Release);
    }
    acknowledged
}

async fn assert_all_there(http: &Http, acknowledged: &BTreeMap<u64, u64>) {
    for (payload, id) in acknowledged {
        assert_eq!(
            task(http, *id).await["payload"],
            json!(payload),
            "task {id} is lost"
        );
    }
}

async fn at_least(done: &AtomicU64, count: u64) {
    eventually("the client has gone on", async || {
        (done.load(Ordering::Acquire) >= count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_enqueued_reserved_and_acknowledged_over_any_node() {
    let mut cluster = Cluster::start(3, "queue", &[]);
    cluster.leader().await;
    let [first, second, third] = [0, 1, 2].map(|at| cluster.nodes[at].http());

    let reply = first.apply(enqueue(7)).await.expect("a response");
    assert_eq!(
        (reply.status, reply.json()),
        (200, json!({"id": 1, "duplicate": false}))
    );
    assert!(
        reply.header("oarlock-index").parse::<u64>().is_ok(),
        "{reply:?}"
    );

    let reserve =
        json!({"reserve": {"queues": ["email"], "worker": "w1", "lease_ms": 60_000}}).to_string();
    let reserved = second
        .apply(reserve.clone())
        .await
        .expect("a response")
        .json();
    let got = &reserved["tasks"][0];
    assert_eq!(
        (&got["id"], &got["payload"], &got["attempt"]),
        (&json!(1), &json!(7), &json!(1))
    );
    assert_eq!(
        third.apply(reserve).await.expect("a response").json(),
        json!({"tasks": []})
    );

    let ack = json!({"ack": {"id": 1, "token": got["token"]}}).to_string();
    let acked = third.apply(ack.clone()).await.expect("a response");
    assert_eq!((acked.status, acked.json()), (200, json!({})));
    assert_eq!(
        first.apply(ack).await.expect("a response").status,
        422,
        "the token is stale by now"
    );

    for node in [&first, &second, &third] {
        let stats = node
            .query(r#"{"stats":{}}"#)
            .await
            .expect("a response")
            .json();
        let email = &stats["queues"]["email"];
        assert_eq!(
            (&email["ready"], &email["leased"], &email["completed"]),
            (&json!(0), &json!(0), &json!(1))
        );
    }
    let statuses = cluster.converged().await;
    assert_eq!(statuses.len(), 3);
    for status in &statuses {
        assert_eq!(
            status["members"].as_array().map(Vec::len),
            Some(3),
            "{status:#}"
        );
        assert_eq!(status["state_machine"]["name"], "task-queue");
    }
    assert_eq!(
        statuses
            .iter()
            .filter(|status| status["role"] == "leader")
            .count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_leader_is_killed_and_the_node_catches_up_again() {
    let mut cluster = Cluster::start(3, "queue", &[]);
    let leader = cluster.leader().await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients = [0, 1, 2, 3].map(|client| {
        let done = Arc::new(AtomicU64::new(0));
        let mut targets: Vec<Http> = cluster.nodes.iter().map(Node::http).collect();
        targets.rotate_left(client % 3);
        let (stop, counted) = (Arc::clone(&stop), Arc::clone(&done));
        let running = tokio::spawn(async move {
            enqueue_until(stop, counted, targets, &format!("client{client}")).await
        });
        (running, done)
    });
    for (_, done) in &clients {
        at_least(done, 20).await;
    }

    cluster.nodes[leader].kill();
    for (_, done) in &clients {
        let before = done.load(Ordering::Acquire);
        at_least(done, before + 20).await;
    }
    assert_ne!(cluster.leader().await, leader);
    cluster.nodes[leader].start();
    cluster.leader().await;
    stop.store(true, Ordering::Release);

    let survivor = cluster.nodes[(leader + 1) % 3].http();
    let mut tasks = 0;
    for (running, _) in clients {
        let acknowledged = running.await.expect("the client ends");
        assert_all_there(&survivor, &acknowledged).await;
        tasks += acknowledged.len();
    }
    let statuses = cluster.converged().await;
    assert_eq!(statuses.len(), 3, "the killed node takes part again");
    let stats = cluster.nodes[leader]
        .http()
        .query(r#"{"stats":{}}"#)
        .await
        .expect("a response")
        .json();
    assert_eq!(
        stats["queues"]["email"]["ready"],
        json!(tasks),
        "sent again with their keys, none was doubled"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_catches_up_by_snapshot_after_the_log_was_compacted_past_it() {
    let mut cluster = Cluster::start(
        3,
        "queue",
        &["--snapshot-threshold", "100", "--max-log-entries", "200"],
    );
    let leader = cluster.leader().await;
    let absent = (leader + 1) % 3;
    cluster.apply_somewhere("before", &enqueue(0)).await;
    cluster.converged().await;
    cluster.nodes[absent].kill();
    for number in 1..=450 {
        cluster
            .apply_somewhere(&format!("k{number}"), &enqueue(number))
            .await;
    }
    let ahead = cluster.nodes[leader]
        .http()
        .status()
        .await
        .expect("it runs");
    assert!(
        ahead["first_log_index"].as_u64() > Some(200),
        "the log was not compacted: {ahead:#}"
    );

    cluster.nodes[absent].start();
    let statuses = cluster.converged().await;
    assert_eq!(statuses.len(), 3);
    let caught_up = cluster.nodes[absent]
        .http()
        .status()
        .await
        .expect("it runs");
    assert!(
        caught_up["first_log_index"].as_u64() > Some(2),
        "it got the log, not a snapshot: {caught_up:#}"
    );
    let stale = cluster.nodes[absent].http();
    let stats = stale
        .send(
            "POST",
            "/v1/query?consistency=stale",
            &[],
            r#"{"stats":{}}"#,
        )
        .await
        .expect("a response");
    assert_eq!(stats.json()["queues"]["email"]["ready"], json!(451));

    // What it got by snapshot is durable there: it starts again from it, and keys are remembered across it.
    cluster.nodes[absent].kill();
    cluster.nodes[absent].start();
    cluster.converged().await;
    let again = cluster.apply_somewhere("k7", &enqueue(7)).await;
    assert_eq!(again["id"], json!(8), "the first response comes again");
    let other = cluster.nodes[absent].http();
    let reused = other
        .send(
            "POST",
            "/v1/apply",
            &[("idempotency-key", "k7")],
            enqueue(8),
        )
        .await
        .expect("a response");
    assert_eq!(
        (reused.status, reused.error_code().as_str()),
        (409, "key_reused")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_acknowledged_is_there_after_all_nodes_are_killed_at_once() {
    let mut cluster = Cluster::start(3, "queue", &["--snapshot-threshold", "50"]);
    cluster.leader().await;
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let targets: Vec<Http> = cluster.nodes.iter().map(Node::http).collect();
    let running = tokio::spawn({
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        async move { enqueue_until(stop, done, targets, "all").await }
    });
    for round in 1..=3 {
        at_least(&done, 60 * round).await;
        cluster.nodes.iter_mut().for_each(Node::kill);
        cluster.nodes.iter_mut().for_each(Node::start);
        cluster.leader().await;
    }
    stop.store(true, Ordering::Release);
    let acknowledged = running.await.expect("the client ends");
    cluster.converged().await;
    for node in &cluster.nodes {
        assert_all_there(&node.http(), &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minority_responds_that_there_is_no_leader_and_stale_queries_still_work() {
    let mut cluster = Cluster::start(3, "kv", &[]);
    let leader = cluster.leader().await;
    cluster
        .apply_somewhere("k", r#"{"put":{"key":"a","value":"1"}}"#)
        .await;
    cluster.converged().await;
    let alone = (leader + 1) % 3;
    for at in (0..3).filter(|&at| at != alone) {
        cluster.nodes[at].kill();
    }
    let http = cluster.nodes[alone].http();
    eventually("the node knows that it is alone", async || {
        (http.get("/readyz").await.ok()?.status == 503).then_some(())
    })
    .await;
    let write = http.send(
        "POST",
        "/v1/apply",
        &[("oarlock-timeout-ms", "500")],
        r#"{"put":{"key":"a","value":"2"}}"#,
    );
    let write = write.await.expect("a response");
    assert_eq!(
        (write.status, write.error_code().as_str()),
        (503, "no_leader")
    );
    assert!(!write.header("retry-after").is_empty());
    let get = r#"{"get":{"key":"a"}}"#;
    let read = http
        .send("POST", "/v1/query", &[("oarlock-timeout-ms", "500")], get)
        .await
        .expect("a response");
    assert_eq!(
        (read.status, read.error_code().as_str()),
        (503, "no_leader")
    );
    let stale = http
        .send("POST", "/v1/query?consistency=stale", &[], get)
        .await
        .expect("a response");
    assert_eq!((stale.status, stale.json()), (200, json!({"value": "1"})));
    assert_eq!(http.get("/healthz").await.expect("a response").status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_binary_runs_another_guest_with_only_the_flag_changed() {
    for (guest, name, command, reply, query, response) in [
        (
            "kv",
            "kv",
            r#"{"put":{"key":"k","value":"v"}}"#,
            json!({"previous": null}),
            r#"{"get":{"key":"k"}}"#,
            json!({"value": "v"}),
        ),
        (
            "counter",
            "counter",
            r#"{"add":{"by":5}}"#,
            json!({"value": 5}),
            r#"{"get":{}}"#,
            json!({"value": 5}),
        ),
    ] {
        let mut cluster = Cluster::start(3, guest, &[]);
        let leader = cluster.leader().await;
        let follower = cluster.nodes[(leader + 1) % 3].http();
        let applied = follower.apply(command).await.expect("a response");
        assert_eq!((applied.status, applied.json()), (200, reply), "{guest}");
        let asked = cluster.nodes[(leader + 2) % 3]
            .http()
            .query(query)
            .await
            .expect("a response");
        assert_eq!((asked.status, asked.json()), (200, response), "{guest}");
        let status = follower.status().await.expect("it runs");
        assert_eq!(status["state_machine"]["name"], name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_paused_is_replaced_and_rejoins_as_a_follower() {
    let mut cluster = Cluster::start(3, "counter", &[]);
    let leader = cluster.leader().await;
    cluster.nodes[leader].signal("STOP");
    let others: Vec<Http> = (0..3)
        .filter(|&at| at != leader)
        .map(|at| cluster.nodes[at].http())
        .collect();
    let reply = apply_somewhere(&others, "during", r#"{"add":{"by":1}}"#).await;
    assert_eq!(reply["value"], json!(1));
    cluster.nodes[leader].signal("CONT");
    cluster.converged().await;
    let read = cluster.nodes[leader]
        .http()
        .query(r#"{"get":{}}"#)
        .await
        .expect("a response");
    assert_eq!(
        read.json()["value"],
        json!(1),
        "a linearizable read at the old leader sees what was written meanwhile"
    );
}
