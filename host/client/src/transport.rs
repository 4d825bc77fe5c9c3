//! One request to one node, and its whole answer.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::endpoint::Endpoint;
use crate::options::{ClientOptions, Protocol};

/// Header that says how long the node may take, in milliseconds.
const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("oarlock-timeout-ms");

/// A connection that was not used for this long is closed; less than what a node waits before it closes it.
const IDLE: Duration = Duration::from_secs(20);

/// What is sent. The same for every attempt.
#[derive(Clone, Debug)]
pub(crate) struct HttpCall {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: Cow<'static, str>,
    pub(crate) key: Option<HeaderValue>,
    pub(crate) body: Bytes,
    /// Longest answer that is taken, in bytes.
    pub(crate) max_reply_bytes: usize,
}

/// What came back, of whatever status.
#[derive(Debug)]
pub(crate) struct HttpReply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why nothing came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ExchangeError {
    /// There was no connection: the node has not seen the request.
    NotConnected(String),
    /// The node may have seen the request.
    Broken(String),
    /// No answer in the time that there was. The node may have seen the request.
    Silent,
    /// An answer came that can't be taken.
    Unreadable(String),
}

/// Connections to nodes, kept while they are used.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    http: HttpClient<HttpConnector, Full<Bytes>>,
}

impl Transport {
    pub(crate) fn new(options: &ClientOptions) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(options.connect_timeout));
        let mut builder = HttpClient::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http2_only(options.protocol == Protocol::Http2);
        Self {
            http: builder.build(connector),
        }
    }

    /// Sends `call` to `endpoint` and reads the answer to its end, within `limit`. The node is told `node_timeout`.
    pub(crate) async fn exchange(
        &self,
        endpoint: &Endpoint,
        call: &HttpCall,
        limit: Duration,
        node_timeout: Duration,
    ) -> Result<HttpReply, ExchangeError> {
        let request = request(endpoint, call, node_timeout)?;
        match tokio::time::timeout(limit, self.send(request, call.max_reply_bytes)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(ExchangeError::Silent),
        }
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
        max_reply_bytes: usize,
    ) -> Result<HttpReply, ExchangeError> {
        let response = self.http.request(request).await.map_err(|error| {
            if error.is_connect() {
                ExchangeError::NotConnected(root_cause(&error))
            } else {
                ExchangeError::Broken(causes(&error))
            }
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, max_reply_bytes)
            .collect()
            .await
            .map_err(|error| {
                if error.is::<LengthLimitError>() {
                    ExchangeError::Unreadable(format!("it takes more than {max_reply_bytes} bytes"))
                } else {
                    ExchangeError::Broken(causes(error.as_ref()))
                }
            })?;
        Ok(HttpReply {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}

fn request(
    endpoint: &Endpoint,
    call: &HttpCall,
    node_timeout: Duration,
) -> Result<Request<Full<Bytes>>, ExchangeError> {
    let not_sent = |error: hyper::http::Error| ExchangeError::NotConnected(causes(&error));
    let uri = Uri::builder()
        .scheme("http")
        .authority(endpoint.authority().clone())
        .path_and_query(&*call.target)
        .build()
        .map_err(not_sent)?;
    let timeout_ms = u64::try_from(node_timeout.as_millis())
        .unwrap_or(u64::MAX)
        .clamp(1, MAX_NODE_TIMEOUT_MS);
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(uri)
        .header(TIMEOUT_HEADER, timeout_ms);
    if let Some(key) = &call.key {
        request = request.header("idempotency-key", key.clone());
    }
    request.body(Full::new(call.body.clone())).map_err(not_sent)
}

/// The longest that a node may be told to wait, in milliseconds.
const MAX_NODE_TIMEOUT_MS: u64 = 600_000;

/// An error and what caused it, in one line. hyper names the cause only as a source.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            // Writing to a string can't fail.
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// What is at the bottom of an error: for a connection that can't be made, the system's own words say it all.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
