//! The table of routes. The router, the OpenAPI document and `host/docs/http.md` are made from it, so a new route is a new
//! row, with everything that it accepts and responds with. Tests compare the rows with real responses, and the page with the table.

mod cluster;
mod guest;
mod headers;
mod node;

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;

use super::app::App;
use super::authorize;
use super::error::ApiError;
use super::openapi;
use super::reference::{Access, BodySpec, Repeat, ReplySpec, RouteSpec};

const OPENAPI: RouteSpec = RouteSpec {
    method: "GET",
    path: "/v1/openapi.json",
    access: Access::Known,
    name: "openapi",
    summary: "Return the OpenAPI 3.1 document of this API.",
    details: "",
    handler: || get(openapi_document),
    parameters: &[],
    headers: &[],
    body: BodySpec::None,
    reply: ReplySpec::Document("The document."),
    reply_headers: &[],
    errors: &[],
    repeat: Repeat::ReadOnly,
};

/// All routes, in the order of the documentation.
pub(super) fn all() -> impl Iterator<Item = &'static RouteSpec> {
    const SELF: &[RouteSpec] = &[OPENAPI];
    [guest::ROUTES, cluster::ROUTES, node::ROUTES, SELF]
        .into_iter()
        .flatten()
}

/// All routes of the API, with JSON errors for unknown paths and methods.
pub(super) fn router(app: Arc<App>) -> Router {
    all()
        .fold(Router::new(), |router, route| {
            let access = route.access;
            let check = from_fn(move |request, next| authorize::check(access, request, next));
            router.route(route.path, (route.handler)().route_layer(check))
        })
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        // `request` reads bodies and enforces their limit.
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}

async fn openapi_document() -> Response {
    static DOCUMENT: LazyLock<Bytes> =
        LazyLock::new(|| openapi::document(all()).to_string().into());
    let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (headers, DOCUMENT.clone()).into_response()
}

async fn not_found(request: Request) -> ApiError {
    ApiError::not_found(request.uri().path())
}

async fn method_not_allowed(request: Request) -> ApiError {
    ApiError::method_not_allowed(request.method(), request.uri().path())
}
