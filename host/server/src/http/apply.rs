//! `POST /v1/apply`: one command.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use oarlock_wasm::{CommandOutcome, Envelope};
use task_queue_raft::Applied;
use task_queue_raft::ids::Index;
use tokio::time::Instant;

use super::App;
use super::error::ApiError;
use super::request::{self, INDEX};

/// Has a command replicated and applied, and answers as the guest does.
pub(super) async fn apply(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let timeout = request::timeout(&parts.headers)?;
    let key = request::idempotency_key(&parts.headers)?;
    let deadline = Instant::now() + timeout;
    let (body, _share) = request::body(&app, &parts.headers, body).await?;
    let envelope = envelope(key, &body)?;
    drop(body);
    let words = carry_out(&app, envelope, deadline).await?;
    Ok(words.into_response(&app))
}

/// A command as it travels in the log.
///
/// # Errors
/// The key is none.
pub(super) fn envelope(key: Option<&str>, body: &[u8]) -> Result<Bytes, ApiError> {
    Envelope::command(key, body).map_err(|error| {
        ApiError::malformed(error.to_string(), "give another Idempotency-Key, or none")
    })
}

/// Has a command replicated and applied.
///
/// # Errors
/// The host's; what the guest refuses is no error here.
pub(super) async fn carry_out(
    app: &App,
    envelope: Bytes,
    deadline: Instant,
) -> Result<GuestWords, ApiError> {
    app.metrics.proposals.inc();
    // A body that was slow in coming has used some of the time; a little is left in any case.
    let left = deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1));
    let turns = app.auditor.turns();
    if app.auditor.is_quarantined() {
        return Err(ApiError::quarantined());
    }
    let applied = app.raft.submit(envelope, left).await;
    let Applied { index, reply } = applied.map_err(|error| ApiError::of_command(&error))?;
    let words = answer(app, index, reply, deadline).await;
    // The command is in the log, and what this node's guest says of it is not what the others' say.
    if !app.auditor.served_since(turns) {
        return Err(ApiError::outcome_unknown(
            "this node's state is not the cluster's",
        ));
    }
    words
}

async fn answer(
    app: &App,
    index: Index,
    outcome: CommandOutcome,
    deadline: Instant,
) -> Result<GuestWords, ApiError> {
    match outcome {
        CommandOutcome::Accepted(reply) => Ok(GuestWords::accepted(index, reply)),
        CommandOutcome::Rejected(words) => {
            app.metrics.refusals.inc();
            Ok(GuestWords::refused(index, words))
        }
        CommandOutcome::Deferred(token) => {
            let waiting = app.deferred.wait(token, index);
            match tokio::time::timeout_at(deadline, waiting).await {
                Ok(Some(done)) if done.accepted => Ok(GuestWords::accepted(index, done.reply)),
                Ok(Some(done)) => {
                    app.metrics.refusals.inc();
                    Ok(GuestWords::refused(index, done.reply))
                }
                Ok(None) => Err(ApiError::outcome_unknown("this node is stopping")),
                Err(_) => Err(ApiError::outcome_unknown(
                    "the guest has deferred its answer and not given it in time",
                )),
            }
        }
        CommandOutcome::Failed(failure) => {
            app.metrics.guest_failures(&failure).inc();
            Err(ApiError::guest_failed(&failure))
        }
        CommandOutcome::KeyReused => Err(ApiError::key_reused()),
        CommandOutcome::Malformed(error) => Err(ApiError::internal(error.to_string())),
        // A client's command is never one: it travels in an envelope of its own.
        CommandOutcome::Upgrade(_) => Err(ApiError::internal(
            "a command was taken for a word of an upgrade",
        )),
    }
}

/// What a guest said, as it said it.
#[derive(Debug)]
pub(super) struct GuestWords {
    pub(super) status: StatusCode,
    /// After which entry.
    pub(super) index: Index,
    pub(super) words: Bytes,
}

impl GuestWords {
    pub(super) fn accepted(index: Index, words: Bytes) -> Self {
        Self {
            status: StatusCode::OK,
            index,
            words,
        }
    }

    pub(super) fn refused(index: Index, words: Bytes) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            index,
            words,
        }
    }

    pub(super) fn into_response(self, app: &App) -> Response {
        let mut response = Response::new(Body::from(self.words));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(app)));
        headers.insert(INDEX, HeaderValue::from(self.index.0));
        response
    }
}

/// In what the guest speaks.
pub(super) fn content_type(app: &App) -> &'static str {
    if app
        .machine
        .module()
        .description()
        .codec
        .eq_ignore_ascii_case("json")
    {
        "application/json"
    } else {
        "application/octet-stream"
    }
}
