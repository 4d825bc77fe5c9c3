//! Membership of real processes: a cluster grows, shrinks, replaces a dead node, and moves its leadership under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use oarlock_tests::process::{Cluster, Http, apply_somewhere, eventually, run};
use serde_json::{Value, json};

fn put(number: u64) -> String {
    json!({"put": {"key": format!("k{number}"), "value": "v"}}).to_string()
}

/// Sends an admin request that must succeed.
async fn order(http: &Http, method: &str, path: &str, body: Value) -> Value {
    let headers = [("oarlock-timeout-ms", "60000")];
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let response = http
        .send(method, path, &headers, body)
        .await
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    assert_eq!(response.status, 200, "{method} {path}: {response:?}");
    response.json()
}

async fn add(cluster: &mut Cluster, asked: usize) -> usize {
    let at = cluster.join();
    let (id, addr) = (
        cluster.nodes[at].id().to_owned(),
        cluster.nodes[at].peer_addr().to_owned(),
    );
    let waiting = eventually("the new node responds", async || {
        cluster.nodes[at].http().status().await
    })
    .await;
    assert_eq!(waiting["role"], "learner", "{waiting}");
    let body = json!({"node_id": id, "peer_addr": addr, "voter": true});
    let changed = order(&cluster.nodes[asked].http(), "POST", "/v1/members", body).await;
    assert!(changed["index"].as_u64().is_some(), "{changed}");
    at
}

