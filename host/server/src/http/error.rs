//! Errors of the host: an HTTP status, and the body `{"error":{"code","message","hint"}}`.
//!
//! `message` contains what happened and why, `hint` what to do. A rejection by the guest is not an error of this kind: the
//! guest's reply is the body of that response.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use oarlock_wasm::GuestFailure;
use schemars::JsonSchema;
use serde::Serialize;
use task_queue_raft::SubmitError;

use super::error_code::ErrorCode;
use crate::access::{AccessDenied, TokenError};

/// Longest part of a request that an error message repeats, in characters.
const ECHO_CHARS: usize = 100;

/// Hint for a command or query over the limit.
pub(super) const SMALLER_COMMAND: &str =
    "send a smaller body, or raise the limit with `oarlock settings set command_bytes=N`";

/// An error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    code: ErrorCode,
    message: String,
    hint: String,
}

/// The body of an error response.
#[derive(Serialize, JsonSchema)]
pub(super) struct ErrorBody<'e> {
    error: ErrorFields<'e>,
}

/// An error of the host.
#[derive(Serialize, JsonSchema)]
struct ErrorFields<'e> {
    /// The kind of the error, for programs.
    code: &'e str,
    /// What happened and why, for people.
    message: &'e str,
    /// What to do, for people.
    hint: &'e str,
}

