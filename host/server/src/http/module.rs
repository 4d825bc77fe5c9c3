//! `/v1/state-machine`: the bytes of the guest that runs, and another one in its place. `/v1/upgrades`: how far that is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use oarlock_wasm::{
    AbortCause, CheckResult, CommandOutcome, Envelope, GuestModule, PastUpgrade, UpgradeBegin,
    UpgradeEnd, UpgradeOutcome, UpgradeRecord, UpgradeRefusal, UpgradeStatus, UpgradeSummary,
};
use serde::{Deserialize, Serialize};
use task_queue_raft::ids::Index;
use tokio::time::Instant;

use super::App;
use super::error::ApiError;
use super::request;

/// How much of a module travels in one entry, in bytes.
const CHUNK_BYTES: usize = 256 << 10;
/// How long voters may take, unless the request says otherwise; and the longest that it may say.
const WAIT_MS: u64 = 60_000;
const MAX_WAIT_MS: u64 = 3_600_000;
/// What an answer may take beyond that.
const GRACE: Duration = Duration::from_secs(10);
/// Longest name of who asks for an upgrade, in bytes.
const MAX_BY_BYTES: usize = 128;

pub(super) async fn module(State(app): State<Arc<App>>) -> Response {
    let module = app.machine.module();
    let mut response = Response::new(Body::from(module.bytes().clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/wasm"));
    // Hexadecimal digits in quotes are always a header.
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", module.sha256())) {
        headers.insert(ETAG, tag);
    }
    response
}

/// What an upgrade is to be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    wait_ms: Option<u64>,
    #[serde(default)]
    by: Option<String>,
}

impl Wish {
    fn checked(self) -> Result<Self, ApiError> {
        let by = self.by.as_deref().unwrap_or_default();
        let fits = by.len() <= MAX_BY_BYTES && !by.chars().any(char::is_control);
        let wait_ms = self.wait_ms.unwrap_or(WAIT_MS);
        if fits && (1..=MAX_WAIT_MS).contains(&wait_ms) {
            return Ok(self);
        }
        Err(wrong_address(&format!(
            "wait_ms is 1 to {MAX_WAIT_MS}, and by a name of at most {MAX_BY_BYTES} bytes"
        )))
    }
}

fn wrong_address(what: &str) -> ApiError {
    ApiError::malformed(
        format!("the address of the request makes no sense: {what}"),
        "give any of dry_run=true, wait_ms=60000 and by=NAME after a question mark, or nothing",
    )
}

/// A module that runs, or that would.
#[derive(Debug, Serialize)]
pub(super) struct Upgraded {
    sha256: String,
    name: String,
    version: u32,
    /// The entry from which on it runs; 0 for the one that the log began with, null after a dry run.
    activated_index: Option<u64>,
    dry_run: bool,
}

impl Upgraded {
    fn new(module: &GuestModule, activated_index: Option<u64>) -> Self {
        let description = module.description();
        Self {
            sha256: module.sha256().to_string(),
            name: description.name.clone(),
            version: description.version,
            activated_index,
            dry_run: activated_index.is_none(),
        }
    }
}

/// Has another module run, and answers once it does on this node. The same request may be sent again: it then waits for
/// the upgrade that is under way.
pub(super) async fn upgrade(
    State(app): State<Arc<App>>,
    wish: Result<Query<Wish>, QueryRejection>,
    request: Request,
) -> Result<Json<Upgraded>, ApiError> {
    let Query(wish) = wish.map_err(|error| wrong_address(&error.body_text()))?;
    let wish = wish.checked()?;
    let (parts, body) = request.into_parts();
    let wait = Duration::from_millis(wish.wait_ms.unwrap_or(WAIT_MS));
    let timeout = request::timeout_or(&parts.headers, wait + GRACE)?;
    let deadline = Instant::now() + timeout;
    let limit = app.limits.module_bytes;
    let (body, _share) = request::body_up_to(&app, &parts.headers, body, limit).await?;
    let module = check(&app, body).await?;
    if module.sha256() == app.machine.module().sha256() {
        return Ok(Json(runs(&app, &module)));
    }
    let asked = Asked {
        app: &app,
        module: &module,
        deadline,
    };
    let carrying = asked.carry_out(&wish);
    tokio::time::timeout_at(deadline, carrying)
        .await
        .unwrap_or_else(|_| Err(unknown("the upgrade did not end in time")))
}

/// This node looks first: what it refuses costs the log nothing.
async fn check(app: &App, bytes: Bytes) -> Result<GuestModule, ApiError> {
    let (active, limits) = (app.machine.module(), app.limits);
    let checking = tokio::task::spawn_blocking(move || active.load_another(bytes, &limits)).await;
    let checked = checking
        .map_err(|error| ApiError::internal(format!("checking the module failed: {error}")))?;
    checked.map_err(|error| {
        refused(
            StatusCode::UNPROCESSABLE_ENTITY,
            "module_refused",
            format!("{error}; the module before goes on"),
            "`oarlock check FILE` says the same without a cluster",
        )
    })
}

