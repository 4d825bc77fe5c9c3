//! Another module in the place of the one that runs.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde::{Deserialize, Serialize};

use super::operate::encoded;
use super::{Client, answer, get};
use crate::error::RequestError;
use crate::retry::Replay;
use crate::status::ModuleInfo;
use crate::transport::HttpCall;

/// What an answer may take beyond the time that voters are given.
const GRACE: Duration = Duration::from_secs(15);

/// How an upgrade is to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeOptions {
    /// Everything but the switch.
    pub dry_run: bool,
    /// How long voters that are behind or away are waited for.
    pub wait: Duration,
    /// Who asks for it, for the history.
    pub by: String,
}

/// A module that runs, or that would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeDone {
    /// Its digest.
    pub sha256: String,
    /// Its name for itself.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// The entry from which on it runs; 0 for the one that the log began with, `None` after a dry run.
    pub activated_index: Option<u64>,
    /// Nothing was switched.
    pub dry_run: bool,
}

/// What a node knows of upgrades.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeHistory {
    /// Rises with each change on that node.
    pub revision: u64,
    /// What runs.
    pub state_machine: ModuleInfo,
    /// The upgrade under way.
    pub upgrade: Option<UpgradeProgress>,
    /// Those that have ended, the latest first.
    pub history: Vec<EndedUpgrade>,
}

/// An upgrade under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeProgress {
    /// The entry that began it.
    pub index: u64,
    /// Digest of the new module.
    pub sha256: String,
    /// Who asked for it.
    pub by: String,
    /// Nothing will be switched.
    pub dry_run: bool,
    /// Length of the module.
    pub bytes: u64,
    /// How much of it has arrived.
    pub received_bytes: u64,
    /// When it is given up, in milliseconds of the cluster's time.
    pub deadline_ms: u64,
    /// How far each node is.
    pub nodes: BTreeMap<String, UpgradeNodeProgress>,
}

/// How far a node is in an upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeNodeProgress {
    /// `waiting`, `ready` or `refused`.
    pub state: String,
    /// Digest of the state that the new module came to there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Why it refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An upgrade that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedUpgrade {
    /// The entry that began it.
    pub index: u64,
    /// The entry that ended it: from there on an activated module runs.
    pub ended_index: u64,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// Who asked for it.
    pub by: String,
    /// Digest of the module.
    pub sha256: String,
    /// Name of a module that was activated.
    pub name: Option<String>,
    /// Version of a module that was activated.
    pub version: Option<u32>,
    /// `activated`, `tried_out`, or why it was given up.
    pub end: String,
    /// Why the upgrade ended this way, as a text.
    #[serde(alias = "words")]
    pub message: String,
}

impl Client {
    /// Has another module run, and returns once it does. It is safe to send again: who asks for what is under way waits
    /// for that, and for what runs already there is nothing to do.
    ///
    /// # Errors
    /// Where no node answers, or the module is refused: the code says why, as in `module_refused`, `voters_not_ready` or
    /// `upgrade_under_way`. The module before then goes on.
    pub async fn upgrade(
        &self,
        module: impl Into<Bytes>,
        options: &UpgradeOptions,
    ) -> Result<UpgradeDone, RequestError> {
        let target = format!(
            "/v1/state-machine?dry_run={}&wait_ms={}&by={}",
            options.dry_run,
            options.wait.as_millis(),
            encoded(&options.by),
        );
        let call = HttpCall {
            method: Method::POST,
            target: target.into(),
            key: None,
            body: module.into(),
            max_reply_bytes: self.shared.options.max_reply_bytes,
        };
        // One attempt may take all of the time: a node that goes away takes its connection with it.
        let (endpoint, answer) = self
            .call(&call, 2 * (options.wait + GRACE), Replay::Safe)
            .await
            .map_err(|error| error.error)?;
        answer::json(&endpoint, &answer::expect_ok(&endpoint, answer)?)
    }

    /// What a node knows of upgrades; with a revision, as soon as there is something newer or after this client's
    /// timeout. A revision is of one node: with several endpoints another one may answer, and at once.
    ///
    /// # Errors
    /// Where no node answers.
    pub async fn upgrades(&self, after: Option<u64>) -> Result<UpgradeHistory, RequestError> {
        let mut call = get("/v1/upgrades", self.shared.options.max_reply_bytes);
        if let Some(revision) = after {
            call.target = format!("/v1/upgrades?after={revision}").into();
        }
        let (endpoint, answer) = self
            .call(&call, self.shared.options.timeout, Replay::Safe)
            .await
            .map_err(|error| error.error)?;
        answer::json(&endpoint, &answer::expect_ok(&endpoint, answer)?)
    }
}
