//! Fairness keys, and what needs attention.

use serde_json::{Map, Value, json};

use super::views::{FairnessKeysPage, StuckReport};
use super::{Queue, QueueError};

impl Queue {
    /// Changes `weight`, `concurrency` or `rate` of a fairness key of this queue. A field that is not given stays, and `null`
    /// restores the default.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn configure_key(
        &self,
        key: &str,
        settings: &Map<String, Value>,
    ) -> Result<(), QueueError> {
        let mut arguments = settings.clone();
        arguments.insert("queue".to_owned(), self.name().into());
        arguments.insert("key".to_owned(), key.into());
        self.done("configure_key", &Value::Object(arguments)).await
    }

    /// The fairness keys of this queue whose name follows `after`.
    ///
    /// # Errors
    /// See [`QueueError`]; code `no_such_queue`.
    pub async fn keys(&self, after: Option<&str>) -> Result<FairnessKeysPage, QueueError> {
        let arguments = json!({"queue": self.name(), "after": after});
        self.query("keys", &arguments).await
    }

    /// What needs attention in all queues: ready tasks that no worker takes, tasks near their last attempt, long leases.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn stuck(&self) -> Result<StuckReport, QueueError> {
        self.query("stuck", &json!({})).await
    }
}
