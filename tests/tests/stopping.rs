//! A planned stop: leadership moves first, clients move to the other nodes, and every request gets a response.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use oarlock_tests::http::connection::Connection;
use oarlock_tests::process::{Cluster, QUICK, eventually};
use serde_json::json;
use tokio::task::JoinSet;

/// What clients have done so far.
#[derive(Default)]
struct Traffic {
    ends: AtomicBool,
    succeeded: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Traffic {
    fn failed(&self, what: String) {
        self.failures.lock().expect("no panic").push(what);
    }
}

/// A client that sends one command after the other on a connection, and nothing twice. It goes on to the next node if its node announces
/// the end of the connection, or does not accept one.
async fn client(addresses: Vec<String>, first: usize, traffic: Arc<Traffic>) {
    let mut at = first;
    let mut open: Option<Connection> = None;
    while !traffic.ends.load(Ordering::Relaxed) {
        let address = &addresses[at % addresses.len()];
        let mut connection = match open.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => match Connection::open(address).await {
                Ok(connection) => connection,
                Err(_) => {
                    at += 1;
                    continue;
                }
            },
        };
        let head = b"POST /v1/apply HTTP/1.1\r\nhost: localhost\r\n";
        connection.push(head, br#"{"add":{"by":1}}"#);
        if let Err(error) = connection.send().await {
            traffic.failed(format!("{address} took no request: {error}"));
            continue;
        }
        match connection.receive(false).await {
            Ok(response) if response.status == 200 => {
                traffic.succeeded.fetch_add(1, Ordering::Relaxed);
                if response.header("connection").eq_ignore_ascii_case("close") {
                    at += 1;
                } else {
                    open = Some(connection);
                }
            }
            Ok(response) => traffic.failed(format!("{address}: {response:?}")),
            Err(error) => traffic.failed(format!("{address} gave no response: {error}")),
        }
    }
}

/// Waits until the clients have sent more commands.
async fn goes_on(traffic: &Traffic) {
    let before = traffic.succeeded.load(Ordering::Relaxed);
    eventually("clients go on", async || {
        (traffic.succeeded.load(Ordering::Relaxed) >= before + 100).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_all_nodes_are_restarted_one_after_the_other() {
    let mut cluster = Cluster::start(3, "counter", &[]);
    cluster.leader().await;
    let addresses: Vec<String> = cluster.nodes.iter().map(|node| node.http().0).collect();
    let traffic = Arc::new(Traffic::default());
    let mut clients = JoinSet::new();
    for first in 0..6 {
        clients.spawn(client(addresses.clone(), first, Arc::clone(&traffic)));
    }
    let mut stopped_leaders = 0;
    for at in 0..3 {
        goes_on(&traffic).await;
        let leader = cluster.leader().await;
        let node = &mut cluster.nodes[at];
        let logged = node.log().len();
        node.signal("TERM");
        let ended = tokio::task::block_in_place(|| node.wait());
        assert!(ended.success(), "{}", node.log());
        if leader == at {
            stopped_leaders += 1;
            let log = node.log();
            assert!(
                log[logged..].contains("leadership was transferred"),
                "{log}"
            );
        }
        goes_on(&traffic).await;
        cluster.nodes[at].start();
        let node = &cluster.nodes[at];
        eventually("the node is ready", async || {
            (node.http().get("/readyz").await.ok()?.status == 200).then_some(())
        })
        .await;
    }
    goes_on(&traffic).await;
    traffic.ends.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.expect("no panic");
    }
    assert!(stopped_leaders > 0, "no leader was stopped");
    let failures = std::mem::take(&mut *traffic.failures.lock().expect("no panic"));
    assert_eq!(failures, Vec::<String>::new());
    let succeeded = traffic.succeeded.load(Ordering::Relaxed);
    let read = cluster.nodes[0].http().query(r#"{"get":{}}"#).await;
    assert_eq!(
        read.expect("a response").json(),
        json!({"value": succeeded}),
        "each command was applied once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_waits_for_its_reply_gets_an_error_when_the_node_stops() {
    let mut cluster = Cluster::start(1, "queue", &QUICK);
    cluster.leader().await;
    let node = &mut cluster.nodes[0];
    let http = node.http();
    let waiting = tokio::spawn(async move {
        let reserve = json!({"reserve": {"queues": ["q"], "worker": "w", "lease_ms": 1000, "wait_ms": 50_000}});
        let headers = [("oarlock-timeout-ms", "60000")];
        http.send("POST", "/v1/apply", &headers, reserve.to_string())
            .await
    });
    eventually("the command is deferred", async || {
        (node.metric("oarlock_deferred_commands").await? == 1).then_some(())
    })
    .await;
    node.signal("TERM");
    let response = waiting.await.expect("no panic").expect("a response");
    assert_eq!(response.status, 504, "{response:?}");
    assert_eq!(response.error_code(), "timeout");
    let ended = tokio::task::block_in_place(|| node.wait());
    assert!(ended.success(), "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_data_directory_is_removed_stops() {
    let mut cluster = Cluster::start(1, "counter", &QUICK);
    cluster.leader().await;
    let aside = cluster.dir().join("aside");
    let node = &mut cluster.nodes[0];
    let applied = node.http().apply(r#"{"add":{"by":1}}"#).await;
    assert_eq!(applied.expect("a response").status, 200);
    fs::rename(node.data_dir(), &aside).expect("renamed");
    let ended = tokio::task::block_in_place(|| node.wait());
    assert_eq!(ended.code(), Some(1), "{}", node.log());
    let log = node.log();
    assert!(log.contains("was removed or replaced"), "{log}");
    // The node may have written files at the path since.
    let _ = fs::remove_dir_all(node.data_dir());
    fs::rename(&aside, node.data_dir()).expect("renamed");
    node.start();
    eventually("what was acknowledged is there", async || {
        let read = node.http().query(r#"{"get":{}}"#).await.ok()?;
        (read.status == 200 && read.json() == json!({"value": 1})).then_some(())
    })
    .await;
}
