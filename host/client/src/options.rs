//! What can be chosen for a client and for one request.

use std::time::Duration;

use hyper::header::HeaderValue;
use thiserror::Error;

/// Longest idempotency key, in bytes.
pub const MAX_KEY_BYTES: usize = 256;

/// How long a request may take unless something else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How requests travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 with keep-alive: one request at a time on a connection, as many connections as requests under way.
    #[default]
    Http1,
    /// HTTP/2 without TLS: all requests to a node on one connection.
    Http2,
}

/// Choices for a whole client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// How requests travel.
    pub protocol: Protocol,
    /// Longest time to wait for a connection. Default: 1 s.
    pub connect_timeout: Duration,
    /// How long requests without options of their own may take: status, snapshot, module. Default: 10 s.
    pub timeout: Duration,
    /// Longest reply that is taken, in bytes. Default: 16 MiB.
    pub max_reply_bytes: usize,
    /// Gives up once every endpoint refused a connection, rather than trying until the deadline. Default: no.
    pub fail_fast: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            protocol: Protocol::default(),
            connect_timeout: Duration::from_secs(1),
            timeout: TIMEOUT,
            max_reply_bytes: 16 << 20,
            fail_fast: false,
        }
    }
}

/// Under which idempotency key a command is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Key {
    /// A new one, made by the client: a retry within the same call carries the command out once at most.
    #[default]
    Automatic,
    /// This one: also a later call with the same command and key gets the first answer.
    Given(String),
    /// None: the cluster keeps no answer, and the command is never sent again once a node may have taken it.
    None,
}

/// A key can't be sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Too short or too long.
    #[error(
        "an idempotency key has 1 to {MAX_KEY_BYTES} bytes, and this one has {0}; choose another"
    )]
    Length(usize),
    /// A byte that a header can't carry.
    #[error(
        "an idempotency key consists of visible ASCII characters, and the one at position {0} is none; choose another"
    )]
    Byte(usize),
}

/// Reads a key as the header that carries it.
pub(crate) fn key_header(key: &str) -> Result<HeaderValue, KeyError> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(KeyError::Length(key.len()));
    }
    if let Some(position) = key.bytes().position(|byte| !byte.is_ascii_graphic()) {
        return Err(KeyError::Byte(position));
    }
    HeaderValue::from_str(key).map_err(|_| KeyError::Byte(0))
}

/// Choices for one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Its idempotency key.
    pub idempotency_key: Key,
    /// How long it may take in all, retries included. Default: 10 s.
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

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadConsistency {
    /// It sees every command that was answered before the query was sent.
    #[default]
    Linearizable,
    /// What the node that is asked knows, which may be old. It needs no leader.
    Stale,
}

/// Choices for one query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryOptions {
    /// How fresh the answer must be.
    pub consistency: ReadConsistency,
    /// How long it may take in all, retries included. Default: 10 s.
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
