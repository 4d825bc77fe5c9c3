//! Blocking reserve.

use oarlock_tests::process::{Cluster, Http};
use serde_json::json;

use super::kit::{QueueClient, WaitingWorker, reserve, shared};

#[tokio::test(flavor = "multi_thread")]
async fn six_waiters_over_three_nodes_are_served_in_order_and_waiting_adds_no_log_entry() {
    // An audit writes to the log as well.
    let mut cluster = Cluster::start(3, "queue", &["--audit-interval-ms", "3600000"]);
    cluster.leader().await;
    let client = QueueClient::of(&cluster);
    client.send(json!({"configure": {"queue": "q"}})).await;

    let mut waiters = Vec::new();
    for number in 0..6 {
        let http = cluster.nodes[number % 3].http();
        waiters.push(WaitingWorker::start(&http, &format!("w{number}"), "q"));
        client.until_waiting("q", number as u64 + 1).await;
    }
    // The deadlines of the six are far away. The seventh waits for a second.
    let commit = async |cluster: &mut Cluster| {
        cluster.converged().await[0]["commit_index"]
            .as_u64()
            .expect("an index")
    };
    let before = commit(&mut cluster).await;
    let reply = client.send(reserve("other", "w", 1, 1000, 1000)).await;
    assert_eq!(reply, json!({"tasks": []}));
    let after = commit(&mut cluster).await;
    assert_eq!(
        after - before,
        2,
        "seven workers wait for a second: the reserve, and the end of its wait"
    );

    for number in 0..6 {
        client.enqueue("q", number, json!({})).await;
    }
    for (number, waiter) in waiters.into_iter().enumerate() {
        assert_eq!(waiter.payload().await, Some(number as u64));
    }
    cluster.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_failover_a_waiter_that_repeats_with_its_key_keeps_its_place() {
    let mut cluster = Cluster::start(3, "queue", &[]);
    let leader = cluster.leader().await;
    let client = QueueClient::of(&cluster);
    client.send(json!({"configure": {"queue": "q"}})).await;
    let at_leader = cluster.nodes[leader].http();
    let others: Vec<Http> = (0..3)
        .filter(|&at| at != leader)
        .map(|at| cluster.nodes[at].http())
        .collect();

    let a = WaitingWorker::start(&others[0], "a", "q");
    client.until_waiting("q", 1).await;
    let b = WaitingWorker::start(&at_leader, "b", "q");
    client.until_waiting("q", 2).await;
    let c = WaitingWorker::start(&others[1], "c", "q");
    client.until_waiting("q", 3).await;

    cluster.nodes[leader].kill();
    assert_eq!(b.payload().await, None, "its node is dead");
    cluster.leader().await;
    let client = QueueClient::to(others.clone());
    assert_eq!(
        client.stats("q").await["waiters"],
        3,
        "the new leader knows them"
    );
    for number in 0..3 {
        client.enqueue("q", number, json!({})).await;
    }
    // The reserve was completed while nobody listened. Its reply is that of the key.
    let again = client
        .send_with_key("b", reserve("q", "b", 1, 600_000, 45_000))
        .await;
    assert_eq!(again["tasks"][0]["payload"], 1, "it kept its place");
    for (waiter, name, number) in [(a, "a", 0), (c, "c", 2)] {
        // Its node may have told it that the outcome is unknown. Then it repeats, too.
        let payload = match waiter.payload().await {
            Some(payload) => payload,
            None => {
                let command = reserve("q", name, 1, 600_000, 45_000);
                let reply = client.send_with_key(name, command).await;
                reply["tasks"][0]["payload"].as_u64().expect("a task")
            }
        };
        assert_eq!(payload, number, "{name}");
    }
    cluster.nodes[leader].start();
    cluster.leader().await;
    cluster.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_ends_its_waits_and_releases_what_it_has_not_begun() {
    let client = shared().await;
    client.enqueue("stop", 1, json!({})).await;
    let task = client.reserve_one("stop").await;
    let released = json!({"release": {"id": task["id"], "token": task["token"]}});
    assert_eq!(client.send(released).await, json!({"state": "ready"}));
    let again = client.reserve_one("stop").await;
    assert_eq!(again["attempt"], 1, "the attempt did not count");

    let waits = client.send(reserve("stop", "stopping", 1, 600_000, 45_000));
    let stops = async {
        client.until_waiting("stop", 1).await;
        client
            .send(json!({"end_waits": {"worker": "stopping"}}))
            .await
    };
    let (reply, ended) = tokio::join!(waits, stops);
    assert_eq!((reply, ended), (json!({"tasks": []}), json!({})));
    assert_eq!(client.stats("stop").await["waiters"], 0);
    // A task that is added now is for others.
    client.enqueue("stop", 2, json!({})).await;
    assert_eq!(client.stats("stop").await["ready"], 1);
}
