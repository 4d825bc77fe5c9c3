//! The guest's replies as HTTP responses.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use task_queue_raft::ids::Index;

use super::app::App;
use super::error::ApiError;

/// The response header with an index of the log.
pub(super) const INDEX: HeaderName = HeaderName::from_static("oarlock-index");

/// The outcome of a command or a query: the guest's reply, or an error of the host or of the guest.
pub(super) type ReplyResult = Result<GuestReply, ApiError>;

/// Bytes that the guest returned. They become the body of the response unchanged.
#[derive(Debug)]
pub(super) struct GuestReply {
    /// 200, or 422 if the guest rejected the command or query.
    pub(super) status: StatusCode,
    /// A command: the index of its entry. A query: the last entry in the state that it read.
    pub(super) index: Index,
    pub(super) body: Bytes,
}

impl GuestReply {
    /// The guest accepted the command or responded to the query.
    pub(super) fn accepted(index: Index, body: Bytes) -> Self {
        Self {
            status: StatusCode::OK,
            index,
            body,
        }
    }

    /// The guest rejected the command or query.
    pub(super) fn rejected(index: Index, body: Bytes) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            index,
            body,
        }
    }

    pub(super) fn into_response(self, app: &App) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(app)));
        headers.insert(INDEX, HeaderValue::from(self.index.0));
        response
    }
}

/// The media type of the guest's codec.
pub(super) fn content_type(app: &App) -> &'static str {
    if app
        .machine
        .module()
        .description()
        .codec
        .eq_ignore_ascii_case("json")
    {
        "application/json"
    } else {
        "application/octet-stream"
    }
}
