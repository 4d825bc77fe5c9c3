//! The table of routes agrees with the responses of real nodes, with the source, and with `host/docs/http.md`.
//!
//! Every response that a test of this module's parent receives is compared with the table: see [`compare`].

mod answers;
mod openapi;
mod page;
mod source;

use serde_json::Value;

use super::support::ReceivedResponse;
use crate::http::error_code::ErrorCode;
use crate::http::reference::{ReplySpec, RouteSpec};
use crate::http::routes;

/// Errors of every path.
const GENERAL: [ErrorCode; 7] = [
    ErrorCode::NotFound,
    ErrorCode::MethodNotAllowed,
    ErrorCode::CrossOrigin,
    ErrorCode::Unauthenticated,
    ErrorCode::Forbidden,
    ErrorCode::UnknownHost,
    ErrorCode::NotSupported,
];

/// The route of a request. A part of a path in braces stands for any text.
fn route_of(method: &str, target: &str) -> Option<&'static RouteSpec> {
    let path = target.split('?').next().unwrap_or(target);
    routes::all().find(|route| {
        let (wanted, found) = (route.path.split('/'), path.split('/'));
        route.method == method
            && wanted.clone().count() == found.clone().count()
            && wanted
                .zip(found)
                .all(|(wanted, found)| wanted == found || wanted.starts_with('{'))
    })
}

/// Panics where a response is not among those that the table has for the request.
#[track_caller]
pub(super) fn compare(method: &str, target: &str, response: &ReceivedResponse) {
    let route = route_of(method, target);
    let is_of_guest = response.headers.contains_key("oarlock-index");
    match (response.status.as_u16(), route) {
        (200, Some(route)) => compare_reply(route, response),
        (422, Some(route)) if is_of_guest => {
            assert!(matches!(route.reply, ReplySpec::Guest), "{}", route.path);
        }
        (_, route) => {
            assert!(!is_of_guest, "an error of the host: {response:?}");
            compare_error(route, response);
        }
    }
}

#[track_caller]
fn compare_reply(route: &RouteSpec, response: &ReceivedResponse) {
    let content_type = response.header("content-type");
    for header in route.reply_headers {
        let name = header.name;
        assert!(!response.header(name).is_empty(), "no {name}: {response:?}");
    }
    match route.reply {
        ReplySpec::Guest => {}
        ReplySpec::Json(schema) => {
            assert_eq!(content_type, "application/json");
            openapi::check(&openapi::schema_of(schema), &response.json(), route.name);
        }
        ReplySpec::Document(_) => assert_eq!(content_type, "application/json"),
        ReplySpec::Other { media_type, .. } => assert_eq!(content_type, media_type),
    }
}

#[track_caller]
fn compare_error(route: Option<&RouteSpec>, response: &ReceivedResponse) {
    let error: Value = response.json()["error"].clone();
    let own = route.map_or(&[][..], |route| route.errors);
    let status = response.status;
    let code = own
        .iter()
        .chain(&GENERAL)
        .find(|code| code.as_str() == error["code"] && code.status() == status);
    let Some(code) = code else {
        panic!(
            "the table has no such error for {:?}: {response:?}",
            route.map(|route| route.path)
        );
    };
    assert_eq!(response.header("content-type"), "application/json");
    let retry_after = response.headers.contains_key("retry-after");
    assert_eq!(retry_after, code.has_retry_after(), "{response:?}");
    let allow = response.headers.contains_key("allow");
    assert_eq!(allow, *code == ErrorCode::MethodNotAllowed, "{response:?}");
}

#[test]
#[should_panic(expected = "the table has no such error")]
fn an_error_that_a_route_does_not_have_is_found() {
    let error = crate::http::error::ApiError::key_reused();
    let response = ReceivedResponse {
        status: error.status(),
        headers: hyper::HeaderMap::new(),
        body: error.json().into(),
    };
    compare("POST", "/v1/query", &response);
}
