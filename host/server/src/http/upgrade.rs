//! `/v1/state-machine`: the active module and upgrades. `/v1/upgrades`: the upgrade in progress and past upgrades.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::Response;
use bytes::Bytes;
use oarlock_wasm::{
    AbortCause, CheckResult, GuestModule, MAX_SIGNATURE_BYTES, MachineLimits, PastUpgrade, Sha256,
    UpgradeRefusal, UpgradeStatus, UpgradeSummary,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use task_queue_raft::SubmitError;
use tokio::time::Instant;

use super::app::App;
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::operations::{self, Operation};
use super::request::{self, BodyLimit};
use super::waiting_body::SharedBody;
use crate::status::ModuleStatus;
use crate::upgrades::{
    self, SuccessionError, Upgrade, UpgradeError, UpgradeRequestOptions, load_module,
};

/// Default and maximum of `wait_ms`, in milliseconds.
pub(super) const DEFAULT_WAIT_MS: u64 = 60_000;
pub(super) const MAX_WAIT_MS: u64 = 3_600_000;
/// The first cluster level whose log contains signatures of modules.
const FIRST_LEVEL_WITH_SIGNATURES: u32 = 1;
/// How much longer than `wait_ms` the response may take, unless the request has its own timeout.
const GRACE: Duration = Duration::from_secs(10);
/// Longest `by`, in bytes.
pub(super) const MAX_BY_BYTES: usize = 128;

/// Returns the bytes of the active module. The `ETag` is its SHA-256 digest.
pub(super) async fn module(State(app): State<Arc<App>>) -> Response {
    let module = app.machine.module();
    let mut response = Response::new(Body::from(module.bytes().clone()));
    response.extensions_mut().insert(SharedBody);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/wasm"));
    // Hexadecimal digits in quotes are always a valid header.
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", module.sha256())) {
        headers.insert(ETAG, tag);
    }
    response
}

/// The query string of `POST /v1/state-machine`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpgradeParams {
    /// Check the module on all voters, and don't activate it.
    #[serde(default)]
    dry_run: bool,
    /// The module may have another name than the active one.
    #[serde(default)]
    replace_machine: bool,
    /// How long the voters may take to prepare, in milliseconds: 1 to 3,600,000, by default 60,000.
    #[serde(default)]
    wait_ms: Option<u64>,
    /// Who requested the upgrade, for the history: up to 128 bytes, by default `http`.
    #[serde(default)]
    by: Option<String>,
    /// The signature of the module: what `oarlock sign-module` prints.
    #[serde(default)]
    signature: Option<String>,
}

impl UpgradeParams {
    fn into_options(self) -> Result<UpgradeRequestOptions, ApiError> {
        let by = self.by.unwrap_or_else(|| "http".to_owned());
        let fits = by.len() <= MAX_BY_BYTES && !by.chars().any(char::is_control);
        let wait_ms = self.wait_ms.unwrap_or(DEFAULT_WAIT_MS);
        let signature = self.signature.as_deref().unwrap_or_default();
        if signature.len() > MAX_SIGNATURE_BYTES {
            return Err(invalid_params(&format!(
                "signature must have at most {MAX_SIGNATURE_BYTES} bytes"
            )));
        }
        if fits && (1..=MAX_WAIT_MS).contains(&wait_ms) {
            return Ok(UpgradeRequestOptions {
                dry_run: self.dry_run,
                replace_machine: self.replace_machine,
                wait_ms,
                by,
                signature: self.signature,
            });
        }
        Err(invalid_params(&format!(
            "wait_ms must be 1 to {MAX_WAIT_MS}, and by at most {MAX_BY_BYTES} bytes without control characters"
        )))
    }
}

fn invalid_params(why: &str) -> ApiError {
    ApiError::malformed(
        format!("the query string of the URL is invalid: {why}"),
        "use the parameters dry_run=true, replace_machine=true, wait_ms=60000, by=NAME and signature=TEXT, all optional",
    )
}

/// The response to an upgrade: the module that is active, or that passed the dry run.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UpgradeResponse {
    /// SHA-256 of the module.
    sha256: String,
    /// Name in the module's description.
    name: String,
    /// Version in the module's description.
    version: u32,
    /// Fingerprint of the layout of the state; null if the module does not tell it.
    layout: Option<String>,
    /// The entry that activated the module; 0 for the first module of the cluster, null after a dry run.
    activated_index: Option<u64>,
    /// Whether the module was only checked.
    dry_run: bool,
}

