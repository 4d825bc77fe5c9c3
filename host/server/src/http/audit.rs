//! `/v1/audit`: the latest comparison of the nodes' states, and the acceptance of one of them where no majority agrees.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use oarlock_wasm::{Envelope, Sha256, StateAcceptance};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::operations::{self, Operation};
use super::{members, request};
use crate::status::AuditStatus;

/// Longest `by`, in bytes.
const MAX_BY_BYTES: usize = 128;

/// The response to `GET /v1/audit`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AuditResponse {
    #[serde(flatten)]
    status: AuditStatus,
    /// State hashes after the entry of the audit, by node, as far as the nodes have reported them.
    reports: BTreeMap<String, String>,
    /// The hash that an operator has accepted; null if there is none.
    accepted: Option<String>,
}

/// The body of `POST /v1/audit/accept`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AcceptState {
    /// The node whose state is the right one.
    node: String,
    /// Who decides it, for the logs of the nodes: up to 128 bytes, by default `http`.
    #[serde(default)]
    by: Option<String>,
}

pub(super) async fn show(State(app): State<Arc<App>>) -> Json<AuditResponse> {
    Json(response(&app))
}

/// Records that the state of one node is the right one. The others then install a snapshot of it.
pub(super) async fn accept(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<AuditResponse>, ApiError> {
    const SHAPE: &str =
        r#"send {"node":"node2"}; GET /v1/audit lists the nodes that have reported"#;
    let (parts, body) = request.into_parts();
    let timeout = request::timeout(&parts.headers)?;
    let AcceptState { node, by } = members::read(&app, &parts.headers, body, SHAPE).await?;
    let by = request::operator(&parts.extensions, by);
    if by.len() > MAX_BY_BYTES || by.chars().any(char::is_control) {
        return Err(ApiError::malformed(
            format!("`by` has more than {MAX_BY_BYTES} bytes, or a control character"),
            SHAPE,
        ));
    }
    let (requested_at, hash) = acceptable(&app, &node)?;
    let operation = Operation::new(&parts.extensions, "acceptState", node);
    let acceptance = StateAcceptance {
        requested_at,
        hash,
        by,
    };
    let accepting = async {
        let envelope = Envelope::accept(&acceptance);
        let applied = app.raft.submit(envelope, timeout).await;
        applied.map_err(|error| ApiError::of_command(&error))
    };
    operations::recorded(&app, operation, accepting).await?;
    Ok(Json(response(&app)))
}

/// The audit and the hash of the node, if an operator may accept it.
fn acceptable(app: &App, node: &str) -> Result<(task_queue_raft::ids::Index, Sha256), ApiError> {
    let status = app.raft.status();
    if status.cluster_level == 0 {
        return Err(ApiError::new(
            ErrorCode::LevelTooLow,
            "the cluster is at level 0, whose log can't contain the acceptance of a state",
            "run this release on every node, then send POST /v1/settings/raise-level",
        ));
    }
    let id = node.into();
    if status.membership.contains(&id) && !status.membership.is_voter(&id) {
        return Err(ApiError::new(
            ErrorCode::NotAVoter,
            format!("{node} is no voter, so no node could get its state from it"),
            "make it a voter with `oarlock members promote`, or accept the state of a voter",
        ));
    }
    let audit = app.machine.audit();
    let is_alone = matches!(&status.voters[..], [only] if only.as_str() == node);
    if !app.auditor.findings().undecided && !is_alone {
        return Err(ApiError::new(
            ErrorCode::StatesAgree,
            "a majority of the voters has the same state, or the audit has not ended; nodes that differ install a snapshot by themselves",
            "GET /v1/audit shows the audit; retry after the next one",
        ));
    }
    let reported = audit.reports.get(node).copied();
    let (Some(requested_at), Some(hash)) = (audit.requested_at, reported) else {
        return Err(ApiError::new(
            ErrorCode::NoReport,
            "the node has not reported a state hash for the latest audit",
            "check that the node is running, and retry after the next audit; GET /v1/audit lists the reports",
        ));
    };
    Ok((requested_at, hash))
}

fn response(app: &App) -> AuditResponse {
    let audit = app.machine.audit();
    let reports = audit.reports.iter();
    AuditResponse {
        status: app.audit_status(),
        reports: reports
            .map(|(node, hash)| (node.clone(), hash.to_string()))
            .collect(),
        accepted: audit
            .accepted
            .or(audit.accepted_earlier())
            .map(|hash| hash.to_string()),
    }
}