impl ApiError {
    /// An error with this code. Prefer the constructors below for errors that several routes return.
    pub(super) fn new(
        code: ErrorCode,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// 400: the request is invalid.
    pub(crate) fn malformed(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(ErrorCode::Malformed, message, hint)
    }

    /// 401 or 403: the caller may not send this request.
    pub(crate) fn denied(denied: &AccessDenied) -> Self {
        match denied {
            AccessDenied::Unauthenticated => Self::new(
                ErrorCode::Unauthenticated,
                "this node uses TLS, and the client has sent neither a certificate nor a token; nothing was changed",
                "use a certificate of `oarlock cert client` (--certs-dir DIR) or a token of `oarlock token create` (--token-file FILE)",
            ),
            AccessDenied::Forbidden { name, needs } => Self::new(
                ErrorCode::Forbidden,
                format!(
                    "the client {name:?} does not have the role {needs}, which this request needs; nothing was changed"
                ),
                "use a certificate or a token with this role: `oarlock cert client NAME --roles ROLES`, or `oarlock token create NAME --roles ROLES`",
            ),
            AccessDenied::Scoped { name } => Self::new(
                ErrorCode::Forbidden,
                format!(
                    "the token of {name:?} has scopes, and the response to this request is not limited to them"
                ),
                "use a token without scopes, or send queries",
            ),
        }
    }

    /// 401: the token in the request is not accepted.
    pub(crate) fn bad_token(error: &TokenError) -> Self {
        Self::new(
            ErrorCode::Unauthenticated,
            format!(
                "the token in the header Authorization is not accepted: {error}; nothing was changed"
            ),
            "send `Authorization: Bearer TOKEN` with a token of `oarlock token create`",
        )
    }

    /// 404: no route has this path.
    pub(crate) fn not_found(path: &str) -> Self {
        let path: String = path.chars().take(ECHO_CHARS).collect();
        Self::new(
            ErrorCode::NotFound,
            format!("there is no resource at {path}"),
            "send commands to POST /v1/apply and queries to POST /v1/query; GET / serves the dashboard",
        )
    }

    /// 405: the path exists, with other methods. The router adds the header `Allow`.
    pub(crate) fn method_not_allowed(method: &Method, path: &str) -> Self {
        let method: String = method.as_str().chars().take(ECHO_CHARS).collect();
        Self::new(
            ErrorCode::MethodNotAllowed,
            format!("{path} does not support the method {method}"),
            "use one of the methods in the header Allow of this response",
        )
    }

    /// 409: an idempotency key was used for a command with another body.
    pub(crate) fn key_reused() -> Self {
        Self::new(
            ErrorCode::KeyReused,
            "this Idempotency-Key was used before, for a command with another body; this command was not applied",
            "use a new key for each new command; use the same key only to send the same command again",
        )
    }

    /// 413: the body has more than `limit` bytes. `hint` names what changes the limit, if anything does.
    pub(crate) fn too_large(limit: u64, hint: &str) -> Self {
        Self::new(
            ErrorCode::TooLarge,
            format!("the body is larger than the limit of {limit} bytes; nothing was applied"),
            hint,
        )
    }

    /// 429: `what` names the limit that was reached, in the plural, as in "request bodies in memory".
    pub(crate) fn overloaded(what: &str) -> Self {
        Self::new(
            ErrorCode::Overloaded,
            format!("this node is overloaded (too many {what}); nothing was applied"),
            "retry after the time in the header Retry-After, with fewer concurrent requests",
        )
    }

    /// 501: the body has another encoding than `chunked`.
    pub(super) fn unsupported_encoding() -> Self {
        Self::new(
            ErrorCode::NotSupported,
            "the header Transfer-Encoding has another value than `chunked`; nothing was applied",
            "send the body without compression",
        )
    }

    /// 503: no leader was known in time.
    pub(crate) fn no_leader() -> Self {
        Self::new(
            ErrorCode::NoLeader,
            "this node has found no leader of the cluster; nothing was applied",
            "retry after the time in the header Retry-After, on this node or on another one; if the error persists, check \
             that a majority of the voters is running with its own data directories",
        )
    }

    /// 503: the node has a leader, and has not yet applied the entries that were committed when it found the leader.
    pub(crate) fn not_ready() -> Self {
        Self::new(
            ErrorCode::NotReady,
            "this node has not caught up with the leader yet",
            "retry after the time in the header Retry-After, or use another node",
        )
    }

    /// 503: this node stops, as planned or because its data directory is gone.
    pub(crate) fn stopping() -> Self {
        Self::new(
            ErrorCode::NotReady,
            "this node is stopping",
            "use another node",
        )
    }

    /// 503: an audit has found that this node's state differs from the majority's.
    pub(crate) fn quarantined() -> Self {
        Self::new(
            ErrorCode::Quarantined,
            "the state of this node differs from the state of the majority, so this node serves no requests",
            "use another node; this node installs a snapshot of the leader and then serves again, unless `given_up` is true \
             in GET /v1/status",
        )
    }

    /// 503: the states of the nodes differ, and no majority agrees.
    pub(crate) fn states_differ() -> Self {
        Self::new(
            ErrorCode::StatesDiffer,
            "the states of the nodes differ and no majority agrees, so the cluster accepts no commands; nothing was applied",
            "GET /v1/status shows the audit; compare the states with stale queries on each node, then accept one of them with \
             `oarlock audit accept NODE`",
        )
    }

    /// 504 for a command. `why` is the reason why there is no outcome.
    pub(crate) fn outcome_unknown(why: &str) -> Self {
        Self::new(
            ErrorCode::Timeout,
            format!("{why}: the outcome is unknown, the command may or may not have been applied"),
            "send the command again with the same Idempotency-Key; without a key, check its effect with a query first; to \
             wait longer, raise Oarlock-Timeout-Ms",
        )
    }

    /// 504 for a request that changes nothing. `why` is the reason why there is no response.
    pub(crate) fn no_response(why: &str) -> Self {
        Self::new(
            ErrorCode::Timeout,
            format!("{why}; nothing was changed"),
            "retry, on this node or on another one; to wait longer, raise Oarlock-Timeout-Ms",
        )
    }

    /// 500: the node could not take a snapshot.
    pub(crate) fn snapshot_failed(reason: &str) -> Self {
        Self::new(
            ErrorCode::SnapshotFailed,
            format!("the snapshot failed: {reason}; nothing was changed"),
            "remove the cause on this node, for example free space on its disk or raise --guest-memory-bytes; then retry",
        )
    }

    /// 500, or 507 if its state is full: the guest failed. Its state is rolled back to the state before the command.
    pub(crate) fn guest_failed(failure: &GuestFailure) -> Self {
        let (code, hint) = match failure {
            GuestFailure::OutOfFuel => (
                ErrorCode::OutOfFuel,
                "nothing was changed; do less work in one command, or raise the limit with `oarlock settings set \
                 fuel_per_command=N`; the limit of queries is the flag --fuel-per-query of each node",
            ),
            GuestFailure::OutOfMemory => (
                ErrorCode::OutOfMemory,
                "nothing was changed; keep less state, or raise the limit with `oarlock settings set memory_bytes=N`",
            ),
            GuestFailure::StateFull => (
                ErrorCode::StateFull,
                "nothing was changed; send commands that remove state, or raise the limit with `oarlock settings set \
                 memory_bytes=N`",
            ),
            _ => (
                ErrorCode::Trap,
                "nothing was changed; fix the error in the guest",
            ),
        };
        Self::new(code, failure.to_string(), hint)
    }

    /// 500: this node can't run queries.
    pub(crate) fn guest_unavailable(reason: &str) -> Self {
        Self::new(
            ErrorCode::GuestUnavailable,
            reason,
            "send the query to another node, and read the log of this node",
        )
    }

    /// 422: the guest doesn't export the interface `queries`.
    pub(crate) fn no_queries(message: String) -> Self {
        Self::new(
            ErrorCode::NoQueries,
            message,
            "return the data in the reply of a command, or export the interface `queries` from the guest",
        )
    }

    /// 507: the leader can't write its log, and no other voter can become leader.
    fn disk_full() -> Self {
        Self::new(
            ErrorCode::DiskFull,
            "the disk of the leader is full, and no other node could become leader; the command was not applied",
            "free space on that disk; the leader then accepts commands again by itself; queries are still served",
        )
    }

    /// 500: a bug in this program.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(
            ErrorCode::Internal,
            message,
            "this is a bug: please report it with the log of this node",
        )
    }

    /// The error of a command without an outcome.
    pub(crate) fn of_command(error: &SubmitError) -> Self {
        match error {
            SubmitError::NotLeader { .. } | SubmitError::NoLeader => Self::no_leader(),
            SubmitError::Overloaded { what } => Self::overloaded(what),
            SubmitError::DiskFull => Self::disk_full(),
            SubmitError::TooLarge { limit, .. } => Self::too_large(*limit, SMALLER_COMMAND),
            SubmitError::TimedOut => Self::outcome_unknown("the command timed out"),
            SubmitError::OutcomeLost => {
                Self::outcome_unknown("this node lagged and got a snapshot instead of entries")
            }
            SubmitError::Stopped => Self::outcome_unknown("this node is stopping"),
        }
    }

    /// The error of a query without a response.
    pub(crate) fn of_query(error: &SubmitError) -> Self {
        match error {
            SubmitError::NotLeader { .. } | SubmitError::NoLeader => Self::no_leader(),
            SubmitError::Overloaded { what } => Self::overloaded(what),
            SubmitError::DiskFull => Self::disk_full(),
            SubmitError::TooLarge { limit, .. } => Self::too_large(*limit, SMALLER_COMMAND),
            SubmitError::TimedOut | SubmitError::OutcomeLost => {
                Self::no_response("the query timed out")
            }
            SubmitError::Stopped => Self::no_response("this node is stopping"),
        }
    }

    /// The body of the response.
    pub(super) fn json(&self) -> Vec<u8> {
        let error = ErrorFields {
            code: self.code.as_str(),
            message: &self.message,
            hint: &self.hint,
        };
        // Serializing three strings can't fail.
        serde_json::to_vec(&ErrorBody { error }).unwrap_or_default()
    }

    /// Whether the response has the header `Retry-After`.
    pub(super) fn has_retry_after(&self) -> bool {
        self.code.has_retry_after()
    }

    /// The code in the body.
    pub(crate) fn code(&self) -> &'static str {
        self.code.as_str()
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        self.code.status()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.json()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.has_retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.code == ErrorCode::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests;
