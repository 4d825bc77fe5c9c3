//! Reads responses: which are results, which are errors.

use bytes::Bytes;
use hyper::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::endpoint::Endpoint;
use crate::error::{ApplyError, QueryError, RequestError};
use crate::transport::HttpReply;

/// The longest message of a node that an error repeats, in characters. The rest is cut.
const MAX_MESSAGE_CHARS: usize = 2_000;

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyResponse {
    /// Log index of the command.
    pub index: u64,
    /// The guest's reply.
    pub reply: Bytes,
}

/// The result of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryResponse {
    /// Log index of the last entry that the guest had applied.
    pub index: u64,
    /// The guest's response.
    pub response: Bytes,
}

/// An error of the host: `{"error":{"code","message","hint"}}`.
#[derive(Debug, Deserialize)]
pub(super) struct HostError {
    /// The kind of error.
    pub(super) code: String,
    message: String,
    #[serde(default)]
    hint: String,
}

#[derive(Deserialize)]
struct HostErrorBody {
    error: HostError,
}

impl HostError {
    /// Message and hint, as one text.
    pub(super) fn text(&self) -> String {
        let text = if self.hint.is_empty() {
            self.message.clone()
        } else {
            format!("{}; {}", self.message, self.hint)
        };
        match text.char_indices().nth(MAX_MESSAGE_CHARS) {
            Some((end, _)) => text[..end].to_owned(),
            None => text,
        }
    }
}

/// Parses the body of an error response.
pub(super) fn host_error(body: &[u8]) -> Option<HostError> {
    serde_json::from_slice::<HostErrorBody>(body)
        .ok()
        .map(|body| body.error)
}

/// Reads the response to a command.
pub(super) fn of_apply(
    endpoint: &Endpoint,
    reply: HttpReply,
    key: Option<String>,
) -> Result<ApplyResponse, ApplyError> {
    match reply.status {
        StatusCode::OK => match index_of(endpoint, &reply) {
            Ok(index) => Ok(ApplyResponse {
                index,
                reply: reply.body,
            }),
            Err(cause) => Err(ApplyError::OutcomeUnknown { key, cause }),
        },
        StatusCode::UNPROCESSABLE_ENTITY => Err(ApplyError::Refused(reply.body)),
        status => match (status, host_error(&reply.body)) {
            (status, Some(error)) if is_guest_failure(status, &error.code) => {
                Err(ApplyError::Failed {
                    message: error.text(),
                    code: error.code,
                })
            }
            (StatusCode::CONFLICT, Some(error)) => Err(ApplyError::KeyReused {
                message: error.text(),
            }),
            // An unknown server error: the command may have been applied.
            (status, error) if status.is_server_error() => Err(ApplyError::OutcomeUnknown {
                key,
                cause: unexpected(endpoint, status, error),
            }),
            (status, error) => Err(ApplyError::NotApplied(unexpected(endpoint, status, error))),
        },
    }
}

/// Reads the response to a query.
pub(super) fn of_query(endpoint: &Endpoint, reply: HttpReply) -> Result<QueryResponse, QueryError> {
    match reply.status {
        StatusCode::OK => Ok(QueryResponse {
            index: index_of(endpoint, &reply)?,
            response: reply.body,
        }),
        StatusCode::UNPROCESSABLE_ENTITY => Err(QueryError::Refused(reply.body)),
        status => match (status, host_error(&reply.body)) {
            (status, Some(error)) if is_guest_failure(status, &error.code) => {
                Err(QueryError::Failed {
                    message: error.text(),
                    code: error.code,
                })
            }
            (status, error) => Err(unexpected(endpoint, status, error).into()),
        },
    }
}

/// The body of a 200 response.
///
/// # Errors
/// The response has another status.
pub(super) fn expect_ok(endpoint: &Endpoint, reply: HttpReply) -> Result<Bytes, RequestError> {
    match reply.status {
        StatusCode::OK => Ok(reply.body),
        status => Err(unexpected(endpoint, status, host_error(&reply.body))),
    }
}

/// Parses a body as JSON.
///
/// # Errors
/// The body is not JSON, or of another type.
pub(super) fn json<T: DeserializeOwned>(
    endpoint: &Endpoint,
    body: &[u8],
) -> Result<T, RequestError> {
    serde_json::from_slice(body).map_err(|error| RequestError::Malformed {
        endpoint: endpoint.clone(),
        message: error.to_string(),
    })
}

/// Code of the failure of a guest whose state is full. Its status is 507, like that of a full disk, which is no failure of
/// the guest.
const STATE_FULL: &str = "state_full";

/// Whether the body of a 507 response tells that the state of the guest is full.
pub(super) fn is_state_full(body: &[u8]) -> bool {
    host_error(body).is_some_and(|error| error.code == STATE_FULL)
}

fn is_guest_failure(status: StatusCode, code: &str) -> bool {
    match status {
        StatusCode::INTERNAL_SERVER_ERROR => {
            matches!(code, "trap" | "out_of_fuel" | "out_of_memory")
        }
        StatusCode::INSUFFICIENT_STORAGE => code == STATE_FULL,
        _ => false,
    }
}

fn unexpected(endpoint: &Endpoint, status: StatusCode, error: Option<HostError>) -> RequestError {
    match error {
        None => RequestError::Malformed {
            endpoint: endpoint.clone(),
            message: format!(
                "HTTP {} without an error object in the body",
                status.as_u16()
            ),
        },
        Some(error) if status == StatusCode::PAYLOAD_TOO_LARGE => RequestError::TooLarge {
            message: error.text(),
        },
        Some(error) => RequestError::Invalid {
            status: status.as_u16(),
            message: error.text(),
            code: error.code,
        },
    }
}

fn index_of(endpoint: &Endpoint, reply: &HttpReply) -> Result<u64, RequestError> {
    let malformed = |message: &str| RequestError::Malformed {
        endpoint: endpoint.clone(),
        message: message.to_owned(),
    };
    let header = reply
        .headers
        .get("oarlock-index")
        .ok_or_else(|| malformed("the header Oarlock-Index is missing"))?;
    let index = header.to_str().ok().and_then(|text| text.parse().ok());
    index.ok_or_else(|| malformed("the header Oarlock-Index is not a number"))
}
