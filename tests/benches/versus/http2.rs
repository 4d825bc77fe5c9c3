//! Clients that share HTTP/2 connections: plain ones, and gRPC with its five bytes before each message and its status
//! behind the body.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::http1::MakeBody;
use super::load::Client;

/// Bytes of a gRPC message's prefix: a flag for compression, and its length.
const GRPC_PREFIX: usize = 5;

/// One client; its clones share the connection.
#[derive(Clone)]
pub(crate) struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    uri: Uri,
    body: MakeBody,
    grpc: bool,
}

impl Http2 {
    /// Connects, for plain requests to `path`.
    ///
    /// # Errors
    /// Where nobody listens.
    pub(crate) async fn open(address: &str, path: &str, body: MakeBody) -> Result<Self, String> {
        Self::connect(address, path, body, false).await
    }

    /// Connects, for calls of the gRPC method `path`, whose messages `body` makes.
    ///
    /// # Errors
    /// Where nobody listens.
    pub(crate) async fn open_grpc(
        address: &str,
        path: &str,
        body: MakeBody,
    ) -> Result<Self, String> {
        let framed = move |number| framed(&body(number));
        Self::connect(address, path, Arc::new(framed), true).await
    }

    async fn connect(
        address: &str,
        path: &str,
        body: MakeBody,
        grpc: bool,
    ) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{address}: {error}");
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        // Its end is seen where the next request fails.
        tokio::spawn(connection);
        let uri = format!("http://{address}{path}")
            .parse()
            .map_err(|error| failed(&error))?;
        Ok(Self {
            sender,
            uri,
            body,
            grpc,
        })
    }

    /// Sends one request, and returns the body of its answer.
    pub(crate) async fn call(&mut self, number: u64) -> Result<Bytes, String> {
        let mut request = Request::post(self.uri.clone());
        if self.grpc {
            request = request
                .header("content-type", "application/grpc")
                .header("te", "trailers");
        }
        let request = request
            .body(Full::new(Bytes::from((self.body)(number))))
            .map_err(|error| error.to_string())?;
        self.sender
            .ready()
            .await
            .map_err(|error| error.to_string())?;
        let response = self.sender.send_request(request).await;
        let (head, body) = response.map_err(|error| error.to_string())?.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?;
        if head.status != 200 {
            return Err(format!("HTTP {}", head.status));
        }
        if !self.grpc {
            return Ok(body.to_bytes());
        }
        let trailers = body.trailers();
        let told = |name| {
            trailers
                .and_then(|all| all.get(name))
                .or(head.headers.get(name))
        };
        match told("grpc-status").map(hyper::header::HeaderValue::as_bytes) {
            Some(b"0") => Ok(body.to_bytes().slice(GRPC_PREFIX..)),
            status => Err(format!(
                "gRPC status {status:?}: {:?}",
                told("grpc-message")
            )),
        }
    }
}

impl Client for Http2 {
    async fn exchange(&mut self, number: u64) -> Result<(), String> {
        self.call(number).await.map(drop)
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a message of a benchmark is small");
    let mut out = Vec::with_capacity(GRPC_PREFIX + message.len());
    out.push(0);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
    out
}
