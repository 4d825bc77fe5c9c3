//! One connection with one request under way at a time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;
use oarlock_client::Endpoint;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// Longest answer that is taken, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// An answer, read to its end. The body is kept where it is an error's.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// A connection to one node, over HTTP/1.1.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Reads and writes the socket.
    pump: AbortHandle,
    head: Head,
}

/// What all requests share; cloning copies no text.
#[derive(Clone)]
struct Head {
    uri: Uri,
    host: HeaderValue,
    timeout_ms: HeaderValue,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Connection {
    /// Connects within `limit`, for requests to `target` that a node may take `limit` for.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(super) async fn open(
        endpoint: &Endpoint,
        target: &'static str,
        limit: Duration,
    ) -> Result<Self, String> {
        let connect = async {
            let stream = TcpStream::connect(endpoint.as_str())
                .await
                .map_err(|error| error.to_string())?;
            stream
                .set_nodelay(true)
                .map_err(|error| error.to_string())?;
            let (sender, connection) = handshake(TokioIo::new(stream))
                .await
                .map_err(|error| error.to_string())?;
            // Its end is seen where the next request fails.
            let pump = tokio::spawn(async move { drop(connection.await) }).abort_handle();
            let timeout_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            let host =
                HeaderValue::from_str(endpoint.as_str()).map_err(|error| error.to_string())?;
            let head = Head {
                uri: Uri::from_static(target),
                host,
                timeout_ms: timeout_ms.into(),
            };
            Ok(Self { sender, pump, head })
        };
        let result = tokio::time::timeout(limit, connect).await;
        result
            .unwrap_or_else(|_| Err("no connection in time".to_owned()))
            .map_err(|why| format!("{endpoint}: {why}"))
    }

    /// Sends one request and reads its answer.
    ///
    /// # Errors
    /// The connection broke, and is of no more use.
    pub(super) async fn exchange(&mut self, body: Bytes) -> Result<Answer, String> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.head.uri.clone();
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        headers.insert(HOST, self.head.host.clone());
        headers.insert("oarlock-timeout-ms", self.head.timeout_ms.clone());
        self.sender
            .ready()
            .await
            .map_err(|error| error.to_string())?;
        let response = self
            .sender
            .send_request(request)
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status();
        let body = read(response.into_body(), status != StatusCode::OK).await?;
        Ok(Answer { status, body })
    }
}

/// Reads a body to its end, so that the connection can be used again.
async fn read(mut body: Incoming, keep: bool) -> Result<Bytes, String> {
    if keep {
        let body = Limited::new(body, MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        return Ok(body.to_bytes());
    }
    while let Some(frame) = body.frame().await {
        frame.map_err(|error| error.to_string())?;
    }
    Ok(Bytes::new())
}
