//! `POST /v1/query`: one query.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use oarlock_wasm::{GuestCaller, GuestQueryError, MachineQuery};
use task_queue_raft::ids::Index;
use task_queue_raft::{Consistency, SubmitError};
use tokio::time::Instant;

use super::app::App;
use super::connection_table::ConnectionAccount;
use super::error::ApiError;
use super::query_gate::PayingClient;
use super::query_string::parameters;
use super::reply::{GuestReply, ReplyResult};
use super::request;
use crate::access::Requester;

/// Sends one query to the guest, and responds with its reply.
pub(super) async fn query(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let (consistency, wait_index) =
        parameters(parts.uri.query().unwrap_or_default()).ok_or_else(unknown_parameter)?;
    let timeout = request::timeout(&parts.headers)?;
    let deadline = Instant::now() + timeout;
    let (body, share) = request::body(&app, &parts.headers, body).await?;
    let body = share.hold(body);
    if let Some(index) = wait_index {
        // The rest of the time is for the query.
        wait_for_entry(&app, index, deadline - timeout / 4).await?;
    }
    let caller = parts.extensions.get::<Requester>();
    let account = parts.extensions.get::<Arc<ConnectionAccount>>();
    let account = account.ok_or_else(|| ApiError::internal("the request has no connection"))?;
    let query = ClientQuery {
        request: body,
        caller: caller.and_then(Requester::for_guest).cloned(),
        client: PayingClient::of(caller, account),
        consistency,
        deadline,
    };
    let reply = tokio::time::timeout_at(deadline, run(&app, &query)).await;
    let reply = reply.unwrap_or_else(|_| Err(ApiError::of_query(&SubmitError::TimedOut)))?;
    Ok(reply.into_response(&app))
}

/// A query of a client.
pub(super) struct ClientQuery {
    pub(super) request: Bytes,
    /// Who sends it, for the guest.
    pub(super) caller: Option<Arc<GuestCaller>>,
    pub(super) client: PayingClient,
    pub(super) consistency: Consistency,
    pub(super) deadline: Instant,
}

/// Waits until this node has applied an entry after `index`, or until the deadline.
async fn wait_for_entry(app: &App, index: u64, deadline: Instant) -> Result<(), ApiError> {
    let mut status = app.raft.watch_status();
    let applied = status.wait_for(|status| status.applied.0 > index);
    match tokio::time::timeout_at(deadline, applied).await {
        Ok(Ok(_)) | Err(_) => Ok(()),
        Ok(Err(_)) => Err(ApiError::no_response("this node is stopping")),
    }
}

/// Runs one query. The caller drops it at its deadline, which cancels it.
///
/// # Errors
/// Errors of the host, and failures of the guest. A rejection by the guest is a reply, not an error.
pub(super) async fn run(app: &App, query: &ClientQuery) -> ReplyResult {
    if query.consistency == Consistency::Linearizable {
        wait_for_leader(app, query.deadline).await?;
    }
    let before = app.auditor.quarantine();
    let (index, response) = loop {
        let (index, response) = run_in_turn(app, query).await?;
        if !matches!(response, Err(GuestQueryError::NotShort)) {
            break (index, response);
        }
        // Its connection counts as one with long queries now, and so does this one.
        app.query_gate.note_begun_again();
    };
    if !app.auditor.has_served_since(before) {
        return Err(ApiError::quarantined());
    }
    match response {
        Ok(body) => Ok(GuestReply::accepted(index, body)),
        Err(GuestQueryError::Refused(body)) => Ok(GuestReply::rejected(index, body)),
        Err(GuestQueryError::Failed(failure)) => Err(ApiError::guest_failed(&failure)),
        Err(error @ GuestQueryError::NotSupported) => Err(ApiError::no_queries(error.to_string())),
        // Only the response of a client that waits is received, and a long query is not sent again.
        Err(error @ (GuestQueryError::Abandoned | GuestQueryError::NotShort)) => {
            Err(ApiError::no_response(&error.to_string()))
        }
        Err(GuestQueryError::Overloaded { .. }) => Err(ApiError::overloaded(
            "queries that wait for a replica of the guest",
        )),
        Err(error @ GuestQueryError::Unavailable { .. }) => {
            Err(ApiError::guest_unavailable(&error.to_string()))
        }
    }
}

/// Runs one query when it is its turn.
async fn run_in_turn(
    app: &App,
    query: &ClientQuery,
) -> Result<(Index, Result<Bytes, GuestQueryError>), ApiError> {
    let turn = app.query_gate.enter(&query.client).await?;
    let left = query
        .deadline
        .saturating_duration_since(turn.begun().into());
    let for_machine = MachineQuery {
        request: query.request.clone(),
        caller: query.caller.clone(),
        class: turn.class,
        cost: turn.cost.clone(),
    };
    let response = app.raft.query(for_machine, query.consistency, left).await;
    let response = response.map_err(|error| ApiError::of_query(&error))?;
    turn.finish();
    Ok(response)
}

/// Waits for a leader up to `App::leader_timeout`, as a command does, and not beyond the deadline of the request.
async fn wait_for_leader(app: &App, deadline: Instant) -> Result<(), ApiError> {
    if app.raft.has_leader() {
        return Ok(());
    }
    let mut leadership = app.raft.watch_leadership();
    let deadline = deadline.min(Instant::now() + app.leader_timeout);
    let found = leadership.wait_for(|leadership| leadership.leader.is_some());
    match tokio::time::timeout_at(deadline, found).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(ApiError::no_response("this node is stopping")),
        Err(_) => Err(ApiError::no_leader()),
    }
}

fn unknown_parameter() -> ApiError {
    ApiError::malformed(
        "the query string of the URL holds something other than one consistency level and one index to wait for",
        "use ?consistency=linearizable or ?consistency=stale, and &wait_index=INDEX to wait for an entry after this index; \
         the default is linearizable, without waiting",
    )
}
