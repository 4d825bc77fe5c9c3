//! A session with the nodes of a cluster: one request in flight, to one node, never sent twice.

use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};

use super::generator::{RequestFailure, Session};
use super::tally::LoadErrorKind;
use crate::endpoint::Endpoint;
use crate::options::ClientOptions;
use crate::transport::{ExchangeError, HttpCall, Transport};

/// Beyond the time that the node has, so that its own response arrives.
const GRACE: Duration = Duration::from_secs(1);

/// Most of a response's body that an error repeats, in bytes.
const MAX_MESSAGE_BYTES: usize = 300;

/// See the module.
pub struct NodeSession {
    transport: Transport,
    endpoints: Vec<Endpoint>,
    /// Position of the endpoint in use.
    at: usize,
    call: HttpCall,
    timeout: Duration,
    body: Box<dyn FnMut(u64) -> Bytes + Send>,
}

impl NodeSession {
    /// A session that sends commands, or queries, to the endpoint at position `first` and, after a connection failed,
    /// to the next one. `body` makes the body of the request with a number.
    pub fn new(
        endpoints: Vec<Endpoint>,
        first: usize,
        options: &ClientOptions,
        query: bool,
        body: impl FnMut(u64) -> Bytes + Send + 'static,
    ) -> Self {
        let target = if query { "/v1/query" } else { "/v1/apply" };
        Self {
            transport: Transport::new(options),
            endpoints,
            at: first,
            call: HttpCall {
                method: Method::POST,
                target: target.into(),
                key: None,
                content_type: None,
                body: Bytes::new(),
                max_reply_bytes: options.max_reply_bytes,
            },
            timeout: options.timeout,
            body: Box::new(body),
        }
    }
}

impl Session for NodeSession {
    fn push(&mut self, number: u64) {
        self.call.body = (self.body)(number);
    }

    async fn complete(&mut self) -> Result<usize, RequestFailure> {
        let at = self.at % self.endpoints.len().max(1);
        let Some(endpoint) = self.endpoints.get(at) else {
            return Err(RequestFailure {
                kind: LoadErrorKind::Connection,
                message: "the session has no endpoint".to_owned(),
                connection_lost: true,
            });
        };
        let limit = self.timeout + GRACE;
        let exchanged = self
            .transport
            .exchange(endpoint, &self.call, limit, self.timeout)
            .await;
        let (kind, message) = match exchanged {
            Ok(reply) if reply.status == StatusCode::OK => return Ok(1),
            Ok(reply) => {
                let status = reply.status.as_u16();
                let body = &reply.body[..reply.body.len().min(MAX_MESSAGE_BYTES)];
                let body = String::from_utf8_lossy(body);
                let message = format!("HTTP {status}: {body}");
                (LoadErrorKind::of(status), message)
            }
            Err(ExchangeError::Silent) => (
                LoadErrorKind::TimedOut,
                format!("{endpoint}: no response in time"),
            ),
            Err(
                ExchangeError::NotConnected(why)
                | ExchangeError::Broken(why)
                | ExchangeError::Unreadable(why),
            ) => (LoadErrorKind::Connection, format!("{endpoint}: {why}")),
        };
        let connection_lost = matches!(kind, LoadErrorKind::Connection | LoadErrorKind::TimedOut);
        if connection_lost {
            self.at = self.at.wrapping_add(1);
        }
        Err(RequestFailure {
            kind,
            message,
            connection_lost,
        })
    }
}
