//! Clients of the lock service, in whatever language its guest is written.

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::cluster::{apply_somewhere, eventually, patiently, pause};
use crate::http::connection::HttpResponse;
use crate::http::{Http, NoResponse};

/// The command that acquires the lock `l`.
pub fn acquire(owner: &str, lease_ms: u64, wait_ms: u64) -> String {
    let fields = json!({"lock": "l", "owner": owner, "lease_ms": lease_ms, "wait_ms": wait_ms});
    json!({"acquire": fields}).to_string()
}

/// Sends a command with a key, and waits long for the response.
///
/// # Errors
/// No complete response came.
pub async fn send_with_key(
    http: &Http,
    key: &str,
    command: String,
) -> Result<HttpResponse, NoResponse> {
    let headers = [("idempotency-key", key), ("oarlock-timeout-ms", "50000")];
    http.send("POST", "/v1/apply", &headers, command).await
}

/// Sends a command with a key to one node after the other, until one responds. Returns the response and how often it was
/// sent.
///
/// # Panics
/// None does.
pub async fn send_to_some(targets: &[Http], key: &str, command: &str) -> (HttpResponse, usize) {
    let sending = async {
        for sent in 0.. {
            let response = send_with_key(&targets[sent % targets.len()], key, command.to_owned());
            match response.await {
                Ok(response) if ![429, 503, 504].contains(&response.status) => {
                    return (response, sent + 1);
                }
                _ => pause().await,
            }
        }
        unreachable!("a loop without an end")
    };
    patiently("a node responds", sending).await
}

/// The fence of a lock that was granted.
///
/// # Panics
/// It was not.
pub fn fence(response: &HttpResponse) -> u64 {
    assert_eq!(response.status, 200, "{response:?}");
    let fence = response.json()["granted"]["fence"].as_u64();
    fence.unwrap_or_else(|| panic!("not granted: {response:?}"))
}

/// A client that waits for the lock `l`.
pub struct LockClient(JoinHandle<Result<HttpResponse, NoResponse>>);

impl LockClient {
    /// Sends `acquire` to this node, with the owner's name as the key.
    pub fn start(http: &Http, owner: &'static str, lease_ms: u64) -> Self {
        let http = http.clone();
        Self(tokio::spawn(async move {
            send_with_key(&http, owner, acquire(owner, lease_ms, 45_000)).await
        }))
    }

    /// Waits for the response.
    ///
    /// # Errors
    /// The connection broke.
    ///
    /// # Panics
    /// The task panicked.
    pub async fn response(self) -> Result<HttpResponse, NoResponse> {
        self.0.await.expect("sending does not panic")
    }

    /// Waits for the lock. Returns its fence.
    ///
    /// # Panics
    /// It was not granted.
    pub async fn fence(self) -> u64 {
        fence(&self.response().await.expect("its node is alive"))
    }
}

/// What the query about the lock `l` returns, if it does.
pub async fn lock(http: &Http) -> Option<Value> {
    let response = http.query(r#"{"get":{"lock":"l"}}"#).await.ok()?;
    (response.status == 200).then(|| response.json())
}

/// Waits until so many clients wait for the lock `l`.
pub async fn until_waiting(http: &Http, count: u64) {
    eventually("the client waits", async || {
        (lock(http).await?["waiting"] == count).then_some(())
    })
    .await;
}

/// Releases the lock `l`.
///
/// # Panics
/// It is refused.
pub async fn release(targets: &[Http], fence: u64) {
    let command = json!({"release": {"lock": "l", "fence": fence}}).to_string();
    let reply = apply_somewhere(targets, &format!("release-{fence}"), &command).await;
    assert_eq!(reply, json!({"released": {}}));
}
