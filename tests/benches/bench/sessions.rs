//! Sessions of a load over the tests' HTTP client.

use std::sync::Arc;

use oarlock_client::load::generator::{RequestFailure, Session};
use oarlock_client::load::tally::LoadErrorKind;
use oarlock_tests::http::connection::Connection;
use oarlock_tests::http::http2::Http2;

/// Makes the body of a request from its number.
pub(crate) type MakeBody = Arc<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

/// Most of a response's body that an error repeats, in characters.
const MAX_MESSAGE: usize = 200;

fn lost(message: String) -> RequestFailure {
    RequestFailure {
        kind: LoadErrorKind::Connection,
        message,
        connection_lost: true,
    }
}

/// HTTP/1.1: up to `depth` requests in flight on one connection, which is opened again after it broke.
pub(crate) struct Http1Session {
    address: String,
    connection: Option<Connection>,
    /// Of every request, up to the length of its body.
    head: Vec<u8>,
    body: MakeBody,
    depth: usize,
    /// Requests that wait for a connection.
    waiting: Vec<u64>,
}

impl Http1Session {
    /// Connects, for requests to `path`.
    ///
    /// # Errors
    /// There is no connection.
    pub(crate) async fn open(address: &str, path: &str, body: MakeBody) -> Result<Self, String> {
        let connection = Connection::open(address).await;
        let connection = connection.map_err(|error| format!("{address}: {error}"))?;
        let head = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\n");
        Ok(Self {
            address: address.to_owned(),
            connection: Some(connection),
            head: head.into_bytes(),
            body,
            depth: 1,
            waiting: Vec::new(),
        })
    }

    /// The same with so many requests in flight.
    pub(crate) fn with_depth(self, depth: usize) -> Self {
        Self { depth, ..self }
    }

    /// Sends one request and waits for its response.
    ///
    /// # Errors
    /// It was not carried out, or may not have been.
    pub(crate) async fn exchange(&mut self, number: u64) -> Result<(), RequestFailure> {
        self.push(number);
        self.complete().await.map(drop)
    }

    async fn send_and_receive(&mut self) -> Result<usize, RequestFailure> {
        if self.connection.is_none() {
            let opened = Connection::open(&self.address).await;
            self.connection = Some(opened.map_err(|error| lost(error.to_string()))?);
        }
        let Some(connection) = &mut self.connection else {
            unreachable!("it has just been opened");
        };
        for number in self.waiting.drain(..) {
            connection.push(&self.head, &(self.body)(number));
        }
        let sent = connection.send().await;
        sent.map_err(|error| lost(error.to_string()))?;
        match connection.receive_many().await.map_err(lost)? {
            (succeeded, None) => Ok(succeeded),
            (_, Some(response)) => {
                let text = String::from_utf8_lossy(&response.body);
                let text: String = text.chars().take(MAX_MESSAGE).collect();
                Err(RequestFailure {
                    kind: LoadErrorKind::of(response.status),
                    message: format!("HTTP {} {text}", response.status),
                    connection_lost: false,
                })
            }
        }
    }
}

impl Session for Http1Session {
    fn depth(&self) -> usize {
        self.depth
    }

    fn push(&mut self, number: u64) {
        self.waiting.push(number);
    }

    async fn complete(&mut self) -> Result<usize, RequestFailure> {
        let outcome = self.send_and_receive().await;
        if outcome
            .as_ref()
            .is_err_and(|failure| failure.connection_lost)
        {
            self.connection = None;
            self.waiting.clear();
        }
        outcome
    }
}

/// HTTP/2: one request in flight; clones share the connection.
#[derive(Clone)]
pub(crate) struct Http2Session {
    client: Http2,
    body: MakeBody,
    pending: Vec<u8>,
}

impl Http2Session {
    /// Connects, for requests to `path`; as gRPC it is the method's name, and bodies are messages.
    ///
    /// # Errors
    /// There is no connection.
    pub(crate) async fn open(
        address: &str,
        path: &str,
        grpc: bool,
        body: MakeBody,
    ) -> Result<Self, String> {
        Ok(Self {
            client: Http2::open(address, path, grpc).await?,
            body,
            pending: Vec::new(),
        })
    }
}

impl Session for Http2Session {
    fn push(&mut self, number: u64) {
        self.pending = (self.body)(number);
    }

    async fn complete(&mut self) -> Result<usize, RequestFailure> {
        let body = std::mem::take(&mut self.pending);
        match self.client.call(body).await {
            Ok(_) => Ok(1),
            Err(message) => Err(RequestFailure {
                kind: LoadErrorKind::Other,
                message,
                connection_lost: false,
            }),
        }
    }
}
