//! Clients of the lock service wait on three real nodes: they are answered in their order, a client whose node is killed
//! repeats its command with its key, and waiting writes nothing to the log.

use oarlock_tests::process::locks::{
    LockClient, acquire, fence, lock, release, send_with_key, until_waiting,
};
use oarlock_tests::process::{Cluster, Http};
use serde_json::json;

const LONG_MS: u64 = 600_000;

#[tokio::test(flavor = "multi_thread")]
async fn waiting_clients_get_the_lock_in_their_order_although_the_leader_is_killed() {
    let mut cluster = Cluster::start(3, "lock", &[]);
    let leader = cluster.leader().await;
    let at_leader = cluster.nodes[leader].http();
    let others: Vec<Http> = (0..3)
        .filter(|at| *at != leader)
        .map(|at| cluster.nodes[at].http())
        .collect();

    let held = send_with_key(&at_leader, "a", acquire("a", LONG_MS, 0)).await;
    assert_eq!(fence(&held.expect("a response")), 1);
    let b = LockClient::start(&others[0], "b", LONG_MS);
    until_waiting(&at_leader, 1).await;
    let c = LockClient::start(&at_leader, "c", LONG_MS);
    until_waiting(&at_leader, 2).await;
    let d = LockClient::start(&others[1], "d", LONG_MS);
    until_waiting(&at_leader, 3).await;

    cluster.nodes[leader].kill();
    c.response().await.expect_err("its node is dead");
    let c = LockClient::start(&others[0], "c", LONG_MS);

    release(&others, 1).await;
    assert_eq!(b.fence().await, 2);
    release(&others, 2).await;
    assert_eq!(c.fence().await, 3, "it kept its place");
    release(&others, 3).await;
    assert_eq!(d.fence().await, 4);

    // The node that was dead reaches the same state, and a repeated command has the reply of the first.
    cluster.nodes[leader].start();
    cluster.leader().await;
    cluster.converged().await;
    let again = send_with_key(&at_leader, "c", acquire("c", LONG_MS, 45_000)).await;
    assert_eq!(fence(&again.expect("a response")), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_waits_until_its_deadline_and_the_log_does_not_grow() {
    // An audit writes to the log as well.
    let mut cluster = Cluster::start(3, "lock", &["--audit-interval-ms", "3600000"]);
    let leader = cluster.leader().await;
    let http = cluster.nodes[leader].http();
    let held = send_with_key(&http, "a", acquire("a", LONG_MS, 0)).await;
    assert_eq!(fence(&held.expect("a response")), 1);
    let waiting = tokio::spawn({
        let http = http.clone();
        async move { send_with_key(&http, "b", acquire("b", LONG_MS, 2_000)).await }
    });
    until_waiting(&http, 1).await;
    // All but the deadline is in the log: the nodes have recorded their modules, and `b` waits.
    let before = cluster.converged().await[0]["commit_index"].as_u64();
    let response = waiting.await.expect("it does not panic");
    let response = response.expect("a response");
    assert_eq!(
        (response.status, response.json()),
        (200, json!({"timed_out": {}}))
    );
    let after = cluster.converged().await[0]["commit_index"].as_u64();
    let added = after.zip(before).map(|(after, before)| after - before);
    assert_eq!(added, Some(1), "two seconds, one entry: the wake-up");
    assert_eq!(lock(&http).await.expect("a response")["waiting"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_cluster_remembers_who_waits_and_when_leases_end() {
    let mut cluster = Cluster::start(3, "lock", &["--snapshot-threshold", "1"]);
    let leader = cluster.leader().await;
    let http = cluster.nodes[leader].http();
    let held = send_with_key(&http, "a", acquire("a", 3_000, 0)).await;
    assert_eq!(fence(&held.expect("a response")), 1);
    let b = LockClient::start(&http, "b", LONG_MS);
    until_waiting(&http, 1).await;
    for node in &mut cluster.nodes {
        node.kill();
    }
    b.response().await.expect_err("all nodes are dead");
    for node in &mut cluster.nodes {
        node.start();
    }
    let leader = cluster.leader().await;
    let http = cluster.nodes[leader].http();
    // Nothing releases the lock: its lease ends.
    assert_eq!(LockClient::start(&http, "b", LONG_MS).fence().await, 2);
    cluster.converged().await;
}
