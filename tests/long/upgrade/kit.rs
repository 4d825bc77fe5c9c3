//! Requests of upgrades by a test, and the progress of an upgrade as a node reports it.

use bytes::Bytes;
use oarlock_tests::process::{Cluster, Http, HttpResponse, NoResponse, eventually};
use serde_json::Value;
use tokio::task::JoinHandle;

/// Sends the module to a node until one takes it: leaders come and go here.
pub(crate) async fn upgrade(targets: &[Http], module: &Bytes) -> HttpResponse {
    let headers = [("oarlock-timeout-ms", "50000")];
    eventually("a node has the upgrade done", async || {
        for target in targets {
            let sent = target.send("POST", "/v1/state-machine", &headers, module.clone());
            if let Ok(response) = sent.await
                && ![429, 503, 504].contains(&response.status)
            {
                return Some(response);
            }
        }
        None
    })
    .await
}

/// Waits until every node runs this module.
pub(crate) async fn all_run(cluster: &Cluster, sha256: &Value) {
    for node in &cluster.nodes {
        eventually("the node runs the new module", async || {
            let status = node.http().status().await?;
            (status["state_machine"]["sha256"] == *sha256).then_some(())
        })
        .await;
    }
}

/// Digest of a module, as the host would name it.
pub(crate) fn sha256(module: &Bytes) -> String {
    oarlock_wasm::Sha256::of(module).to_string()
}

/// The upgrades that a node reports, once `find` finds something in them. The request waits for news.
pub(crate) async fn told<T>(http: &Http, what: &str, find: impl Fn(&Value) -> Option<T>) -> T {
    let mut path = "/v1/upgrades".to_owned();
    eventually(what, async || {
        loop {
            let headers = [("oarlock-timeout-ms", "2000")];
            let response = http.send("GET", &path, &headers, "").await.ok()?;
            let told = response.json();
            if let Some(found) = find(&told) {
                return Some(found);
            }
            path = format!("/v1/upgrades?after={}", told["revision"]);
        }
    })
    .await
}

/// Sends the upgrade to one node, once, while the test continues.
pub(crate) fn ask(target: Http, module: Bytes) -> JoinHandle<Result<HttpResponse, NoResponse>> {
    tokio::spawn(async move {
        let headers = [("oarlock-timeout-ms", "50000")];
        let sent = target.send("POST", "/v1/state-machine", &headers, module);
        sent.await
    })
}
