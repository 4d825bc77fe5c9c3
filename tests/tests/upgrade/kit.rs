//! Modules to upgrade to, and how far an upgrade is as a node tells it.

use bytes::Bytes;
use oarlock_tests::process::{Answer, Cluster, Http, Unanswered, eventually, guest};
use serde_json::Value;
use tokio::task::JoinHandle;

/// Elections within half a second, so that a test has time for several.
pub(crate) const QUICK: [&str; 6] = [
    "--election-timeout-min-ms",
    "300",
    "--election-timeout-max-ms",
    "600",
    "--heartbeat-interval-ms",
    "50",
];

/// A kept guest with a note of so many bytes in it: another module that does the same.
pub(crate) fn noted(name: &str, note: u8, bytes: usize) -> Bytes {
    let mut module = std::fs::read(guest(name)).expect("a module");
    // A custom section: its kind, its length, a name of one letter, and the note.
    module.push(0);
    let mut length = bytes + 2;
    while length >= 0x80 {
        module.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    module.extend_from_slice(&[length as u8, 1, b'n']);
    module.resize(module.len() + bytes, note);
    module.into()
}

/// Sends the module to a node until one takes it: leaders come and go here.
pub(crate) async fn upgrade(targets: &[Http], module: &Bytes) -> Answer {
    let headers = [("oarlock-timeout-ms", "50000")];
    eventually("a node has the upgrade done", async || {
        for target in targets {
            let sent = target.send("POST", "/v1/state-machine", &headers, module.clone());
            if let Ok(answer) = sent.await
                && ![429, 503, 504].contains(&answer.status)
            {
                return Some(answer);
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

/// What a node tells of upgrades, once `find` finds something in it. It is asked to answer as soon as there is news.
pub(crate) async fn told<T>(http: &Http, what: &str, find: impl Fn(&Value) -> Option<T>) -> T {
    let mut path = "/v1/upgrades".to_owned();
    eventually(what, async || {
        loop {
            let headers = [("oarlock-timeout-ms", "2000")];
            let answer = http.send("GET", &path, &headers, "").await.ok()?;
            let told = answer.json();
            if let Some(found) = find(&told) {
                return Some(found);
            }
            path = format!("/v1/upgrades?after={}", told["revision"]);
        }
    })
    .await
}

/// Asks one node, once, beside what the test goes on with.
pub(crate) fn ask(target: Http, module: Bytes) -> JoinHandle<Result<Answer, Unanswered>> {
    tokio::spawn(async move {
        let headers = [("oarlock-timeout-ms", "50000")];
        let sent = target.send("POST", "/v1/state-machine", &headers, module);
        sent.await
    })
}