/// The module that runs already.
fn runs(app: &App, module: &GuestModule) -> Upgraded {
    let upgrades = app.upgrades.now();
    let since = upgrades.activated(module.sha256());
    Upgraded::new(module, Some(since.map_or(0, |past| past.ended.index.0)))
}

/// A request for an upgrade, on its way.
struct Asked<'a> {
    app: &'a App,
    module: &'a GuestModule,
    deadline: Instant,
}

impl Asked<'_> {
    async fn carry_out(&self, wish: &Wish) -> Result<Json<Upgraded>, ApiError> {
        let begin = UpgradeBegin {
            sha256: self.module.sha256(),
            bytes: self.module.bytes().len() as u64,
            wait_ms: wish.wait_ms.unwrap_or(WAIT_MS),
            dry_run: wish.dry_run,
            by: wish.by.clone().unwrap_or_else(|| "http".to_owned()),
        };
        let upgrade = match self.say(&UpgradeRecord::Begin(begin)).await? {
            (index, UpgradeOutcome::Begun) => index,
            (_, UpgradeOutcome::Refused(UpgradeRefusal::Active { .. })) => {
                return Ok(Json(runs(self.app, self.module)));
            }
            (_, UpgradeOutcome::Refused(refusal)) => self.join(wish, refusal)?,
            (_, answer) => return Err(out_of_place(&answer)),
        };
        self.send_module(upgrade).await?;
        let end = self.app.upgrades.end_of(upgrade).await;
        self.answer(&end.ok_or_else(|| unknown("this node is stopping"))?)
    }

    /// The same module may be under way already, on behalf of this very request, say, which was sent again.
    fn join(&self, wish: &Wish, refusal: UpgradeRefusal) -> Result<Index, ApiError> {
        let pending = self.app.upgrades.now().pending;
        let same = |pending: &UpgradeStatus| {
            pending.sha256 == self.module.sha256() && pending.dry_run == wish.dry_run
        };
        match (refusal, pending) {
            (UpgradeRefusal::InProgress { upgrade, .. }, Some(pending))
                if pending.upgrade == upgrade && same(&pending) =>
            {
                Ok(upgrade)
            }
            (refusal @ UpgradeRefusal::InProgress { .. }, _) => Err(refused(
                StatusCode::CONFLICT,
                "upgrade_under_way",
                refusal.to_string(),
                "GET /v1/upgrades says how far it is, and when it is given up",
            )),
            (refusal, _) => Err(refused(
                StatusCode::UNPROCESSABLE_ENTITY,
                "module_refused",
                refusal.to_string(),
                "the module before goes on",
            )),
        }
    }

    /// Sends the bytes that are not there yet.
    async fn send_module(&self, upgrade: Index) -> Result<(), ApiError> {
        let bytes = self.module.bytes();
        let mut offset = 0;
        while offset < bytes.len() {
            let end = bytes.len().min(offset + CHUNK_BYTES);
            let chunk = UpgradeRecord::Chunk {
                upgrade,
                offset: offset as u64,
                bytes: bytes.slice(offset..end),
            };
            offset = match self.say(&chunk).await?.1 {
                UpgradeOutcome::ChunkAdded => end,
                UpgradeOutcome::Refused(UpgradeRefusal::Offset { expected }) => {
                    usize::try_from(expected).unwrap_or(usize::MAX)
                }
                // All are there, or it has ended: the history says how.
                UpgradeOutcome::Staged
                | UpgradeOutcome::Closed
                | UpgradeOutcome::Refused(UpgradeRefusal::NotInProgress { .. }) => return Ok(()),
                answer => return Err(out_of_place(&answer)),
            };
        }
        Ok(())
    }

    async fn say(&self, word: &UpgradeRecord) -> Result<(Index, UpgradeOutcome), ApiError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let said = self.app.raft.submit(Envelope::upgrade(word), left).await;
        let applied = said.map_err(|error| match ApiError::of_command(&error) {
            error if error.is_timeout() => unknown("the log did not take it in time"),
            error => error,
        })?;
        match applied.reply {
            CommandOutcome::Upgrade(answer) => Ok((applied.index, answer)),
            other => Err(ApiError::internal(format!(
                "a word of an upgrade was answered as a command: {other:?}"
            ))),
        }
    }

    fn answer(&self, past: &PastUpgrade) -> Result<Json<Upgraded>, ApiError> {
        let words = || format!("{}; the module before goes on", past.end);
        match &past.end {
            UpgradeEnd::Activated => Ok(Json(Upgraded::new(self.module, Some(past.ended.index.0)))),
            UpgradeEnd::DryRunPassed => Ok(Json(Upgraded::new(self.module, None))),
            UpgradeEnd::Aborted {
                cause: AbortCause::TimedOut,
                ..
            } => Err(refused(
                StatusCode::CONFLICT,
                "voters_not_ready",
                words(),
                "start or remove the nodes that it names, or give them more time with wait_ms, then send it again",
            )),
            UpgradeEnd::Aborted { cause, .. } => Err(refused(
                StatusCode::UNPROCESSABLE_ENTITY,
                code_of(*cause),
                words(),
                "repair the module, and try it with dry_run=true first",
            )),
        }
    }
}