impl UpgradeResponse {
    fn new(module: &GuestModule, activated_index: Option<u64>) -> Self {
        let description = module.description();
        Self {
            sha256: module.sha256().to_string(),
            name: description.name.clone(),
            version: description.version,
            layout: description.layout.clone(),
            activated_index,
            dry_run: activated_index.is_none(),
        }
    }
}

/// Activates another module, and responds once it is active on this node. A second request for the same module waits
/// for the upgrade in progress.
pub(super) async fn upgrade(
    State(app): State<Arc<App>>,
    params: Result<Query<UpgradeParams>, QueryRejection>,
    request: Request,
) -> Result<Json<UpgradeResponse>, ApiError> {
    let Query(mut params) = params.map_err(|error| invalid_params(&error.body_text()))?;
    params.by = Some(request::operator(request.extensions(), params.by));
    let options = params.into_options()?;
    let (parts, body) = request.into_parts();
    let wait = Duration::from_millis(options.wait_ms);
    let timeout = request::timeout_or(&parts.headers, wait + GRACE)?;
    let deadline = Instant::now() + timeout;
    let limits = app.machine.limits();
    let largest = BodyLimit {
        bytes: limits.module_bytes,
        hint: "build a smaller module, without debug information, or raise the limit with `oarlock settings set module_bytes=N`",
    };
    let (body, _share) = request::body_up_to(&app, &parts.headers, body, largest).await?;
    let how = if options.dry_run { " dry run" } else { "" };
    let details = format!("{}{how}", Sha256::of(&body));
    let operation = Operation::new(&parts.extensions, "upgradeStateMachine", details);
    let upgrading = carry_out(&app, body, limits, options, deadline);
    operations::recorded(&app, operation, upgrading)
        .await
        .map(Json)
}

/// Checks a module and activates it.
async fn carry_out(
    app: &App,
    body: Bytes,
    limits: MachineLimits,
    options: UpgradeRequestOptions,
    deadline: Instant,
) -> Result<UpgradeResponse, ApiError> {
    check_binary(&body)?;
    check_signature(app, &body, &options)?;
    let module = load_module(&app.checks, app.machine.module(), body, limits)
        .await
        .map_err(of_upgrade)?;
    let upgrade = Upgrade {
        raft: &app.raft,
        upgrades: &app.upgrades,
        machine: &app.machine,
        module: &module,
        options,
        deadline,
    };
    // Another upgrade may have ended while this module was compiled.
    let activated_index = if module.sha256() == app.machine.module().sha256() {
        Some(upgrade.active_since())
    } else {
        let upgraded = tokio::time::timeout_at(deadline, upgrade.run()).await;
        let upgraded = upgraded.unwrap_or(Err(UpgradeError::TimedOut));
        upgraded.map_err(of_upgrade)?
    };
    let activated_index = activated_index.map(|index| index.0);
    Ok(UpgradeResponse::new(&module, activated_index))
}

/// Nodes read the text format from files only: its parser is one more for hostile bytes.
fn check_binary(module: &[u8]) -> Result<(), ApiError> {
    if GuestModule::is_binary(module) {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::ModuleRefused,
        "the body is not a WebAssembly binary; the current module stays active",
        "send the file that the build wrote; `oarlock upgrade FILE` also takes the text format, and sends a binary",
    ))
}

/// Checks the signature of a module before the module is compiled. The other voters check it too.
///
/// # Errors
/// 409 if the log can't contain a signature. 422 if this node does not accept it.
fn check_signature(
    app: &App,
    module: &[u8],
    options: &UpgradeRequestOptions,
) -> Result<(), ApiError> {
    let signature = options.signature.as_deref();
    let level = app.raft.watch_status().borrow().cluster_level;
    if signature.is_some() && level < FIRST_LEVEL_WITH_SIGNATURES {
        return Err(ApiError::new(
            ErrorCode::LevelTooLow,
            "the cluster is at level 0, whose log can't contain the signature of a module; the current module stays active",
            "run this release on every node, then send POST /v1/settings/raise-level",
        ));
    }
    let checked = upgrades::check_signature(app.signers.as_ref(), Sha256::of(module), signature);
    checked.map_err(|error| {
        ApiError::new(
            ErrorCode::ModuleUnsigned,
            format!("{error}; the current module stays active"),
            "sign the module with `oarlock sign-module FILE --key KEY`; `oarlock upgrade FILE` then sends FILE.sig, over HTTP it is the \
             parameter `signature`",
        )
    })
}

