//! Validates the headers of requests and reads their bodies.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue};
use axum::http::{Extensions, HeaderMap};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use oarlock_wasm::MAX_KEY_BYTES;

use super::app::App;
use super::body_budget::BodyShare;
use super::error::{ApiError, SMALLER_COMMAND};
use crate::access::Requester;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TIMEOUT: HeaderName = HeaderName::from_static("oarlock-timeout-ms");

/// Default and maximum of `Oarlock-Timeout-Ms`.
pub(super) const DEFAULT_TIMEOUT_MS: u64 = 10_000;
pub(super) const MAX_TIMEOUT_MS: u64 = 600_000;

/// How much of an oversized body is read and discarded, in bytes. A client that still sends its body while the server
/// closes the connection gets a reset and can't read the error response.
const DISCARD_BYTES: u64 = 64 << 20;
/// How long an oversized body is read and discarded.
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// The value of the header `Oarlock-Timeout-Ms`; 10 seconds without the header.
///
/// # Errors
/// 400 if the value is not an integer from 1 to 600,000.
pub(crate) fn timeout(headers: &HeaderMap) -> Result<Duration, ApiError> {
    timeout_or(headers, Duration::from_millis(DEFAULT_TIMEOUT_MS))
}

/// The same with another default.
///
/// # Errors
/// As [`timeout`].
pub(crate) fn timeout_or(headers: &HeaderMap, default: Duration) -> Result<Duration, ApiError> {
    let Some(value) = single(headers, &TIMEOUT)? else {
        return Ok(default);
    };
    let text = value.to_str().unwrap_or_default();
    // `parse` would accept a plus sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(ms @ 1..=MAX_TIMEOUT_MS) if digits => Ok(Duration::from_millis(ms)),
        _ => Err(ApiError::malformed(
            format!(
                "the header Oarlock-Timeout-Ms is not an integer from 1 to {MAX_TIMEOUT_MS} (milliseconds)"
            ),
            "send a value in this range, or leave the header out for 10000",
        )),
    }
}

/// Who requests a change, for the logs of the nodes: the principal of the connection, or what the client tells, or `http`.
pub(crate) fn operator(extensions: &Extensions, told: Option<String>) -> String {
    let principal = extensions.get::<Requester>().and_then(Requester::name);
    principal
        .map(str::to_owned)
        .or(told)
        .unwrap_or_else(|| "http".to_owned())
}

/// The value of the header `Idempotency-Key`, if the request has one.
///
/// # Errors
/// 400 if the key is empty, too long, or holds anything but visible ASCII characters.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = single(headers, &KEY)? else {
        return Ok(None);
    };
    let bytes = value.as_bytes();
    let fits = (1..=MAX_KEY_BYTES).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    match value.to_str() {
        Ok(key) if fits => Ok(Some(key)),
        _ => Err(ApiError::malformed(
            format!(
                "the header Idempotency-Key does not hold 1 to {MAX_KEY_BYTES} visible ASCII characters"
            ),
            "send a key without spaces, for example a UUID",
        )),
    }
}

fn single<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h HeaderValue>, ApiError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(ApiError::malformed(
            format!("the request has the header {name} more than once"),
            "send the header once",
        )),
    }
}

/// Reads the body of a command or a query: 1 to `MachineLimits::command_bytes` bytes. Hold the share until the request
/// is done.
///
/// # Errors
/// 400 if the body is empty, incomplete or late; 413 if it is too large; 429 if the body budget is used up.
pub(crate) async fn body(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, BodyShare), ApiError> {
    let limit = BodyLimit {
        bytes: app.machine.command_bytes(),
        hint: SMALLER_COMMAND,
    };
    body_up_to(app, headers, body, limit).await
}

/// The largest body that a route accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimit {
    pub(crate) bytes: u64,
    /// What to do with a larger body.
    pub(crate) hint: &'static str,
}

/// The same with another limit.
///
/// # Errors
/// As [`body`].
pub(crate) async fn body_up_to(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    limit: BodyLimit,
) -> Result<(Bytes, BodyShare), ApiError> {
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit.bytes) {
        // A client with `Expect: 100-continue` has not sent its body yet, and sends none after an error.
        if !headers.contains_key(EXPECT) {
            discard(body).await;
        }
        return Err(ApiError::too_large(limit.bytes, limit.hint));
    }
    let share = app.bodies.take(declared.unwrap_or(limit.bytes))?;
    let reading = read(body, limit, declared);
    let late = || {
        let seconds = app.http.body_timeout.as_secs();
        ApiError::malformed(
            format!("the body did not arrive within {seconds} seconds; nothing was applied"),
            "send the complete body at once",
        )
    };
    let bytes = tokio::time::timeout(app.http.body_timeout, reading)
        .await
        .map_err(|_| late())??;
    if bytes.is_empty() {
        return Err(ApiError::malformed(
            "the body is empty",
            "send one command or query, in the format of the guest",
        ));
    }
    Ok((bytes, share))
}

async fn read(mut body: Body, limit: BodyLimit, declared: Option<u64>) -> Result<Bytes, ApiError> {
    let mut first = Bytes::new();
    let mut more: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        let incomplete = |error: axum::Error| {
            ApiError::malformed(
                format!("the body is incomplete: {error}; nothing was applied"),
                "send the request again",
            )
        };
        let Ok(data) = frame.map_err(incomplete)?.into_data() else {
            continue;
        };
        let so_far = more.as_ref().map_or(first.len(), BytesMut::len);
        if so_far as u64 + data.len() as u64 > limit.bytes {
            discard(body).await;
            return Err(ApiError::too_large(limit.bytes, limit.hint));
        }
        if let Some(gathered) = &mut more {
            gathered.extend_from_slice(&data);
        } else if first.is_empty() {
            // Most bodies arrive in one frame, which needs no copy.
            first = data;
        } else {
            let expected = declared
                .and_then(|length| usize::try_from(length).ok())
                .unwrap_or(0);
            let mut gathered = BytesMut::with_capacity(expected.max(so_far + data.len()));
            gathered.extend_from_slice(&first);
            gathered.extend_from_slice(&data);
            more = Some(gathered);
        }
    }
    Ok(more.map_or(first, BytesMut::freeze))
}

/// Reads and discards a body, up to [`DISCARD_BYTES`] and [`DISCARD_TIME`].
async fn discard(mut body: Body) {
    let reading = async {
        let mut left = DISCARD_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            if length > left {
                break;
            }
            left -= length;
        }
    };
    // The request fails in any case, so a timeout makes no difference.
    let _ = tokio::time::timeout(DISCARD_TIME, reading).await;
}

#[cfg(test)]
mod tests;
