//! One request to one node, and its response.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as HttpClient, Error as HttpError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

use crate::endpoint::Endpoint;
use crate::options::{ClientOptions, Protocol};
use crate::tls::{self, AccessToken, TlsOptions};

/// Header with the node's timeout, in milliseconds.
const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("oarlock-timeout-ms");

/// Idle connections are closed after this time. It is below the idle timeout of a node (75 s), so that the client closes
/// first and does not send a request on a connection that the node is closing.
const IDLE: Duration = Duration::from_secs(20);

/// A request. Every attempt sends the same one.
#[derive(Clone, Debug)]
pub(crate) struct HttpCall {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: Cow<'static, str>,
    pub(crate) key: Option<HeaderValue>,
    /// The media type of the body. `None` for commands and queries, whose format the guest knows.
    pub(crate) content_type: Option<&'static str>,
    pub(crate) body: Bytes,
    /// Largest response body that is accepted, in bytes.
    pub(crate) max_reply_bytes: usize,
}

/// A response, of any status.
#[derive(Debug)]
pub(crate) struct HttpReply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why there is no response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ExchangeError {
    /// No connection: the node did not receive the request.
    NotConnected(String),
    /// The connection broke. The node may have received the request.
    Broken(String),
    /// No response in time. The node may have received the request.
    Silent,
    /// The response is too large.
    Unreadable(String),
}

/// A pool of connections to nodes.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    scheme: &'static str,
    /// The header with the token.
    authorization: Option<HeaderValue>,
}

impl Transport {
    pub(crate) fn new(options: &ClientOptions) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(options.connect_timeout));
        // The connector below passes `https` on to it.
        connector.enforce_http(false);
        let secured = options.tls.as_ref();
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(secured.map_or_else(tls::unused, TlsOptions::config))
            .https_or_http();
        let connector = match options.protocol {
            Protocol::Http1 => https.enable_http1().wrap_connector(connector),
            Protocol::Http2 => https.enable_http2().wrap_connector(connector),
        };
        let mut builder = HttpClient::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http2_only(options.protocol == Protocol::Http2);
        Self {
            http: builder.build(connector),
            scheme: if secured.is_some() { "https" } else { "http" },
            authorization: options
                .token
                .as_ref()
                .filter(|_| secured.is_some())
                .map(AccessToken::header),
        }
    }

    /// Sends `call` to `endpoint` and reads the whole response, within `limit`. `node_timeout` is sent to the node in a
    /// header.
    pub(crate) async fn exchange(
        &self,
        endpoint: &Endpoint,
        call: &HttpCall,
        limit: Duration,
        node_timeout: Duration,
    ) -> Result<HttpReply, ExchangeError> {
        let mut request = request(self.scheme, endpoint, call, node_timeout)?;
        if let Some(authorization) = &self.authorization {
            let headers = request.headers_mut();
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        match tokio::time::timeout(limit, self.send(request, call.max_reply_bytes)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(ExchangeError::Silent),
        }
    }

    /// Requests a stream of events or another long response, and reads the head of the response, within `limit`. `after`: id of the last event.
    pub(crate) async fn open(
        &self,
        endpoint: &Endpoint,
        target: &str,
        after: Option<&str>,
        limit: Duration,
    ) -> Result<Response<Incoming>, ExchangeError> {
        let not_sent = |error: hyper::http::Error| ExchangeError::NotConnected(causes(&error));
        let mut request = Request::get(uri(self.scheme, endpoint, target).map_err(not_sent)?)
            .header(TIMEOUT_HEADER, in_milliseconds(limit));
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let request = request.body(Full::default()).map_err(not_sent)?;
        let opening = tokio::time::timeout(limit, self.http.request(request)).await;
        opening
            .map_err(|_elapsed| ExchangeError::Silent)?
            .map_err(|error| broken(&error))
    }

    /// Reads the rest of a response, within `limit`.
    pub(crate) async fn read(
        &self,
        response: Response<Incoming>,
        max_reply_bytes: usize,
        limit: Duration,
    ) -> Result<HttpReply, ExchangeError> {
        let reading = tokio::time::timeout(limit, collect(response, max_reply_bytes)).await;
        reading.unwrap_or(Err(ExchangeError::Silent))
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
        max_reply_bytes: usize,
    ) -> Result<HttpReply, ExchangeError> {
        let response = self.http.request(request).await;
        let response = response.map_err(|error| broken(&error))?;
        collect(response, max_reply_bytes).await
    }
}

/// Reads the whole body of a response.
async fn collect(
    response: Response<Incoming>,
    max_reply_bytes: usize,
) -> Result<HttpReply, ExchangeError> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, max_reply_bytes)
        .collect()
        .await
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                ExchangeError::Unreadable(format!("its body has more than {max_reply_bytes} bytes"))
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

fn broken(error: &HttpError) -> ExchangeError {
    if let Some(refusal) = tls::refusal(error) {
        ExchangeError::NotConnected(refusal)
    } else if error.is_connect() {
        ExchangeError::NotConnected(root_cause(error))
    } else if is_not_http(error) {
        ExchangeError::Broken(format!(
            "{}; if the node uses TLS, use a certificate (--certs-dir) or its authority (--ca)",
            causes(error)
        ))
    } else {
        ExchangeError::Broken(causes(error))
    }
}

/// The response is something else than HTTP, such as an alert of TLS.
fn is_not_http(error: &HttpError) -> bool {
    let http = error.source().and_then(|cause| cause.downcast_ref());
    http.is_some_and(hyper::Error::is_parse)
}

fn uri(scheme: &str, endpoint: &Endpoint, target: &str) -> Result<Uri, hyper::http::Error> {
    Uri::builder()
        .scheme(scheme)
        .authority(endpoint.authority().clone())
        .path_and_query(target)
        .build()
}

fn request(
    scheme: &str,
    endpoint: &Endpoint,
    call: &HttpCall,
    node_timeout: Duration,
) -> Result<Request<Full<Bytes>>, ExchangeError> {
    let not_sent = |error: hyper::http::Error| ExchangeError::NotConnected(causes(&error));
    let uri = uri(scheme, endpoint, &call.target).map_err(not_sent)?;
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(uri)
        .header(TIMEOUT_HEADER, in_milliseconds(node_timeout));
    if let Some(key) = &call.key {
        request = request.header("idempotency-key", key.clone());
    }
    if let Some(content_type) = call.content_type {
        request = request.header(CONTENT_TYPE, content_type);
    }
    request.body(Full::new(call.body.clone())).map_err(not_sent)
}

/// A timeout that a node accepts.
fn in_milliseconds(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis())
        .unwrap_or(u64::MAX)
        .clamp(1, MAX_NODE_TIMEOUT_MS)
}

/// Largest timeout that a node accepts, in milliseconds.
const MAX_NODE_TIMEOUT_MS: u64 = 600_000;

/// An error and its sources, in one line: hyper's own message does not contain its cause.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The innermost source of an error: for a failed connection, the error of the operating system.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What a segment of a path contains as it is (RFC 3986, section 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Encodes a name as one segment of a path.
pub(crate) fn percent_encoded(name: &str) -> PercentEncode<'_> {
    utf8_percent_encode(name, UNRESERVED)
}
