//! Data of the upgrade routes: `POST /v1/state-machine` and `GET /v1/upgrades`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::status::ModuleInfo;

/// How to carry out an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeOptions {
    /// Run every check on every voter, but do not activate the module.
    pub dry_run: bool,
    /// Allow a module with another name than the active one.
    pub replace_machine: bool,
    /// How long the leader waits for voters to become ready. After that it aborts the upgrade and the current module
    /// keeps running. The node accepts 1 ms to 1 hour.
    pub wait: Duration,
    /// Who requests the upgrade: shown in the history. At most 128 bytes.
    pub by: String,
    /// The signature of the module, for nodes that accept signed modules only: what `oarlock sign-module` prints.
    pub signature: Option<String>,
}

/// The module that is active after an upgrade, or that passed a dry run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeDone {
    /// SHA-256 of the module's bytes, in hexadecimal.
    pub sha256: String,
    /// The module's name.
    pub name: String,
    /// The module's version.
    pub version: u32,
    /// Fingerprint of the layout of the module's state. `None`: the module does not tell it.
    #[serde(default)]
    pub layout: Option<String>,
    /// Index of the entry that activated the module. 0: the cluster started with it. `None`: dry run.
    pub activated_index: Option<u64>,
    /// Whether this was a dry run.
    pub dry_run: bool,
}

/// The active module, the upgrade in progress and the past upgrades, as one node reports them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeHistory {
    /// Grows with each change on that node. It is local to the node.
    pub revision: u64,
    /// The active module.
    pub state_machine: ModuleInfo,
    /// The upgrade in progress.
    pub upgrade: Option<UpgradeProgress>,
    /// Past upgrades, newest first.
    pub history: Vec<EndedUpgrade>,
    /// The module with which the log begins. `None` in responses of earlier releases.
    #[serde(default)]
    pub first_module: Option<FirstModuleInfo>,
}

/// The module with which the log begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstModuleInfo {
    /// SHA-256 of the module, in hexadecimal.
    pub sha256: String,
    /// Name of the module, if the node knows it.
    pub name: Option<String>,
    /// Version of the module, if the node knows it.
    pub version: Option<u32>,
}

/// An upgrade in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeProgress {
    /// Index of the entry that began the upgrade.
    pub index: u64,
    /// SHA-256 of the new module, in hexadecimal.
    pub sha256: String,
    /// Who requested the upgrade.
    pub by: String,
    /// Whether this is a dry run.
    pub dry_run: bool,
    /// Size of the module, in bytes.
    pub bytes: u64,
    /// Bytes of the module that the node has received.
    pub received_bytes: u64,
    /// Deadline of the upgrade, in milliseconds of the cluster's clock.
    pub deadline_ms: u64,
    /// Progress of each node, by node id.
    pub nodes: BTreeMap<String, UpgradeNodeProgress>,
}

/// Progress of one node in an upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeNodeProgress {
    /// `waiting`, `ready` or `refused`.
    pub state: String,
    /// Hash of the state that the new module produced on this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Why the node refused the module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A past upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedUpgrade {
    /// Index of the entry that began the upgrade.
    pub index: u64,
    /// Index of the entry that ended the upgrade. An activated module runs from this entry on.
    pub ended_index: u64,
    /// When the upgrade ended, in milliseconds since 1970-01-01T00:00:00Z, from the leader's clock.
    pub time_ms: u64,
    /// Who requested the upgrade.
    pub by: String,
    /// SHA-256 of the module, in hexadecimal.
    pub sha256: String,
    /// Name of the module, if it was activated or the node knows it.
    pub name: Option<String>,
    /// Version of the module, if it was activated or the node knows it.
    pub version: Option<u32>,
    /// `activated`, `dry_run_passed` for a dry run, or a code for the reason of the abort.
    pub end: String,
    /// Why the upgrade ended this way, as text.
    pub message: String,
}