/// The error response of an upgrade.
fn of_upgrade(error: UpgradeError) -> ApiError {
    let message = error.to_string();
    let with = |code, hint: &str| ApiError::new(code, message.clone(), hint);
    match &error {
        UpgradeError::InvalidModule(_) => with(
            ErrorCode::ModuleRefused,
            "`oarlock check FILE` runs the same check without a cluster",
        ),
        UpgradeError::Succession(SuccessionError::OtherName { .. }) => with(
            ErrorCode::AnotherMachine,
            "if you want to replace the guest, use `oarlock upgrade --replace-machine`, over HTTP replace_machine=true",
        ),
        UpgradeError::Succession(SuccessionError::OtherLayout { .. }) => with(
            ErrorCode::LayoutChanged,
            "raise the version of the guest and write `migrate`, which reads the state of the version before",
        ),
        UpgradeError::Refused(UpgradeRefusal::InProgress { .. }) => with(
            ErrorCode::UpgradeUnderWay,
            "GET /v1/upgrades shows its progress and its deadline",
        ),
        UpgradeError::Refused(_) => {
            with(ErrorCode::ModuleRefused, "the current module stays active")
        }
        UpgradeError::Aborted { cause, .. } => match cause {
            AbortCause::TimedOut => with(
                ErrorCode::VotersNotReady,
                "start or remove the nodes that the message names, or raise wait_ms; then send the request again",
            ),
            AbortCause::NodeRefused | AbortCause::NewRestoreFailed => {
                with(ErrorCode::ModuleRefused, FIX_MODULE)
            }
            AbortCause::StatesDiffer => with(ErrorCode::UpgradeStatesDiffer, FIX_MODULE),
            AbortCause::ModuleCorrupt
            | AbortCause::OldSnapshotFailed
            | AbortCause::JournalTooLarge => with(ErrorCode::UpgradeAbandoned, FIX_MODULE),
        },
        UpgradeError::Submit(SubmitError::TimedOut) => {
            outcome_unknown("a record of the upgrade was not committed in time")
        }
        UpgradeError::Submit(SubmitError::Stopped) => outcome_unknown("this node is stopping"),
        UpgradeError::Submit(error) => ApiError::of_command(error),
        UpgradeError::TimedOut | UpgradeError::Stopping => outcome_unknown(&message),
        UpgradeError::TooManyChecks => ApiError::overloaded("modules that wait for their check"),
        UpgradeError::CheckPanicked(_) | UpgradeError::UnexpectedReply(_) => {
            ApiError::internal(message)
        }
    }
}

const FIX_MODULE: &str = "fix the module (`migrate` with the guest SDK, else `restore`), and test it with `oarlock upgrade --dry-run` first, over HTTP dry_run=true";

fn outcome_unknown(why: &str) -> ApiError {
    ApiError::new(
        ErrorCode::Timeout,
        format!("{why}: the upgrade may still be activated or aborted"),
        "GET /v1/upgrades shows its progress; to wait for it, send the request again",
    )
}

/// The query string of `GET /v1/upgrades`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpgradesParams {
    /// Wait for another revision than this one.
    #[serde(default)]
    after: Option<u64>,
}

/// The response of `GET /v1/upgrades`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UpgradesResponse {
    /// Changes with every change of the other fields; see `after`.
    revision: u64,
    /// The active module.
    state_machine: ModuleStatus,
    /// The upgrade in progress, if there is one.
    upgrade: Option<UpgradeInProgress>,
    /// Latest first.
    history: Vec<HistoryRecord>,
    /// The module with which the log begins; null until the first node has recorded it.
    first_module: Option<FirstModule>,
}

/// The module with which the log begins.
#[derive(Debug, Serialize, JsonSchema)]
struct FirstModule {
    /// SHA-256 of the module.
    sha256: String,
    /// Null if this node has not run the module since it was started.
    name: Option<String>,
    /// Null if this node has not run the module since it was started.
    version: Option<u32>,
}

/// The upgrade in progress.
#[derive(Debug, Serialize, JsonSchema)]
struct UpgradeInProgress {
    /// The entry that began it.
    index: u64,
    /// SHA-256 of the new module.
    sha256: String,
    /// Who requested it.
    by: String,
    /// Whether the module is only checked.
    dry_run: bool,
    /// Size of the module.
    bytes: u64,
    /// Bytes of the module that are in the log.
    received_bytes: u64,
    /// When the upgrade is aborted unless all voters are ready, in milliseconds since 1970.
    deadline_ms: u64,
    /// All voters, and other nodes that have reported.
    nodes: BTreeMap<String, NodeReport>,
}