fn code_of(cause: AbortCause) -> &'static str {
    match cause {
        AbortCause::NodeRefused | AbortCause::NewRestoreFailed => "module_refused",
        AbortCause::StatesDiffer => "states_differ",
        AbortCause::ModuleCorrupt
        | AbortCause::TimedOut
        | AbortCause::OldSnapshotFailed
        | AbortCause::JournalTooLarge => "upgrade_abandoned",
    }
}

fn refused(status: StatusCode, code: &'static str, message: String, hint: &str) -> ApiError {
    ApiError::of_operator(status, code, message, hint)
}

fn unknown(why: &str) -> ApiError {
    refused(
        StatusCode::GATEWAY_TIMEOUT,
        "timeout",
        format!("{why}: it may still come to its end, either way"),
        "GET /v1/upgrades says how far it is; sending it again waits for the same one",
    )
}

fn out_of_place(answer: &UpgradeOutcome) -> ApiError {
    ApiError::internal(format!("the upgrade was answered with {answer:?}"))
}

/// Since when.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    #[serde(default)]
    after: Option<u64>,
}

/// What a node knows of upgrades.
#[derive(Debug, Serialize)]
pub(super) struct UpgradesStatus {
    /// `?after=` waits for a later one.
    revision: u64,
    state_machine: super::status::ModuleStatus,
    upgrade: Option<Progress>,
    /// The latest first.
    history: Vec<Record>,
}

/// An upgrade under way.
#[derive(Debug, Serialize)]
struct Progress {
    index: u64,
    sha256: String,
    by: String,
    dry_run: bool,
    bytes: u64,
    received_bytes: u64,
    deadline_ms: u64,
    /// For each voter, and for others that have said something.
    nodes: BTreeMap<String, NodeProgress>,
}

#[derive(Debug, Serialize)]
struct NodeProgress {
    /// `waiting`, `ready` or `refused`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl NodeProgress {
    fn of(verdict: Option<&CheckResult>) -> Self {
        let (state, hash, reason) = match verdict {
            None => ("waiting", None, None),
            Some(CheckResult::Ready { state, .. }) => ("ready", Some(state.to_string()), None),
            Some(CheckResult::Refused { message: words }) => ("refused", None, Some(words.clone())),
        };
        Self {
            state,
            hash,
            reason,
        }
    }
}

/// An upgrade that has ended.
#[derive(Debug, Serialize)]
struct Record {
    index: u64,
    ended_index: u64,
    time_ms: u64,
    by: String,
    sha256: String,
    name: Option<String>,
    version: Option<u32>,
    /// `activated`, `tried_out`, or why it was given up.
    end: &'static str,
    message: String,
}

impl From<&PastUpgrade> for Record {
    fn from(past: &PastUpgrade) -> Self {
        let module = past.module.as_ref();
        Self {
            index: past.upgrade.0,
            ended_index: past.ended.index.0,
            time_ms: past.ended.time_ms,
            by: past.by.clone(),
            sha256: past.sha256.to_string(),
            name: module.map(|(name, _)| name.clone()),
            version: module.map(|(_, version)| *version),
            end: past.end.code(),
            message: past.end.to_string(),
        }
    }
}

/// Answers at once, or with `?after=` as soon as there is something newer; after the time of the request in any case.
pub(super) async fn upgrades(
    State(app): State<Arc<App>>,
    since: Result<Query<Since>, QueryRejection>,
    request: Request,
) -> Result<Json<UpgradesStatus>, ApiError> {
    let since = since.map_err(|error| {
        ApiError::malformed(
            format!(
                "the address of the request makes no sense: {}",
                error.body_text()
            ),
            "give ?after=REVISION to wait for a later one, or nothing",
        )
    })?;
    let timeout = request::timeout(request.headers())?;
    if let Some(after) = since.after {
        let newer = |upgrades: &UpgradeSummary| (upgrades.revision != after).then_some(());
        // Where nothing came, what is known is the answer as well.
        let _ = tokio::time::timeout(timeout, app.upgrades.find(newer)).await;
    }
    Ok(Json(app.upgrades_status()))
}

impl App {
    fn upgrades_status(&self) -> UpgradesStatus {
        let upgrades = self.upgrades.now();
        let voters = self.raft.status().voters;
        let progress = |pending: &UpgradeStatus| {
            let heard = pending.reports.keys().cloned();
            let voters = voters.iter().map(|voter| voter.as_str().to_owned());
            let nodes = voters.chain(heard).map(|node| {
                let progress = NodeProgress::of(pending.reports.get(&node));
                (node, progress)
            });
            Progress {
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
        UpgradesStatus {
            revision: upgrades.revision,
            state_machine: self.machine.get().into(),
            upgrade: upgrades.pending.as_ref().map(progress),
            history: upgrades.past.iter().rev().map(Record::from).collect(),
        }
    }
}
