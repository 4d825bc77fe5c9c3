//! Upgrades of the module.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;

use super::{Client, get, response};
use crate::error::RequestError;
use crate::retry::Replay;
use crate::transport::{HttpCall, percent_encoded};
use crate::upgrade::{UpgradeDone, UpgradeHistory, UpgradeOptions};

/// Time for upload, checks and response, in addition to [`UpgradeOptions::wait`].
const GRACE: Duration = Duration::from_secs(15);

impl Client {
    /// Upgrades the cluster to another module and returns once it is active. It is safe to send the request again: a
    /// request for the upgrade in progress waits for that one, and a request for the active module changes nothing.
    ///
    /// # Errors
    /// No node responds, or the upgrade was refused: see the code of [`RequestError::Invalid`], such as
    /// `module_refused`, `another_machine`, `layout_changed`, `voters_not_ready` or `upgrade_under_way`. The current module keeps running.
    pub async fn upgrade(
        &self,
        module: impl Into<Bytes>,
        options: &UpgradeOptions,
    ) -> Result<UpgradeDone, RequestError> {
        let mut target = format!(
            "/v1/state-machine?dry_run={}&wait_ms={}&by={}",
            options.dry_run,
            options.wait.as_millis(),
            percent_encoded(&options.by),
        );
        // Only if it is needed: nodes of earlier releases do not know it.
        if options.replace_machine {
            target.push_str("&replace_machine=true");
        }
        if let Some(signature) = &options.signature {
            target.push_str("&signature=");
            target.push_str(&percent_encoded(signature).to_string());
        }
        let call = HttpCall {
            method: Method::POST,
            target: target.into(),
            key: None,
            content_type: Some("application/wasm"),
            body: module.into(),
            max_reply_bytes: self.shared.options.max_reply_bytes,
        };
        // Time for two attempts: the node may stop during the first one.
        let (endpoint, reply) = self
            .call(&call, 2 * (options.wait + GRACE), Replay::Safe)
            .await
            .map_err(|error| error.error)?;
        response::json(&endpoint, &response::expect_ok(&endpoint, reply)?)
    }

    /// Active module, upgrade in progress and past upgrades. With `after`, a revision of an earlier response, the node
    /// responds once there is a newer revision, or after this client's timeout. A revision is local to a node: if
    /// another endpoint responds, it responds at once.
    ///
    /// # Errors
    /// No node responds.
    pub async fn upgrades(&self, after: Option<u64>) -> Result<UpgradeHistory, RequestError> {
        let mut call = get("/v1/upgrades", self.shared.options.max_reply_bytes);
        if let Some(revision) = after {
            call.target = format!("/v1/upgrades?after={revision}").into();
        }
        let (endpoint, reply) = self
            .call(&call, self.shared.options.timeout, Replay::Safe)
            .await
            .map_err(|error| error.error)?;
        response::json(&endpoint, &response::expect_ok(&endpoint, reply)?)
    }
}
