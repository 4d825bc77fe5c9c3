//! `/v1/members` and `/v1/leader/transfer`: who belongs to the cluster, and who leads it. Any node takes these and
//! hands them to the leader. All of them say how the cluster is to be, so they may be sent again.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use task_queue_raft::Status;
use task_queue_raft::ids::NodeId;
use task_queue_raft::message::{AdminError, TransferError};
use task_queue_raft::raft::membership::{Change, ChangeError};

use super::App;
use super::error::ApiError;
use super::request;
use super::status::MemberStatus;

/// The longest body that is taken here, in bytes.
const MAX_BODY_BYTES: usize = 64 << 10;

/// The members.
#[derive(Debug, Serialize)]
pub(super) struct Members {
    members: Vec<MemberStatus>,
}

/// A change that is committed.
#[derive(Debug, Serialize)]
pub(super) struct Changed {
    /// The entry by which it is in force, or a later one.
    index: u64,
    /// The members as this node knows them now: a follower may hear of the change a moment later.
    members: Vec<MemberStatus>,
}

/// Leadership that was transferred.
#[derive(Debug, Serialize)]
pub(super) struct Transferred {
    leader_id: Option<String>,
    term: u64,
}

/// A node to be added.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Addition {
    node_id: String,
    peer_addr: String,
    /// Once it has caught up, it votes.
    #[serde(default)]
    voter: bool,
    /// It takes the place of this one.
    #[serde(default)]
    replaces: Option<String>,
}

/// Who is to lead.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Successor {
    #[serde(default, alias = "node_id")]
    to: Option<String>,
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Json<Members> {
    Json(Members {
        members: app.member_list(),
    })
}

pub(super) async fn add(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<Changed>, ApiError> {
    const SHAPE: &str = r#"send {"node_id":"node4","peer_addr":"host:port"}, and "voter":true for a vote once it has caught up, or "replaces":"node3""#;
    let (parts, body) = request.into_parts();
    let addition: Addition = read(&app, body, SHAPE).await?;
    let (id, address) = (NodeId::from(addition.node_id), addition.peer_addr);
    let change = match addition.replaces {
        Some(old) => Change::Replace {
            old: old.into(),
            new: id,
            address,
        },
        None if addition.voter => Change::AddVoter { id, address },
        None => Change::AddLearner { id, address },
    };
    change_members(&app, &parts.headers, change).await
}

pub(super) async fn promote(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Changed>, ApiError> {
    let id = NodeId::from(id);
    change_members(&app, request.headers(), Change::Promote { id }).await
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Changed>, ApiError> {
    let id = NodeId::from(id);
    change_members(&app, request.headers(), Change::Remove { id }).await
}

async fn change_members(
    app: &App,
    headers: &axum::http::HeaderMap,
    change: Change,
) -> Result<Json<Changed>, ApiError> {
    let timeout = request::timeout(headers)?;
    let changed = app.raft.change_members(change, timeout).await;
    let index = changed.map_err(|error| of_order(&error))?.0;
    Ok(Json(Changed {
        index,
        members: app.member_list(),
    }))
}

pub(super) async fn transfer(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<Transferred>, ApiError> {
    const SHAPE: &str = r#"send {"to":"node2"}, or nothing to take the most up-to-date voter"#;
    let (parts, body) = request.into_parts();
    let timeout = request::timeout(&parts.headers)?;
    let successor: Successor = read(&app, body, SHAPE).await?;
    let to = successor.to.map(NodeId::from);
    let before = app.raft.status().leader;
    let given = app.raft.transfer_leadership(to.clone(), timeout).await;
    given.map_err(|error| of_order(&error))?;
    // It is done; this node may hear of the new leader a moment later, or of the next one already.
    let heard = |status: &Status| match &to {
        Some(_) => status.leader == to,
        None => status.leader.is_some() && status.leader != before,
    };
    let mut statuses = app.raft.watch_status();
    let hearing = tokio::time::timeout(app.leader_patience, statuses.wait_for(heard)).await;
    drop(hearing);
    let status = app.raft.status();
    Ok(Json(Transferred {
        leader_id: status.leader.map(|leader| leader.as_str().to_owned()),
        term: status.term.0,
    }))
}

/// Reads a small body of JSON; an empty one is an empty object.
async fn read<T: DeserializeOwned>(app: &App, body: Body, shape: &str) -> Result<T, ApiError> {
    let reading = axum::body::to_bytes(body, MAX_BODY_BYTES);
    let late = |_| ApiError::malformed("the body did not arrive in time", "send it at once");
    let bytes = tokio::time::timeout(app.http.body_timeout, reading)
        .await
        .map_err(late)?
        .map_err(|_| ApiError::too_large(MAX_BODY_BYTES as u64))?;
    let bytes = if bytes.is_empty() {
        Bytes::from_static(b"{}")
    } else {
        bytes
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        ApiError::malformed(format!("the body is not what is needed: {error}"), shape)
    })
}

/// Why an order was not carried out.
fn of_order(error: &AdminError) -> ApiError {
    let conflict = |code, hint: &str| {
        ApiError::of_operator(StatusCode::CONFLICT, code, error.to_string(), hint)
    };
    match error {
        AdminError::Change(change) => of_change(change),
        AdminError::Transfer(TransferError::NotLeader) | AdminError::NoLeader => {
            ApiError::no_leader()
        }
        AdminError::Transfer(TransferError::NotAVoter { .. } | TransferError::NoOtherVoter) => {
            conflict("not_a_voter", "GET /v1/status names the members that vote")
        }
        AdminError::Transfer(TransferError::Busy { .. }) => {
            conflict("transfer_under_way", "wait until it is done")
        }
        AdminError::Transfer(TransferError::GaveUp { .. }) => conflict(
            "transfer_failed",
            "the leader is the one from before; look whether the other node runs and is up to date",
        ),
        AdminError::TimedOut | AdminError::Stopped => ApiError::of_operator(
            StatusCode::GATEWAY_TIMEOUT,
            "timeout",
            error.to_string(),
            "send it again: it changes nothing that is so already; raise Oarlock-Timeout-Ms to wait longer",
        ),
        // No operator's order is one for a snapshot.
        AdminError::Snapshot(_) => ApiError::internal(error.to_string()),
        AdminError::Overloaded => ApiError::overloaded("orders of operators"),
    }
}

fn of_change(error: &ChangeError) -> ApiError {
    let words = error.to_string();
    let conflict =
        |code, hint: &str| ApiError::of_operator(StatusCode::CONFLICT, code, words.clone(), hint);
    match error {
        ChangeError::NotLeader => ApiError::no_leader(),
        ChangeError::Busy => conflict("change_under_way", "there is one change at a time"),
        ChangeError::NotCaughtUp { .. } => conflict(
            "not_caught_up",
            "look whether that node runs and is reached at the address that was given for it",
        ),
        ChangeError::UnknownNode { .. } => ApiError::of_operator(
            StatusCode::NOT_FOUND,
            "unknown_node",
            words,
            "GET /v1/status names the members; add the node with POST /v1/members",
        ),
        ChangeError::LastVoter => conflict("last_voter", "add another voter first"),
        ChangeError::TooMany { .. } => conflict("too_many_members", "remove one first"),
        ChangeError::BadId { .. } | ChangeError::BadAddress { .. } => {
            ApiError::malformed(words, "correct it and send it again")
        }
        ChangeError::Overloaded { what } => ApiError::overloaded(what),
    }
}
