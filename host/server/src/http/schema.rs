//! `GET /v1/schema`: the schema of the guest's messages.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;

use super::app::App;
use super::error::ApiError;
use super::error_code::ErrorCode;

/// Returns the schema in the description of the active module. The host does not check it.
pub(super) async fn schema(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let module = app.machine.module();
    let schema = &module.description().schema;
    if schema.is_empty() {
        return Err(ApiError::new(
            ErrorCode::NoSchema,
            "the guest has no schema of its messages",
            "add one to the guest: host/docs/schema.md describes it",
        ));
    }
    let mut response = Response::new(Body::from(schema.clone()));
    let content_type = HeaderValue::from_static("application/schema+json");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(response)
}