/// The progress of one node.
#[derive(Debug, Serialize, JsonSchema)]
struct NodeReport {
    /// `waiting`, `ready` or `refused`.
    state: &'static str,
    /// If ready: digest of the state that the new module wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    /// If refused: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl NodeReport {
    fn of(result: Option<&CheckResult>) -> Self {
        let (state, hash, reason) = match result {
            None => ("waiting", None, None),
            Some(CheckResult::Ready { state, .. }) => ("ready", Some(state.to_string()), None),
            Some(CheckResult::Refused { message }) => ("refused", None, Some(message.clone())),
        };
        Self {
            state,
            hash,
            reason,
        }
    }
}

/// A past upgrade.
#[derive(Debug, Serialize, JsonSchema)]
struct HistoryRecord {
    /// The entry that began it.
    index: u64,
    /// The entry that ended it. An activated module is active from here on.
    ended_index: u64,
    /// When it ended, in milliseconds since 1970.
    time_ms: u64,
    /// Who requested it.
    by: String,
    /// SHA-256 of the module.
    sha256: String,
    /// Null if the module was not activated, unless it was ready on this node since the node was started.
    name: Option<String>,
    /// Null where `name` is.
    version: Option<u32>,
    /// `activated`, `dry_run_passed` (a dry run), or the cause for which it was aborted.
    end: &'static str,
    /// The same as a sentence, with details.
    message: String,
}

impl HistoryRecord {
    /// `known`: name and version of the module, if this node knows them.
    fn of(past: &PastUpgrade, known: Option<(String, u32)>) -> Self {
        let module = past.module.clone().or(known);
        Self {
            index: past.upgrade.0,
            ended_index: past.ended.index.0,
            time_ms: past.ended.time_ms,
            by: past.by.clone(),
            sha256: past.sha256.to_string(),
            version: module.as_ref().map(|(_, version)| *version),
            name: module.map(|(name, _)| name),
            end: past.end.code(),
            message: past.end.to_string(),
        }
    }
}

/// Responds at once. With `?after=REVISION`, responds as soon as there is another revision, or at the timeout of the
/// request.
pub(super) async fn upgrades(
    State(app): State<Arc<App>>,
    params: Result<Query<UpgradesParams>, QueryRejection>,
    request: Request,
) -> Result<Json<UpgradesResponse>, ApiError> {
    let params = params.map_err(|error| {
        ApiError::malformed(
            format!(
                "the query string of the URL is invalid: {}",
                error.body_text()
            ),
            "use ?after=REVISION to wait for another revision, or no parameter",
        )
    })?;
    let timeout = request::timeout(request.headers())?;
    if let Some(after) = params.after {
        let changed = |upgrades: &UpgradeSummary| (upgrades.revision != after).then_some(());
        // After a timeout the response shows the same revision.
        let _ = tokio::time::timeout(timeout, app.upgrades.find(changed)).await;
    }
    Ok(Json(app.upgrades_response()))
}

impl App {
    fn upgrades_response(&self) -> UpgradesResponse {
        let upgrades = self.upgrades.now();
        let voters = self.raft.status().voters;
        let in_progress = |pending: &UpgradeStatus| {
            let reported = pending.reports.keys().cloned();
            let voters = voters.iter().map(|voter| voter.as_str().to_owned());
            let nodes = voters.chain(reported).map(|node| {
                let report = NodeReport::of(pending.reports.get(&node));
                (node, report)
            });
            UpgradeInProgress {
                index: pending.upgrade.0,
                sha256: pending.sha256.to_string(),
                by: pending.by.clone(),
                dry_run: pending.dry_run,
                bytes: pending.bytes,
                received_bytes: pending.received,
                deadline_ms: pending.deadline_ms,
                nodes: nodes.collect(),
            }
        };
        UpgradesResponse {
            revision: upgrades.revision,
            state_machine: self.machine.get().into(),
            upgrade: upgrades.pending.as_ref().map(in_progress),
            history: upgrades
                .past
                .iter()
                .rev()
                .map(|past| HistoryRecord::of(past, self.machine.known_module(past.sha256)))
                .collect(),
            first_module: upgrades.first.map(|sha256| {
                let (name, version) = self.machine.known_module(sha256).unzip();
                FirstModule {
                    sha256: sha256.to_string(),
                    name,
                    version,
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests;
