//! `POST /v1/query`: one question.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use oarlock_wasm::GuestQueryError;
use task_queue_raft::Consistency;
use tokio::time::Instant;

use super::App;
use super::apply::GuestWords;
use super::error::ApiError;
use super::request;

/// Asks the guest, and answers as it does.
pub(super) async fn query(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let consistency = consistency(parts.uri.query().unwrap_or_default())?;
    let timeout = request::timeout(&parts.headers)?;
    let deadline = Instant::now() + timeout;
    let (body, _share) = request::body(&app, &parts.headers, body).await?;
    let words = ask(&app, body, consistency, deadline).await?;
    Ok(words.into_response(&app))
}

/// Asks the guest.
///
/// # Errors
/// The host's, and those of a guest that can't answer; what the guest refuses is no error here.
pub(super) async fn ask(
    app: &App,
    body: Bytes,
    consistency: Consistency,
    deadline: Instant,
) -> Result<GuestWords, ApiError> {
    if consistency == Consistency::Linearizable {
        wait_for_leader(app, deadline).await?;
    }
    let turns = app.auditor.turns();
    let left = deadline.saturating_duration_since(Instant::now());
    let asked = app.raft.query(body, consistency, left).await;
    let (index, answer) = asked.map_err(|error| ApiError::of_query(&error))?;
    if !app.auditor.served_since(turns) {
        return Err(ApiError::quarantined());
    }
    match answer {
        Ok(answer) => Ok(GuestWords::accepted(index, answer)),
        Err(GuestQueryError::Refused(words)) => Ok(GuestWords::refused(index, words)),
        Err(GuestQueryError::Failed(failure)) => Err(ApiError::guest_failed(&failure)),
        Err(error @ GuestQueryError::NotSupported) => Err(ApiError::no_queries(error.to_string())),
        Err(GuestQueryError::Overloaded { .. }) => Err(ApiError::overloaded(
            "questions that wait for a copy of the state machine",
        )),
        Err(error @ GuestQueryError::Unavailable { .. }) => {
            Err(ApiError::guest_unavailable(&error.to_string()))
        }
    }
}

/// A node without a leader waits for one as long as it would for a command, and no longer.
async fn wait_for_leader(app: &App, deadline: Instant) -> Result<(), ApiError> {
    let mut status = app.raft.watch_status();
    if status.borrow().leader.is_some() {
        return Ok(());
    }
    let patience = deadline.min(Instant::now() + app.leader_patience);
    let found = status.wait_for(|status| status.leader.is_some());
    match tokio::time::timeout_at(patience, found).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(ApiError::no_answer("this node is stopping")),
        Err(_) => Err(ApiError::no_leader()),
    }
}

/// Reads `consistency=…`; nothing else may be there.
pub(super) fn consistency(query: &str) -> Result<Consistency, ApiError> {
    let mut found = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let consistency = match pair {
            "consistency=linearizable" => Consistency::Linearizable,
            "consistency=stale" => Consistency::Stale,
            _ => return Err(unknown_parameter()),
        };
        if found.replace(consistency).is_some() {
            return Err(unknown_parameter());
        }
    }
    Ok(found.unwrap_or_default())
}

fn unknown_parameter() -> ApiError {
    ApiError::malformed(
        "the address of the query holds something else than one consistency",
        "give ?consistency=linearizable or ?consistency=stale, or nothing for linearizable",
    )
}

#[cfg(test)]
mod tests;
