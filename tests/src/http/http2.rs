//! Clients that share HTTP/2 connections: plain ones, and gRPC with five bytes before each message and a status behind
//! the body.

use std::fmt::Display;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::header::HeaderValue;
use hyper::{Request, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// Bytes before a gRPC message: a flag for compression, and its length.
const GRPC_PREFIX: usize = 5;

/// One client; its clones share the connection.
#[derive(Clone, Debug)]
pub struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    uri: Uri,
    grpc: bool,
}

impl Http2 {
    /// Connects, for requests to `path`; as gRPC it is the method's name, and bodies are messages.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn open(address: &str, path: &str, grpc: bool) -> Result<Self, String> {
        let failed = |error: &dyn Display| format!("{address}: {error}");
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        // The next request fails when it has ended.
        tokio::spawn(connection);
        let uri = format!("http://{address}{path}")
            .parse()
            .map_err(|error| failed(&error))?;
        Ok(Self { sender, uri, grpc })
    }

    /// Sends one request and returns the body of a successful response.
    ///
    /// # Errors
    /// The connection broke, or the response is no success.
    pub async fn call(&mut self, body: Vec<u8>) -> Result<Bytes, String> {
        let text = |error: hyper::Error| error.to_string();
        let mut request = Request::post(self.uri.clone());
        let body = if self.grpc {
            request = request
                .header("content-type", "application/grpc")
                .header("te", "trailers");
            framed(&body)
        } else {
            body
        };
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        self.sender.ready().await.map_err(text)?;
        let response = self.sender.send_request(request).await.map_err(text)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(text)?;
        if head.status != 200 {
            return Err(format!("HTTP {}", head.status));
        }
        if !self.grpc {
            return Ok(body.to_bytes());
        }
        let trailers = body.trailers();
        let field = |name| {
            trailers
                .and_then(|all| all.get(name))
                .or(head.headers.get(name))
        };
        match field("grpc-status").map(HeaderValue::as_bytes) {
            Some(b"0") => Ok(body.to_bytes().slice(GRPC_PREFIX..)),
            status => {
                let message = field("grpc-message");
                Err(format!("gRPC status {status:?}: {message:?}"))
            }
        }
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
