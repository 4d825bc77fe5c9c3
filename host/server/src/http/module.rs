//! `GET /v1/state-machine`: the bytes of the guest.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::Response;

use super::App;

pub(super) async fn module(State(app): State<Arc<App>>) -> Response {
    let mut response = Response::new(Body::from(app.module.bytes().clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/wasm"));
    // Hexadecimal digits in quotes are always a header.
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", app.module.sha256())) {
        headers.insert(ETAG, tag);
    }
    response
}
