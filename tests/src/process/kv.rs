//! Commands and queries of the key-value store.

use serde_json::{Value, json};

use super::{Http, eventually};

/// The command that sets a key.
#[must_use]
pub fn put(key: &str, value: &str) -> String {
    json!({"put": {"key": key, "value": value}}).to_string()
}

/// The query of a key.
#[must_use]
pub fn get(key: &str) -> String {
    json!({"get": {"key": key}}).to_string()
}

/// Reads a key at one node, as soon as that node can.
pub async fn read(http: &Http, key: &str) -> Value {
    eventually("the node answers a query", async || {
        let response = http.query(get(key)).await.ok()?;
        (response.status == 200).then(|| response.json()["value"].clone())
    })
    .await
}
