//! `/v1/members` and `/v1/leader/transfer`: membership changes and leadership transfer. A follower forwards them to the
//! leader. All of them are idempotent: each request names the state to reach.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use task_queue_raft::Status;
use task_queue_raft::ids::NodeId;
use task_queue_raft::message::{AdminError, RaiseError, TransferError};
use task_queue_raft::raft::membership::change::{Change, ChangeError};

use super::app::App;
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::operations::{self, Operation};
use super::{guard, member_address, request};
use crate::status::MemberStatus;

/// Longest body of these requests, in bytes.
const MAX_BODY_BYTES: usize = 64 << 10;

/// The response to `GET /v1/members`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MembersResponse {
    /// The members in this node's log.
    members: Vec<MemberStatus>,
}

/// The response to a membership change, once it is committed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ChangeResponse {
    /// An entry at or after the one that completed the change.
    index: u64,
    /// The members in this node's log. A follower may receive the change after this response.
    members: Vec<MemberStatus>,
}

/// The response to a leadership transfer.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TransferResponse {
    /// The new leader, if this node has received a message from it yet; else null, or the leader before.
    leader_id: Option<String>,
    /// The term of this node.
    term: u64,
}

/// The body of `POST /v1/members`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddMember {
    /// Up to 255 visible ASCII characters other than `@`, `,` and `=`.
    node_id: String,
    /// Address for peers, `host:port`.
    peer_addr: String,
    /// Make the node a voter once it has caught up. Without it, the node stays a learner.
    #[serde(default)]
    voter: bool,
    /// The member that the new node replaces, in one change.
    #[serde(default)]
    replaces: Option<String>,
}

/// The body of `POST /v1/leader/transfer`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TransferLeadership {
    /// The new leader; without it, the most up-to-date voter. `node_id` is accepted as well.
    #[serde(default, alias = "node_id")]
    to: Option<String>,
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Json<MembersResponse> {
    Json(MembersResponse {
        members: app.member_list(),
    })
}

