//! What requests bring along, checked: how long to wait, under which key, and the body.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use oarlock_wasm::MAX_KEY_BYTES;

use super::App;
use super::error::ApiError;

/// The header with the log's index in answers.
pub(crate) const INDEX: HeaderName = HeaderName::from_static("oarlock-index");
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TIMEOUT: HeaderName = HeaderName::from_static("oarlock-timeout-ms");

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_TIMEOUT_MS: u64 = 600_000;

/// How much of a body that is too large is read and thrown away, in bytes, so that its sender gets to read the answer
/// instead of a broken connection.
const DISCARD_BYTES: u64 = 64 << 20;
/// … and for how long.
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// How long the client wants to wait.
///
/// # Errors
/// The header says something else than a number from 1 to 600,000.
pub(crate) fn timeout(headers: &HeaderMap) -> Result<Duration, ApiError> {
    timeout_or(headers, DEFAULT_TIMEOUT)
}

/// The same for a request that may take longer where the client says nothing.
///
/// # Errors
/// As [`timeout`].
pub(crate) fn timeout_or(headers: &HeaderMap, default: Duration) -> Result<Duration, ApiError> {
    let Some(value) = single(headers, &TIMEOUT)? else {
        return Ok(default);
    };
    let text = value.to_str().unwrap_or_default();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(ms @ 1..=MAX_TIMEOUT_MS) if digits => Ok(Duration::from_millis(ms)),
        _ => Err(ApiError::malformed(
            "the header Oarlock-Timeout-Ms is not a whole number of milliseconds in its range",
            format!("give a number from 1 to {MAX_TIMEOUT_MS}, or leave the header out for 10000"),
        )),
    }
}

/// The idempotency key, if there is one.
///
/// # Errors
/// It is empty, too long, or holds something else than visible ASCII characters.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = single(headers, &KEY)? else {
        return Ok(None);
    };
    let bytes = value.as_bytes();
    let fits = (1..=MAX_KEY_BYTES).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    match value.to_str() {
        Ok(key) if fits => Ok(Some(key)),
        _ => Err(ApiError::malformed(
            "the header Idempotency-Key is not a key",
            format!(
                "give 1 to {MAX_KEY_BYTES} visible ASCII characters without spaces, a UUID say"
            ),
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
            format!("the header {name} is there more than once"),
            "send it once",
        )),
    }
}

/// Bytes of bodies that are in memory, over all connections.
#[derive(Clone, Debug)]
pub(crate) struct BodyBudget {
    taken: Arc<AtomicU64>,
    limit: u64,
}

/// Bytes of the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: BodyBudget,
    bytes: u64,
}

impl BodyBudget {
    /// So many bytes at a time.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            taken: Arc::default(),
            limit,
        }
    }

    /// Takes a share for a body.
    ///
    /// # Errors
    /// There is not so much left.
    pub(super) fn take(&self, bytes: u64) -> Result<Share, ApiError> {
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        let share = Share {
            budget: self.clone(),
            bytes,
        };
        if before.saturating_add(bytes) > self.limit {
            return Err(ApiError::overloaded("bodies of requests"));
        }
        Ok(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads a command or a query: 1 byte to `limits.command_bytes`. The share goes when the request is answered.
///
/// # Errors
/// It is empty, too large, cut short, or does not come in time.
pub(crate) async fn body(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, Share), ApiError> {
    body_up_to(app, headers, body, app.limits.command_bytes).await
}

/// The same with another limit.
///
/// # Errors
/// As [`body`].
pub(crate) async fn body_up_to(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    limit: u64,
) -> Result<(Bytes, Share), ApiError> {
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit) {
        // A client that waits for a word before it sends gets none, and sends nothing.
        if !headers.contains_key(EXPECT) {
            discard(body).await;
        }
        return Err(ApiError::too_large(limit));
    }
    let share = app.bodies.take(declared.unwrap_or(limit))?;
    let reading = read(body, limit, declared);
    let late = || {
        let seconds = app.http.body_timeout.as_secs();
        ApiError::malformed(
            format!("the body did not arrive within {seconds} seconds; nothing was carried out"),
            "send the whole body at once",
        )
    };
    let bytes = tokio::time::timeout(app.http.body_timeout, reading)
        .await
        .map_err(|_| late())??;
    if bytes.is_empty() {
        return Err(ApiError::malformed(
            "the body is empty",
            "send one command or query, as the guest wants it",
        ));
    }
    Ok((bytes, share))
}

async fn read(mut body: Body, limit: u64, declared: Option<u64>) -> Result<Bytes, ApiError> {
    let mut first = Bytes::new();
    let mut more: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        let cut = |error: axum::Error| {
            ApiError::malformed(
                format!("the body was cut short: {error}; nothing was carried out"),
                "send it again",
            )
        };
        let Ok(data) = frame.map_err(cut)?.into_data() else {
            continue;
        };
        let so_far = more.as_ref().map_or(first.len(), BytesMut::len);
        if so_far as u64 + data.len() as u64 > limit {
            discard(body).await;
            return Err(ApiError::too_large(limit));
        }
        if let Some(gathered) = &mut more {
            gathered.extend_from_slice(&data);
        } else if first.is_empty() {
            // Most bodies come in one piece, which is then not copied.
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

/// Reads on without keeping anything, within bounds.
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
    // Whether all of it came makes no difference: it is refused.
    let _ = tokio::time::timeout(DISCARD_TIME, reading).await;
}

#[cfg(test)]
mod tests;
