//! What an answer means.

use bytes::Bytes;
use hyper::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{ApplyResponse, QueryResponse};
use crate::endpoint::Endpoint;
use crate::error::{ApplyError, QueryError, RequestError};
use crate::transport::HttpReply;

/// Most of a node's words that an error repeats, in characters.
const MAX_WORDS: usize = 2_000;

/// An error of the host: `{"error":{"code","message","hint"}}`.
#[derive(Debug, Deserialize)]
pub(super) struct HostError {
    /// Its kind.
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
    /// What happened and what to do about it.
    pub(super) fn text(&self) -> String {
        let text = if self.hint.is_empty() {
            self.message.clone()
        } else {
            format!("{}; {}", self.message, self.hint)
        };
        match text.char_indices().nth(MAX_WORDS) {
            Some((end, _)) => text[..end].to_owned(),
            None => text,
        }
    }
}

/// Reads the body of an error.
pub(super) fn host_error(body: &[u8]) -> Option<HostError> {
    serde_json::from_slice::<HostErrorBody>(body)
        .ok()
        .map(|body| body.error)
}

/// The answer to a command.
pub(super) fn of_apply(
    endpoint: &Endpoint,
    answer: HttpReply,
    key: Option<String>,
) -> Result<ApplyResponse, ApplyError> {
    match answer.status {
        StatusCode::OK => match index_of(endpoint, &answer) {
            Ok(index) => Ok(ApplyResponse {
                index,
                reply: answer.body,
            }),
            Err(cause) => Err(ApplyError::OutcomeUnknown { key, cause }),
        },
        StatusCode::UNPROCESSABLE_ENTITY => Err(ApplyError::Refused(answer.body)),
        status => match (status, host_error(&answer.body)) {
            (StatusCode::INTERNAL_SERVER_ERROR, Some(told)) if is_guest_failure(&told.code) => {
                Err(ApplyError::Failed {
                    message: told.text(),
                    code: told.code,
                })
            }
            (StatusCode::CONFLICT, Some(told)) => Err(ApplyError::KeyReused {
                message: told.text(),
            }),
            // The host failed in a way that has no name here: it says nothing about the command.
            (status, told) if status.is_server_error() => Err(ApplyError::OutcomeUnknown {
                key,
                cause: unexpected(endpoint, status, told),
            }),
            (status, told) => Err(ApplyError::NotApplied(unexpected(endpoint, status, told))),
        },
    }
}

/// The answer to a query.
pub(super) fn of_query(
    endpoint: &Endpoint,
    answer: HttpReply,
) -> Result<QueryResponse, QueryError> {
    match answer.status {
        StatusCode::OK => Ok(QueryResponse {
            index: index_of(endpoint, &answer)?,
            response: answer.body,
        }),
        StatusCode::UNPROCESSABLE_ENTITY => Err(QueryError::Refused(answer.body)),
        status => match (status, host_error(&answer.body)) {
            (StatusCode::INTERNAL_SERVER_ERROR, Some(told)) if is_guest_failure(&told.code) => {
                Err(QueryError::Failed {
                    message: told.text(),
                    code: told.code,
                })
            }
            (status, told) => Err(unexpected(endpoint, status, told).into()),
        },
    }
}

/// The body of an answer of 200; anything else as an error.
pub(super) fn expect_ok(endpoint: &Endpoint, answer: HttpReply) -> Result<Bytes, RequestError> {
    match answer.status {
        StatusCode::OK => Ok(answer.body),
        status => Err(unexpected(endpoint, status, host_error(&answer.body))),
    }
}

/// A body as JSON of this type.
pub(super) fn json<T: DeserializeOwned>(
    endpoint: &Endpoint,
    body: &[u8],
) -> Result<T, RequestError> {
    serde_json::from_slice(body).map_err(|error| RequestError::Malformed {
        endpoint: endpoint.clone(),
        message: error.to_string(),
    })
}

fn is_guest_failure(code: &str) -> bool {
    matches!(code, "trap" | "out_of_fuel" | "out_of_memory")
}

fn unexpected(endpoint: &Endpoint, status: StatusCode, told: Option<HostError>) -> RequestError {
    match told {
        None => RequestError::Malformed {
            endpoint: endpoint.clone(),
            message: format!("HTTP {} without an error of the host", status.as_u16()),
        },
        Some(told) if status == StatusCode::PAYLOAD_TOO_LARGE => RequestError::TooLarge {
            message: told.text(),
        },
        Some(told) => RequestError::Invalid {
            status: status.as_u16(),
            message: told.text(),
            code: told.code,
        },
    }
}

fn index_of(endpoint: &Endpoint, answer: &HttpReply) -> Result<u64, RequestError> {
    let malformed = |message: &str| RequestError::Malformed {
        endpoint: endpoint.clone(),
        message: message.to_owned(),
    };
    let header = answer
        .headers
        .get("oarlock-index")
        .ok_or_else(|| malformed("the header Oarlock-Index is missing"))?;
    let index = header.to_str().ok().and_then(|text| text.parse().ok());
    index.ok_or_else(|| malformed("the header Oarlock-Index holds no number"))
}
