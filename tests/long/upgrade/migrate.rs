//! An upgrade to a guest that migrates the state of the previous version, on real processes. Going back is refused.

use bytes::Bytes;
use oarlock_tests::process::{Cluster, Node, QUICK, apply_somewhere, eventually, guest};
use serde_json::json;

use super::kit::{all_run, sha256, upgrade};

const ADD: &str = r#"{"add":{"by":5}}"#;
const GET: &str = r#"{"get":{}}"#;

fn module(name: &str) -> Bytes {
    std::fs::read(guest(name)).expect("a module").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_with_another_layout_of_its_state_takes_over_and_the_way_back_is_refused_by_name() {
    let mut cluster = Cluster::start(3, "counter", &QUICK);
    let leader = cluster.leader().await;
    let targets: Vec<_> = cluster.nodes.iter().map(Node::http).collect();
    for number in 0..3 {
        apply_somewhere(&targets, &format!("first-{number}"), ADD).await;
    }
    let (first, second) = (module("counter"), module("counter-2"));
    let response = upgrade(&targets[leader..], &second).await;
    assert_eq!(response.status, 200, "{response:?}");
    let runs = response.json();
    assert_eq!(
        (&runs["name"], &runs["version"]),
        (&json!("counter"), &json!(2))
    );
    all_run(&cluster, &runs["sha256"]).await;
    // The value is what it was, and what is new begins.
    let reply = apply_somewhere(&targets, "second-0", ADD).await;
    assert_eq!(reply, json!({"value": 20, "adds": 1}));
    // A key used before the upgrade gets the same reply as then.
    let again = apply_somewhere(&targets, "first-2", ADD).await;
    assert_eq!(again, json!({"value": 15}));

    let back = upgrade(&targets[leader..], &first).await;
    assert_eq!(back.status, 422, "{back:?}");
    assert_eq!(back.error_code(), "module_refused");
    let message = back.json()["error"]["message"].to_string();
    assert!(
        message.contains("version 2") && message.contains("stays active"),
        "{message}"
    );
    all_run(&cluster, &json!(sha256(&second))).await;
    let past = targets[leader]
        .get("/v1/upgrades")
        .await
        .expect("it runs")
        .json();
    assert_eq!(past["history"][0]["end"], "module_refused", "{past:#}");

    // From its snapshot and from its log alike, a node comes back as it was.
    for at in 0..3 {
        cluster.nodes[at].kill();
        cluster.nodes[at].start();
    }
    cluster.leader().await;
    for target in &targets {
        let response = eventually("the node responds", async || {
            let response = target.query(GET).await.ok()?;
            (response.status == 200).then(|| response.json())
        })
        .await;
        assert_eq!(response, json!({"value": 20, "adds": 1}));
    }
    cluster.converged().await;
}
