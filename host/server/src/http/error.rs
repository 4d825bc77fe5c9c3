//! Every error of the host: a status, and `{"error":{"code","message","hint"}}`.
//!
//! A guest's refusal is not among them: its words are the body as they are.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use oarlock_wasm::GuestFailure;
use serde::Serialize;
use task_queue_raft::SubmitError;

/// Longest part of a request that an error repeats, in characters.
const ECHO_CHARS: usize = 100;

/// An error as a client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: String,
}

#[derive(Serialize)]
struct ErrorBody<'e> {
    error: Words<'e>,
}

#[derive(Serialize)]
struct Words<'e> {
    code: &'e str,
    message: &'e str,
    hint: &'e str,
}

impl ApiError {
    fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// 400: the request itself makes no sense.
    pub(crate) fn malformed(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", message, hint)
    }

    /// 404.
    pub(crate) fn not_found(path: &str) -> Self {
        let path: String = path.chars().take(ECHO_CHARS).collect();
        let message = format!("there is nothing at {path}");
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            message,
            "send commands to POST /v1/apply and queries to POST /v1/query; GET / shows a dashboard",
        )
    }

    /// 405. The router adds `Allow`.
    pub(crate) fn method_not_allowed(method: &Method, path: &str) -> Self {
        let method: String = method.as_str().chars().take(ECHO_CHARS).collect();
        let message = format!("{path} does not take {method}");
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            message,
            "use one of the methods in the header Allow",
        )
    }

    /// 409: an idempotency key was used for another body.
    pub(crate) fn key_reused() -> Self {
        let message = "this Idempotency-Key was used for a command with another body; this command was not carried out";
        Self::new(
            StatusCode::CONFLICT,
            "key_reused",
            message,
            "use a new key for each new command, and the same one only to send the same command again",
        )
    }

    /// 413.
    pub(crate) fn too_large(limit: u64) -> Self {
        let message =
            format!("the body is larger than the limit of {limit} bytes; nothing was carried out");
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            message,
            "send less at once, or start every node with a higher --max-command-bytes",
        )
    }

    /// 429.
    pub(crate) fn overloaded(what: &str) -> Self {
        let message = format!("too much is under way ({what}); nothing was carried out");
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "overloaded",
            message,
            "try again after the time in Retry-After, with fewer requests at once",
        )
    }

    /// 503: there is nobody to take the request.
    pub(crate) fn no_leader() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_leader",
            "this node knows of no leader; nothing was carried out",
            "try again after the time in Retry-After, here or at another node; if it lasts, look whether a majority of the nodes runs, and at a cluster's very first start all of them",
        )
    }

    /// 503: it has a leader and is behind.
    pub(crate) fn not_ready() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_ready",
            "this node has not caught up with its leader yet",
            "try again after the time in Retry-After, or use another node meanwhile",
        )
    }

    /// 503: its state is not the cluster's.
    pub(crate) fn quarantined() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "quarantined",
            "this node came to another state than the majority and serves nobody",
            "use another node; this one gets a leader's state and serves again, unless GET /v1/status says that it has given up",
        )
    }

    /// 504 for a command: nobody knows what became of it.
    pub(crate) fn outcome_unknown(why: &str) -> Self {
        let message = format!(
            "{why}: the outcome is unknown, the command may or may not have been carried out"
        );
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "timeout",
            message,
            "send it again with the same Idempotency-Key, or look with a query before you send it again without one; raise Oarlock-Timeout-Ms to wait longer",
        )
    }

    /// 504 for something that changes nothing.
    pub(crate) fn no_answer(why: &str) -> Self {
        let message = format!("{why}; nothing was changed");
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "timeout",
            message,
            "try again, here or at another node; raise Oarlock-Timeout-Ms to wait longer",
        )
    }

    /// 500: the guest failed, and nothing changed.
    pub(crate) fn guest_failed(failure: &GuestFailure) -> Self {
        let hint = match failure.code() {
            "out_of_fuel" => {
                "nothing was changed; do less in one command, or start every node with a higher --fuel-per-command or --fuel-per-query"
            }
            "out_of_memory" => {
                "nothing was changed; keep less state, or start every node with a higher --guest-memory-bytes"
            }
            _ => "nothing was changed; repair the guest",
        };
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            failure.code(),
            failure.to_string(),
            hint,
        )
    }

    /// 500: this node can't ask its guest.
    pub(crate) fn guest_unavailable(reason: &str) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "guest_unavailable",
            reason,
            "ask another node, and look at this one's log",
        )
    }

    /// 422: the guest has no queries at all.
    pub(crate) fn no_queries(words: String) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "no_queries",
            words,
            "have a command reply with what you need, or export the interface `queries` from the guest",
        )
    }

    /// 507: the leader can't write anything down, and no other node could take over.
    fn disk_full() -> Self {
        Self::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "disk_full",
            "the leader's disk is full, and no other node could take over; the command was not carried out",
            "make room on that disk: the node finds out by itself; queries are answered meanwhile",
        )
    }

    /// 500: something in this program broke.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            message,
            "this is a bug: please report it with this node's log",
        )
    }

    /// Why an operator's order was not carried out.
    pub(super) fn of_operator(
        status: StatusCode,
        code: &'static str,
        message: String,
        hint: &str,
    ) -> Self {
        Self::new(status, code, message, hint)
    }

    /// Why a command has no outcome.
    pub(crate) fn of_command(error: &SubmitError) -> Self {
        match error {
            SubmitError::NotLeader { .. } | SubmitError::NoLeader => Self::no_leader(),
            SubmitError::Overloaded { what } => Self::overloaded(what),
            SubmitError::DiskFull => Self::disk_full(),
            SubmitError::TooLarge { limit, .. } => Self::too_large(*limit),
            SubmitError::TimedOut => Self::outcome_unknown("no outcome in time"),
            SubmitError::Stopped => Self::outcome_unknown("this node is stopping"),
        }
    }

    /// Why a question has no answer.
    pub(crate) fn of_query(error: &SubmitError) -> Self {
        match error {
            SubmitError::NotLeader { .. } | SubmitError::NoLeader => Self::no_leader(),
            SubmitError::Overloaded { what } => Self::overloaded(what),
            SubmitError::DiskFull => Self::disk_full(),
            SubmitError::TooLarge { limit, .. } => Self::too_large(*limit),
            SubmitError::TimedOut => Self::no_answer("no answer in time"),
            SubmitError::Stopped => Self::no_answer("this node is stopping"),
        }
    }

    /// Whether nobody knows what became of it.
    pub(super) fn is_timeout(&self) -> bool {
        self.status == StatusCode::GATEWAY_TIMEOUT
    }

    /// The body.
    pub(super) fn json(&self) -> Vec<u8> {
        let words = Words {
            code: self.code,
            message: &self.message,
            hint: &self.hint,
        };
        // Three texts are always JSON.
        serde_json::to_vec(&ErrorBody { error: words }).unwrap_or_default()
    }

    /// Whether the answer says when to try again.
    pub(super) fn is_worth_a_retry(&self) -> bool {
        matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        )
    }

    /// The code.
    #[cfg(test)]
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.json()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.is_worth_a_retry() {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests;