/// Waits until a node names exactly these as voters, and returns its status.
async fn knows_voters(http: &Http, wanted: &[&str]) -> Value {
    eventually("the node knows the voters", async || {
        let status = http.status().await?;
        let members = status["members"].as_array()?.clone();
        let voters: Vec<&str> = members
            .iter()
            .filter(|member| member["voter"] == true)
            .filter_map(|member| member["node_id"].as_str())
            .collect();
        (voters == wanted).then_some(status)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_grows_from_one_to_three_to_five_and_shrinks_again() {
    // Few entries to a snapshot: a node that joins late receives one.
    let mut cluster = Cluster::start(1, "kv", &["--snapshot-threshold", "20"]);
    cluster.leader().await;
    for number in 0..50 {
        cluster
            .apply_somewhere(&format!("before-{number}"), &put(number))
            .await;
    }
    for asked in 0..4 {
        // Each is added at the one before: any node hands it to the leader.
        add(&mut cluster, asked).await;
    }
    let all = ["node1", "node2", "node3", "node4", "node5"];
    for node in &cluster.nodes {
        let status = knows_voters(&node.http(), &all).await;
        assert_ne!(status["role"], "learner", "{status}");
    }
    cluster.apply_somewhere("grown", &put(50)).await;
    cluster.converged().await;

    for id in ["node1", "node2"] {
        order(
            &cluster.nodes[4].http(),
            "DELETE",
            &format!("/v1/members/{id}"),
            Value::Null,
        )
        .await;
        knows_voters(
            &cluster.nodes[4].http(),
            &all[all.iter().position(|other| *other == id).unwrap_or(0) + 1..],
        )
        .await;
    }
    cluster.nodes[0].kill();
    cluster.nodes[1].kill();
    // One of three may go as well.
    cluster.nodes[2].kill();
    cluster.leader().await;
    cluster.apply_somewhere("shrunk", &put(51)).await;
    let response = cluster.nodes[4]
        .http()
        .query(r#"{"get":{"key":"k7"}}"#)
        .await
        .expect("a response");
    assert_eq!(
        response.json(),
        json!({"value": "v"}),
        "what was there before it came"
    );
    // A node that was added knows all of it again when it restarts.
    cluster.nodes[4].kill();
    cluster.nodes[4].start();
    knows_voters(&cluster.nodes[4].http(), &all[2..]).await;
    cluster.nodes[2].start();
    cluster.leader().await;
    cluster.apply_somewhere("restarted", &put(52)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_is_replaced_in_one_call_and_a_promotion_that_cannot_succeed_fails_at_once() {
    let mut cluster = Cluster::start(3, "kv", &[]);
    cluster.leader().await;
    cluster.apply_somewhere("one", &put(1)).await;
    cluster.nodes[2].kill();
    let at = cluster.join();
    let addr = cluster.nodes[at].peer_addr().to_owned();
    let body = json!({"node_id": "node4", "peer_addr": addr, "replaces": "node3"});
    order(&cluster.nodes[0].http(), "POST", "/v1/members", body).await;
    knows_voters(&cluster.nodes[at].http(), &["node1", "node2", "node4"]).await;

    // There is no node at that address: it can't catch up, and the error comes at once.
    let http = cluster.nodes[1].http();
    order(
        &http,
        "POST",
        "/v1/members",
        json!({"node_id": "node5", "peer_addr": "127.0.0.1:9"}),
    )
    .await;
    let response = http
        .send("POST", "/v1/members/node5/promote", &[], "")
        .await
        .expect("a response");
    assert_eq!(
        (response.status, response.error_code().as_str()),
        (409, "not_caught_up")
    );
    for (method, path, body, expected) in [
        (
            "POST",
            "/v1/members/unknown/promote",
            "",
            (404, "unknown_node"),
        ),
        ("POST", "/v1/members", "{}", (400, "malformed")),
        (
            "POST",
            "/v1/members",
            r#"{"node_id":"a b","peer_addr":"h:1"}"#,
            (400, "malformed"),
        ),
        (
            "POST",
            "/v1/members",
            r#"{"node_id":"x","peer_addr":"::::"}"#,
            (400, "malformed"),
        ),
        (
            "POST",
            "/v1/leader/transfer",
            r#"{"to":"node5"}"#,
            (409, "not_a_voter"),
        ),
        ("DELETE", "/v1/members/unknown", "", (404, "unknown_node")),
        (
            "POST",
            "/v1/members",
            r#"{"node_id":"node2","peer_addr":"127.0.0.1:9"}"#,
            (409, "address_in_use"),
        ),
        (
            "POST",
            "/v1/members",
            r#"{"node_id":"node2","peer_addr":"127.0.0.1:1"}"#,
            (409, "no_answer"),
        ),
        ("POST", "/v1/leader/transfer", "[", (400, "malformed")),
        ("PUT", "/v1/members", "", (405, "method_not_allowed")),
    ] {
        let response = http
            .send(method, path, &[], body)
            .await
            .expect("a response");
        assert_eq!(
            (response.status, response.error_code().as_str()),
            expected,
            "{method} {path} {body}"
        );
    }
    order(&http, "DELETE", "/v1/members/node5", Value::Null).await;
    let again = http.send("DELETE", "/v1/members/node5", &[], "").await;
    assert_eq!(again.expect("a response").error_code(), "unknown_node");
    cluster.apply_somewhere("two", &put(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_moves_under_load_and_not_one_request_fails() {
    let mut cluster = Cluster::start(3, "kv", &[]);
    cluster.leader().await;
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..12_u64 {
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        let http = cluster.nodes[usize::try_from(client % 3).unwrap_or(0)].http();
        clients.spawn(async move {
            while !stop.load(Ordering::Acquire) {
                // Without a key and sent once: nothing hides a refusal.
                let response = http.apply(put(client)).await.expect("a response");
                assert_eq!(response.status, 200, "{response:?}");
                done.fetch_add(1, Ordering::Release);
            }
        });
    }
    for to in ["node2", "node3", "node1", "node3"] {
        let before = done.load(Ordering::Acquire);
        let given = order(
            &cluster.nodes[0].http(),
            "POST",
            "/v1/leader/transfer",
            json!({"to": to}),
        )
        .await;
        assert!(given["term"].as_u64().is_some(), "{given}");
        eventually("all nodes follow the new leader", async || {
            for node in &cluster.nodes {
                (node.http().status().await?["leader_id"] == to).then_some(())?;
            }
            Some(())
        })
        .await;
        eventually("the clients go on", async || {
            (done.load(Ordering::Acquire) > before + 20).then_some(())
        })
        .await;
    }
    stop.store(true, Ordering::Release);
    while let Some(client) = clients.join_next().await {
        client.expect("no request failed");
    }
    cluster.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_change_members_and_leader() {
    let mut cluster = Cluster::start(1, "counter", &[]);
    cluster.leader().await;
    let at = cluster.join();
    let endpoint = cluster.nodes[0].http().0;
    let patiently = |args: &[&str], timeout_ms: &str| {
        let args =
            args.iter()
                .copied()
                .chain(["--endpoints", &endpoint, "--timeout-ms", timeout_ms]);
        let output = run(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let oarlock = |args: &[&str]| patiently(args, "60000");
    let node = format!("node2={}", cluster.nodes[at].peer_addr());
    let added = oarlock(&["members", "add", &node]);
    assert!(
        added.0 == Some(0) && added.1.contains("learner"),
        "{added:?}"
    );
    eventually("the learner has caught up", async || {
        let promoted = oarlock(&["members", "promote", "node2"]);
        (promoted.0 == Some(0)).then_some(())
    })
    .await;
    let listed = oarlock(&["members", "list", "--json"]);
    let json: Value = serde_json::from_str(&listed.1).unwrap_or_else(|_| panic!("{listed:?}"));
    assert_eq!(json["members"].as_array().map(Vec::len), Some(2), "{json}");
    assert!(json["members"][1]["voter"] == true, "{json}");

    let moved = oarlock(&["transfer-leader", "node2"]);
    assert!(
        moved.0 == Some(0) && moved.1.contains("node2 is the leader in term"),
        "{moved:?}"
    );
    let table = oarlock(&["members", "list"]);
    assert!(
        table.1.contains("node2") && table.1.contains("leader"),
        "{table:?}"
    );
    assert!(
        !table.1.contains('\u{1b}'),
        "no colours in a pipe: {table:?}"
    );
    let removed = oarlock(&["members", "remove", "node1"]);
    assert!(
        removed.0 == Some(0) && removed.1.contains("removed"),
        "{removed:?}"
    );
    let health = oarlock(&["status"]);
    assert!(health.1.contains("not a member"), "{health:?}");
    // The node that receives the request belongs to no cluster any more, and finds no leader.
    let refused = patiently(&["members", "promote", "node9"], "1000");
    assert!(refused.0 == Some(3) && !refused.2.is_empty(), "{refused:?}");
    let wrong = oarlock(&["members", "add", "node2"]);
    assert_eq!(wrong.0, Some(2), "{wrong:?}");
    let targets = [cluster.nodes[at].http()];
    let reply = apply_somewhere(&targets, "after", r#"{"add":{"by":5}}"#).await;
    assert_eq!(reply, json!({"value": 5}));
}

/// No node gets a state from a learner, so accepting its state would stop the cluster.
#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_a_learner_can_not_be_accepted() {
    let mut cluster = Cluster::start(1, "kv", &[]);
    cluster.leader().await;
    let at = cluster.join();
    let (id, addr) = (
        cluster.nodes[at].id().to_owned(),
        cluster.nodes[at].peer_addr().to_owned(),
    );
    let leader = cluster.nodes[0].http();
    let body = json!({"node_id": id, "peer_addr": addr});
    order(&leader, "POST", "/v1/members", body).await;
    let body = json!({"node": id}).to_string();
    let refused = leader.send("POST", "/v1/audit/accept", &[], body).await;
    let refused = refused.expect("a response");
    assert_eq!(refused.status, 409, "{refused:?}");
    assert_eq!(refused.error_code(), "not_a_voter");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_addition_that_ends_half_way_tells_that_the_node_is_a_learner() {
    let mut cluster = Cluster::start(1, "kv", &[]);
    cluster.leader().await;
    let at = cluster.join();
    let http = cluster.nodes[0].http();
    let addr = cluster.nodes[at].peer_addr().to_owned();
    eventually("the new node responds", async || {
        cluster.nodes[at].http().status().await
    })
    .await;
    let learner = json!({"node_id": "node2", "peer_addr": addr});
    order(&http, "POST", "/v1/members", learner).await;
    cluster.nodes[at].kill();
    let node = format!("node2={addr}");
    let failed = run([
        "members",
        "add",
        &node,
        "--voter",
        "--timeout-ms",
        "3000",
        "--endpoints",
        &http.0,
    ]);
    assert!(!failed.status.success());
    let error = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(
        error.contains("node2 is a learner of the cluster now")
            && error.contains("oarlock members remove node2"),
        "{error}"
    );
}
