//! `POST /v1/apply`: one command.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use oarlock_wasm::{CommandOutcome, Envelope, EnvelopeError, GuestCaller, MAX_KEY_BYTES, Sha256};
use task_queue_raft::Applied;
use task_queue_raft::ids::Index;
use tokio::time::Instant;

use super::app::App;
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::reply::{GuestReply, ReplyResult};
use super::request;
use crate::access::Requester;

/// The first cluster level whose log contains the callers of commands.
const FIRST_LEVEL_WITH_CALLERS: u32 = 1;

/// Replicates and applies one command, and responds with the guest's reply.
pub(super) async fn apply(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let timeout = request::timeout(&parts.headers)?;
    let key = request::idempotency_key(&parts.headers)?;
    let deadline = Instant::now() + timeout;
    let (body, _share) = request::body(&app, &parts.headers, body).await?;
    let caller = parts.extensions.get::<Requester>();
    let envelope = envelope(&app, caller.unwrap_or(&Requester::Unknown), key, &body)?;
    drop(body);
    let reply = submit(&app, envelope, deadline).await?;
    Ok(reply.into_response(&app))
}

/// A command in the format of the log, with its principal if there is one. The keys of each principal are separate from those of
/// others.
///
/// # Errors
/// 400 if the idempotency key is invalid. 409 if the principal has scopes, and the log can't contain them.
pub(super) fn envelope(
    app: &App,
    caller: &Requester,
    key: Option<&str>,
    body: &[u8],
) -> Result<Bytes, ApiError> {
    let Some(principal) = caller.for_guest() else {
        return Envelope::command(key, body).map_err(|error| bad_key(&error));
    };
    let level = app.raft.watch_status().borrow().cluster_level;
    called(principal, level, key, body)
}

/// A command of a principal, in the log of a cluster at this level.
fn called(
    principal: &GuestCaller,
    level: u32,
    key: Option<&str>,
    body: &[u8],
) -> Result<Bytes, ApiError> {
    let key = key.map(|key| scoped_key(principal.name(), key));
    let envelope = if level >= FIRST_LEVEL_WITH_CALLERS {
        Envelope::called(principal, key.as_deref(), body)
    } else if principal.scopes().is_empty() {
        Envelope::command(key.as_deref(), body)
    } else {
        // The guest would not see the scopes, and so would not enforce them.
        return Err(ApiError::new(
            ErrorCode::LevelTooLow,
            "the token has scopes, and the log of a cluster at level 0 can't contain them; nothing was applied",
            "run this release on every node, then send POST /v1/settings/raise-level; or use a token without scopes",
        ));
    };
    envelope.map_err(|error| bad_key(&error))
}

fn bad_key(error: &EnvelopeError) -> ApiError {
    ApiError::malformed(
        error.to_string(),
        "send another Idempotency-Key, or leave the header out",
    )
}

/// The key of a principal. A key of a client has no space, so it is none of those without a principal.
fn scoped_key(name: &str, key: &str) -> String {
    let scoped = format!("{name} {key}");
    if scoped.len() <= MAX_KEY_BYTES {
        return scoped;
    }
    let hash = |text: &str| Sha256::of(text.as_bytes());
    format!("{} {}", hash(name), hash(key))
}

/// Replicates and applies one command.
///
/// # Errors
/// Errors of the host, and failures of the guest. A rejection by the guest is a reply, not an error.
pub(super) async fn submit(app: &App, envelope: Bytes, deadline: Instant) -> ReplyResult {
    app.metrics.proposals.inc();
    // A slow body may have used up the time; the command is submitted anyway.
    let left = deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1));
    let before = app.auditor.quarantine();
    if !before.is_serving() {
        return Err(ApiError::quarantined());
    }
    if app.auditor.are_writes_stopped() {
        return Err(ApiError::states_differ());
    }
    let applied = app.raft.submit(envelope, left).await;
    let Applied { index, reply } = applied.map_err(|error| ApiError::of_command(&error))?;
    let reply = reply_to(app, index, reply, deadline).await;
    // The command is committed, but the reply of a diverged guest can differ from that of the majority.
    if !app.auditor.acknowledges_since(before) {
        return Err(ApiError::outcome_unknown(
            "the state of this node differs from the state of the majority, or no majority has the same state",
        ));
    }
    reply
}

async fn reply_to(
    app: &App,
    index: Index,
    outcome: CommandOutcome,
    deadline: Instant,
) -> ReplyResult {
    match outcome {
        CommandOutcome::Accepted(body) => Ok(GuestReply::accepted(index, body)),
        CommandOutcome::Rejected(body) => {
            app.metrics.refusals.inc();
            Ok(GuestReply::rejected(index, body))
        }
        CommandOutcome::Deferred(token) => {
            let reply = app.deferred.wait(token, index);
            match tokio::time::timeout_at(deadline, reply).await {
                Ok(Some(done)) if done.accepted => Ok(GuestReply::accepted(index, done.reply)),
                Ok(Some(done)) => {
                    app.metrics.refusals.inc();
                    Ok(GuestReply::rejected(index, done.reply))
                }
                Ok(None) => Err(ApiError::outcome_unknown("this node is stopping")),
                Err(_) => Err(ApiError::outcome_unknown(
                    "the guest deferred its reply and did not complete it in time",
                )),
            }
        }
        CommandOutcome::Failed(failure) => {
            app.metrics.guest_failures(&failure).inc();
            Err(ApiError::guest_failed(&failure))
        }
        CommandOutcome::KeyReused => Err(ApiError::key_reused()),
        CommandOutcome::Malformed(error) => Err(ApiError::internal(error.to_string())),
        // A client's command has its own kind of envelope.
        CommandOutcome::Upgrade(_) | CommandOutcome::Settings(_) => Err(ApiError::internal(
            "a command was decoded as a record of the host",
        )),
    }
}

#[cfg(test)]
mod tests;
