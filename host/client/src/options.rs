//! Options of a client and of one request.

use std::time::Duration;

use hyper::header::HeaderValue;
use thiserror::Error;

use crate::tls::{AccessToken, TlsOptions};

/// Longest idempotency key, in bytes.
pub const MAX_KEY_BYTES: usize = 256;

/// Default timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The HTTP version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 with keep-alive: one request at a time on a connection, one connection for each request in flight.
    #[default]
    Http1,
    /// HTTP/2: all requests to a node on one connection.
    Http2,
}

/// Options of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// The HTTP version. Default: HTTP/1.1.
    pub protocol: Protocol,
    /// Timeout of one attempt to connect. Default: 1 s.
    pub connect_timeout: Duration,
    /// Timeout of requests without their own options: status, snapshot, members, module. Default: 10 s.
    pub timeout: Duration,
    /// Largest response body that is accepted, in bytes. A larger one is an error. Default: 16 MiB.
    pub max_reply_bytes: usize,
    /// Fail once every endpoint refused a connection, instead of retrying until the timeout. Default: no.
    pub fail_fast: bool,
    /// Look up the leader after the first response and after each failure, and send later requests to it first, which
    /// saves the forwarding by a follower. It costs one more request, in the background. Default: yes.
    pub follow_leader: bool,
    /// TLS to all endpoints. Default: none; requests are not encrypted.
    pub tls: Option<TlsOptions>,
    /// Token that each request contains. It is sent only with TLS. Default: none.
    pub token: Option<AccessToken>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            protocol: Protocol::default(),
            connect_timeout: Duration::from_secs(1),
            timeout: TIMEOUT,
            max_reply_bytes: 16 << 20,
            fail_fast: false,
            follow_leader: true,
            tls: None,
            token: None,
        }
    }
}

/// The idempotency key of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Key {
    /// A new random key. Retries within the call apply the command at most once.
    #[default]
    Automatic,
    /// This key. A later call with the same command and key gets the first response again.
    Given(String),
    /// No key. The command is never sent again after a node may have accepted it.
    None,
}

/// An idempotency key is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Too short or too long.
    #[error("the idempotency key is not valid: it has {0} bytes; use 1 to {MAX_KEY_BYTES} bytes")]
    Length(usize),
    /// A byte that is not visible ASCII, at this position.
    #[error(
        "the idempotency key is not valid: byte {0} is not visible ASCII; use characters from `!` to `~`"
    )]
    Byte(usize),
}

/// The header value of a key.
pub(crate) fn key_header(key: &str) -> Result<HeaderValue, KeyError> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(KeyError::Length(key.len()));
    }
    if let Some(position) = key.bytes().position(|byte| !byte.is_ascii_graphic()) {
        return Err(KeyError::Byte(position));
    }
    HeaderValue::from_str(key).map_err(|_| KeyError::Byte(0))
}

/// Options of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyOptions {
    /// The idempotency key. Default: a new random one.
    pub idempotency_key: Key,
    /// Timeout, retries included. Default: 10 s.
    pub timeout: Duration,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self {
            idempotency_key: Key::default(),
            timeout: TIMEOUT,
        }
    }
}

/// Consistency of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadConsistency {
    /// The query sees every command that was acknowledged before the query was sent.
    #[default]
    Linearizable,
    /// The query reads the state of the node that receives it, which may lag behind. It needs no leader.
    Stale,
}

impl ReadConsistency {
    /// The value of the parameter.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Linearizable => "linearizable",
            Self::Stale => "stale",
        }
    }
}

/// Options of one query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryOptions {
    /// Default: linearizable.
    pub consistency: ReadConsistency,
    /// Timeout, retries included. Default: 10 s.
    pub timeout: Duration,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self {
            consistency: ReadConsistency::default(),
            timeout: TIMEOUT,
        }
    }
}

#[cfg(test)]
mod tests;
