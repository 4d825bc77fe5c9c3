//! Who may send a request. A node without TLS does not ask.

use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;

use super::app::App;
use super::error::ApiError;
use super::reference::Access;
use crate::access::{AccessDenied, AccessRole, Requester, TokenError};

/// Paths that everyone may read, because they show no data.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Who sends a request: the owner of the token in the header `Authorization`, or else that of the certificate of the connection.
///
/// # Errors
/// 401 if the token is not accepted.
pub(super) fn identify(
    app: &App,
    headers: &HeaderMap,
    caller: Requester,
) -> Result<Requester, ApiError> {
    let Some(tls) = &app.tls else {
        return Ok(caller);
    };
    let checked = match bearer(headers) {
        Ok(None) => return Ok(caller),
        Ok(Some(token)) => tls.current().check_token(token),
        Err(error) => Err(error),
    };
    checked
        .map(Requester::Known)
        .map_err(|error| ApiError::bad_token(&error))
}

/// The token in the header `Authorization`, if there is one.
///
/// # Errors
/// The header has another form, or occurs more than once.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, TokenError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Err(TokenError::Malformed),
    };
    value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| Some(token.trim()))
        .ok_or(TokenError::Malformed)
}

/// Checks that a caller may send any request at all, before the node tells which paths exist.
///
/// # Errors
/// 401 if it is unknown.
pub(super) fn check_known(caller: &Requester, path: &str) -> Result<(), ApiError> {
    match caller {
        Requester::Unknown if !OPEN.contains(&path) => {
            Err(ApiError::denied(&AccessDenied::Unauthenticated))
        }
        _ => Ok(()),
    }
}

/// Checks that the caller in a request may send it, and logs what operators do.
pub(super) async fn check(
    access: Access,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let needs = match access {
        Access::Open => return Ok(next.run(request).await),
        Access::Known => None,
        Access::Role(role) | Access::Unscoped(role) => Some(role),
    };
    let caller = request.extensions().get::<Requester>().cloned();
    let caller = caller.unwrap_or(Requester::Unknown);
    caller
        .check(needs)
        .map_err(|denied| ApiError::denied(&denied))?;
    if matches!(access, Access::Unscoped(_)) {
        let unscoped = caller.check_unscoped();
        unscoped.map_err(|denied| ApiError::denied(&denied))?;
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    if let Some(name) = caller.name()
        && matches!(needs, Some(AccessRole::Operator | AccessRole::Upgrader))
        && method != Method::GET
    {
        let status = response.status().as_u16();
        tracing::info!(target: "oarlock::audit", caller = name, %method, path, status, "request of an operator");
    }
    Ok(response)
}
