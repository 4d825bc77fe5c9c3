//! What operators do: recorded in the log of the cluster, and `GET /v1/operations`, which shows it.
//!
//! A request is recorded before it is carried out, so that none is carried out without a record, and again when it has ended. Only
//! requests of a principal are recorded: without certificates a node does not know who sends them.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::Extensions;
use oarlock_wasm::{Envelope, OperationRecord, PastOperation};
use schemars::JsonSchema;
use serde::Serialize;
use task_queue_raft::ids::Index;

use super::app::App;
use super::error::ApiError;
use crate::access::Requester;

/// The first cluster level whose log contains the records.
const FIRST_LEVEL: u32 = 1;
/// How long a record may take until it is committed.
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts to record how an operation has ended, and the pause between two of them.
const END_ATTEMPTS: u32 = 6;
const END_PAUSE: Duration = Duration::from_secs(1);

/// What an operator requests.
#[derive(Debug)]
pub(super) struct Operation {
    by: Option<String>,
    what: &'static str,
    details: String,
}

impl Operation {
    /// A request with these extensions. `what` is the name of its route, `details` are its arguments.
    pub(super) fn new(
        extensions: &Extensions,
        what: &'static str,
        details: impl Into<String>,
    ) -> Self {
        let by = extensions.get::<Requester>().and_then(Requester::name);
        Self {
            by: by.map(str::to_owned),
            what,
            details: details.into(),
        }
    }
}

/// Carries out what an operator requests, and records it.
///
/// # Errors
/// That of `action`. If the beginning can't be recorded, nothing is carried out.
pub(super) async fn recorded<T>(
    app: &Arc<App>,
    operation: Operation,
    action: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let Operation { by, what, details } = operation;
    let Some(by) = by else {
        return action.await;
    };
    let begin = OperationRecord::Begin {
        by,
        what: what.to_owned(),
        details,
    };
    let mut begun = None;
    if level(app) >= FIRST_LEVEL {
        begun = Some(commit(app, &begin).await?);
    }
    let result = action.await;
    let code = result.as_ref().err().map_or("", ApiError::code);
    // The request has just raised the level.
    if begun.is_none() && level(app) >= FIRST_LEVEL {
        begun = Some(commit(app, &begin).await?);
    }
    if let Some(begun) = begun {
        let (app, code) = (Arc::clone(app), code.to_owned());
        tokio::spawn(async move { end(&app, OperationRecord::End { begun, code }).await });
    }
    result
}

fn level(app: &App) -> u32 {
    app.raft.watch_status().borrow().cluster_level
}

async fn commit(app: &App, record: &OperationRecord) -> Result<Index, ApiError> {
    let envelope = Envelope::operation(record);
    let applied = app.raft.submit(envelope, RECORD_TIMEOUT).await;
    applied
        .map(|applied| applied.index)
        .map_err(|error| ApiError::of_command(&error))
}

/// Records how an operation has ended. The leader may have just changed, because of the operation.
async fn end(app: &App, record: OperationRecord) {
    for attempt in 1..=END_ATTEMPTS {
        let Err(error) = commit(app, &record).await else {
            return;
        };
        tracing::debug!(
            code = error.code(),
            attempt,
            "the end of an operation was not recorded"
        );
        tokio::time::sleep(END_PAUSE).await;
    }
    tracing::warn!(
        ?record,
        "the end of an operation was not recorded; GET /v1/operations shows it without one"
    );
}

/// The response of `GET /v1/operations`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct OperationsResponse {
    /// The last 256, latest first.
    operations: Vec<OperationInfo>,
    /// How many the log has had, with those that are not shown.
    total: u64,
}

/// What an operator did.
#[derive(Debug, Serialize, JsonSchema)]
struct OperationInfo {
    /// The entry that records its beginning.
    index: u64,
    /// When it began, in milliseconds since 1970.
    time_ms: u64,
    /// The name in the certificate or the token of the operator.
    by: String,
    /// What was requested: the name of the route in the OpenAPI document, such as `addMember`.
    what: String,
    /// The arguments, for people.
    details: String,
    /// How it ended; null while it runs, and if its node stopped before.
    end: Option<OperationOutcome>,
}

/// How an operation ended.
#[derive(Debug, Serialize, JsonSchema)]
struct OperationOutcome {
    /// The entry that records it.
    index: u64,
    /// When it ended, in milliseconds since 1970.
    time_ms: u64,
    /// The code of the error; null if the request succeeded.
    error: Option<String>,
}

impl From<PastOperation> for OperationInfo {
    fn from(past: PastOperation) -> Self {
        Self {
            index: past.begun.index.0,
            time_ms: past.begun.time_ms,
            by: past.by,
            what: past.what,
            details: past.details,
            end: past.end.map(|end| OperationOutcome {
                index: end.at.index.0,
                time_ms: end.at.time_ms,
                error: Some(end.code).filter(|code| !code.is_empty()),
            }),
        }
    }
}

/// Shows what operators did last, as far as this node has applied the log.
pub(super) async fn operations(State(app): State<Arc<App>>) -> Json<OperationsResponse> {
    let operations = app.machine.operations().into_iter().rev();
    Json(OperationsResponse {
        operations: operations.map(OperationInfo::from).collect(),
        total: app.machine.operations_begun(),
    })
}
