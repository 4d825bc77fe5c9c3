//! The release before this one and this one in one cluster, rolled forward and back while clients write: no request
//! fails. On the way back each node starts with an empty directory. `OARLOCK_TEST_RELEASE_BEFORE` names the binary of the release before; without it there is nothing to test.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use oarlock_tests::process::{
    Cluster, Http, Node, QUICK, apply_somewhere, eventually, oarlock, run,
};
use serde_json::json;

fn release_before() -> Option<PathBuf> {
    let path = std::env::var_os("OARLOCK_TEST_RELEASE_BEFORE")?;
    Some(PathBuf::from(path))
}

/// A client that enqueues one task after the other on whichever node takes it, until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    client: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(targets: Vec<Http>) -> Self {
        let (stop, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, count) = (stop.clone(), acknowledged.clone());
        let client = tokio::spawn(async move {
            for n in 1_u64.. {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let command = json!({"enqueue": {"queue": "q", "payload": {"n": n}}}).to_string();
                // It panics if the command is refused.
                let reply = apply_somewhere(&targets, &format!("k{n}"), &command).await;
                assert_eq!(reply["id"], n, "each task is enqueued once");
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            stop,
            acknowledged,
            client,
        }
    }

    /// Waits until more tasks are acknowledged.
    async fn goes_on(&self) {
        let wanted = self.acknowledged.load(Ordering::SeqCst) + 20;
        eventually("more tasks are acknowledged", async || {
            assert!(!self.client.is_finished(), "a request has failed");
            (self.acknowledged.load(Ordering::SeqCst) >= wanted).then_some(())
        })
        .await;
    }

    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.client.await.expect("no request has failed");
        self.acknowledged.load(Ordering::SeqCst)
    }
}

async fn ready(node: &Node) {
    eventually("the node is ready", async || {
        let response = node.http().get("/readyz").await.ok()?;
        (response.status == 200).then_some(())
    })
    .await;
}

/// The release before refuses a directory with segments and leaves it unchanged. The way back is an empty directory: the node rejoins.
fn goes_back(node: &mut Node) {
    node.start();
    assert_eq!(node.wait().code(), Some(1));
    let log = node.log();
    assert!(log.contains("has format 4"), "{log}");
    std::fs::remove_dir_all(node.data_dir()).expect("a directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_releases_run_together_forward_and_back_without_a_failed_request() {
    let Some(before) = release_before() else {
        return println!("not tested: OARLOCK_TEST_RELEASE_BEFORE names no binary");
    };
    let now = oarlock().to_owned();
    let mut cluster = Cluster::prepare(3, "queue", &QUICK);
    for node in &mut cluster.nodes {
        // Each binary runs its own task queue: both can run the log of the other.
        node.options_mut()
            .args
            .retain(|arg| !arg.ends_with(".wasm") && arg != "--state-machine");
        node.use_binary(&before);
        node.start();
    }
    cluster.leader().await;
    let load = Load::start(cluster.nodes.iter().map(Node::http).collect());
    load.goes_on().await;
    for binary in [&now, &before, &now] {
        for at in [2, 0, 1] {
            let node = &mut cluster.nodes[at];
            node.signal("TERM");
            node.wait();
            node.use_binary(binary);
            if *binary == before {
                goes_back(node);
            }
            node.start();
            ready(&cluster.nodes[at]).await;
            load.goes_on().await;
        }
        cluster.converged_under_load().await;
    }
    let endpoint = cluster.nodes[0].options_mut().client_addr.clone();
    let raised = run(["settings", "raise-level", "--endpoints", &endpoint]);
    assert!(raised.status.success(), "{raised:?}");
    load.goes_on().await;
    // At level 1 a node of the release before is kept out, and the others go on.
    let node = &mut cluster.nodes[2];
    node.signal("TERM");
    node.wait();
    node.use_binary(&before);
    node.start();
    load.goes_on().await;
    cluster.nodes[2].kill();
    cluster.nodes[2].use_binary(&now);
    cluster.nodes[2].start();
    ready(&cluster.nodes[2]).await;
    let acknowledged = load.end().await;
    cluster.converged().await;
    for node in &cluster.nodes {
        let response = node
            .http()
            .query(r#"{"stats":{}}"#)
            .await
            .expect("a response");
        let stats = response.json();
        assert_eq!(stats["queues"]["q"]["ready"], acknowledged, "{stats}");
    }
}