pub(super) async fn add(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<ChangeResponse>, ApiError> {
    const SHAPE: &str = r#"send {"node_id":"node4","peer_addr":"host:port"}; add "voter":true to make it a voter once it has caught up, or "replaces":"node3" to replace a member"#;
    let (parts, body) = request.into_parts();
    let addition: AddMember = read(&app, &parts.headers, body, SHAPE).await?;
    if !app.takes_members {
        return Err(without_peer_address());
    }
    let replaces = addition.replaces.as_deref();
    member_address::check(&app, &addition.node_id, &addition.peer_addr, replaces).await?;
    let (id, address) = (NodeId::from(addition.node_id), addition.peer_addr);
    let how = match &addition.replaces {
        Some(old) => format!(" replaces {old}"),
        None if addition.voter => " as a voter".to_owned(),
        None => String::new(),
    };
    let details = format!("{}={address}{how}", id.as_str());
    let operation = Operation::new(&parts.extensions, "addMember", details);
    let change = match addition.replaces {
        Some(old) => Change::Replace {
            old: old.into(),
            new: id,
            address,
        },
        None if addition.voter => Change::AddVoter { id, address },
        None => Change::AddLearner { id, address },
    };
    change_members(&app, operation, &parts.headers, change).await
}

pub(super) async fn promote(
    State(app): State<Arc<App>>,
    id: MemberId,
    request: Request,
) -> Result<Json<ChangeResponse>, ApiError> {
    let id = member_id(id)?;
    let operation = Operation::new(request.extensions(), "promoteMember", id.as_str());
    change_members(&app, operation, request.headers(), Change::Promote { id }).await
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    id: MemberId,
    request: Request,
) -> Result<Json<ChangeResponse>, ApiError> {
    let id = member_id(id)?;
    let operation = Operation::new(request.extensions(), "removeMember", id.as_str());
    change_members(&app, operation, request.headers(), Change::Remove { id }).await
}

/// The id in the path.
type MemberId = Result<Path<String>, PathRejection>;

fn member_id(id: MemberId) -> Result<NodeId, ApiError> {
    let Path(id) = id.map_err(|error| {
        ApiError::malformed(
            format!("the node id in the path is invalid: {}", error.body_text()),
            "GET /v1/members lists the ids",
        )
    })?;
    Ok(NodeId::from(id))
}

/// The node was started without an id and an address for peers, so it is on loopback only.
fn without_peer_address() -> ApiError {
    ApiError::new(
        ErrorCode::NoPeerAddress,
        "this node takes no members: it was started without --node-id and --peer-addr, so other nodes can't reach it; \
         nothing was changed",
        "restart this node with the same data directory, with --node-id set to its id in GET /v1/status and --peer-addr \
         set to an address that the other nodes can reach; then send the request again",
    )
}

async fn change_members(
    app: &Arc<App>,
    operation: Operation,
    headers: &HeaderMap,
    change: Change,
) -> Result<Json<ChangeResponse>, ApiError> {
    let timeout = request::timeout(headers)?;
    let changing = async {
        let changed = app.raft.change_members(change, timeout).await;
        changed.map_err(|error| of_order(&error))
    };
    let index = operations::recorded(app, operation, changing).await?.0;
    Ok(Json(ChangeResponse {
        index,
        members: app.member_list(),
    }))
}

pub(super) async fn transfer(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<TransferResponse>, ApiError> {
    const SHAPE: &str =
        r#"send {"to":"node2"}, or an empty body to select the most up-to-date voter"#;
    let (parts, body) = request.into_parts();
    let timeout = request::timeout(&parts.headers)?;
    let transfer: TransferLeadership = read(&app, &parts.headers, body, SHAPE).await?;
    let to = transfer.to.map(NodeId::from);
    let before = app.raft.status().leader;
    let details = to.as_ref().map_or("", NodeId::as_str);
    let operation = Operation::new(&parts.extensions, "transferLeadership", details);
    let transferring = async {
        let transferred = app.raft.transfer_leadership(to.clone(), timeout).await;
        transferred.map_err(|error| of_order(&error))
    };
    operations::recorded(&app, operation, transferring).await?;
    // The transfer is complete, but this node may not have received a message from the new leader yet, or may
    // already have a later leader.
    let is_new = |status: &Status| match &to {
        Some(_) => status.leader == to,
        None => status.leader.is_some() && status.leader != before,
    };
    let mut statuses = app.raft.watch_status();
    let seen = tokio::time::timeout(app.leader_timeout, statuses.wait_for(is_new)).await;
    drop(seen);
    let status = app.raft.status();
    Ok(Json(TransferResponse {
        leader_id: status.leader.map(|leader| leader.as_str().to_owned()),
        term: status.term.0,
    }))
}

/// Reads a small JSON body. An empty body counts as `{}`.
///
/// # Errors
/// 400 if the body is not what the route wants or late, 413 if it is too large, 415 if its content type is another one.
pub(super) async fn read<T: DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    shape: &str,
) -> Result<T, ApiError> {
    let reading = axum::body::to_bytes(body, MAX_BODY_BYTES);
    let late = |_| {
        ApiError::malformed(
            "the body did not arrive in time",
            "send the complete body at once",
        )
    };
    let bytes = tokio::time::timeout(app.http.body_timeout, reading)
        .await
        .map_err(late)?
        .map_err(|_| ApiError::too_large(MAX_BODY_BYTES as u64, shape))?;
    let bytes = if bytes.is_empty() {
        Bytes::from_static(b"{}")
    } else {
        guard::check_is_json(headers)?;
        bytes
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::malformed(format!("the body is invalid: {error}"), shape))
}

/// The error of a membership change or a leadership transfer.
pub(super) fn of_order(error: &AdminError) -> ApiError {
    let conflict = |code, hint: &str| ApiError::new(code, error.to_string(), hint);
    match error {
        AdminError::Change(change) => of_change(change),
        AdminError::Transfer(TransferError::NotLeader) | AdminError::NoLeader => {
            ApiError::no_leader()
        }
        AdminError::Transfer(TransferError::NotAVoter { .. } | TransferError::NoOtherVoter) => {
            conflict(
                ErrorCode::NotAVoter,
                "choose one of the voters in GET /v1/status",
            )
        }
        AdminError::Transfer(TransferError::Busy { .. }) => conflict(
            ErrorCode::TransferUnderWay,
            "retry after the current transfer",
        ),
        AdminError::Transfer(TransferError::GaveUp { .. }) => conflict(
            ErrorCode::TransferFailed,
            "the leader has not changed; check that the other node is running and has caught up",
        ),
        AdminError::TimedOut | AdminError::Stopped => ApiError::new(
            ErrorCode::Timeout,
            error.to_string(),
            "send the request again, which is safe; to wait longer, raise Oarlock-Timeout-Ms",
        ),
        AdminError::Raise(RaiseError::NotLeader) => ApiError::no_leader(),
        AdminError::Raise(RaiseError::Busy) => conflict(
            ErrorCode::ChangeUnderWay,
            "retry after the current membership change",
        ),
        AdminError::Raise(RaiseError::UnknownLevel { .. }) => conflict(
            ErrorCode::UnknownLevel,
            "start this release on all members, then raise the level again",
        ),
        AdminError::Raise(RaiseError::Overloaded { what }) => ApiError::overloaded(what),
        // No route sends a request of this kind.
        AdminError::Snapshot(_) => ApiError::internal(error.to_string()),
        AdminError::Overloaded => ApiError::overloaded("admin requests that wait for the leader"),
    }
}

fn of_change(error: &ChangeError) -> ApiError {
    let message = error.to_string();
    let conflict = |code, hint: &str| ApiError::new(code, message.clone(), hint);
    match error {
        ChangeError::NotLeader => ApiError::no_leader(),
        ChangeError::Busy => conflict(
            ErrorCode::ChangeUnderWay,
            "retry after the current membership change",
        ),
        ChangeError::NotCaughtUp { .. } => conflict(
            ErrorCode::NotCaughtUp,
            "check that the node is running and that the leader can connect to its peer address",
        ),
        ChangeError::UnknownNode { .. } => ApiError::new(
            ErrorCode::UnknownNode,
            message,
            "choose one of the members in GET /v1/status, or add the node with POST /v1/members; a removal that is sent \
             again after it took effect gets this error too",
        ),
        ChangeError::LastVoter => conflict(ErrorCode::LastVoter, "add another voter first"),
        ChangeError::TooMany { .. } => conflict(ErrorCode::TooManyMembers, "remove a member first"),
        ChangeError::BadId { .. } | ChangeError::BadAddress { .. } => {
            ApiError::malformed(message, "correct the value and send the request again")
        }
        ChangeError::Overloaded { what } => ApiError::overloaded(what),
    }
}

#[cfg(test)]
mod tests;
