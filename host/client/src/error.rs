//! Errors: one type for each operation. [`RequestError`] is common to all requests.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::endpoint::Endpoint;
use crate::options::KeyError;

/// A client cannot be created.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientConfigError {
    /// There is no endpoint.
    #[error("the client has no endpoint; give the client address of at least one node")]
    NoEndpoints,
}

/// An error that any request may return.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// No node accepted a connection. Nothing was sent.
    #[error(
        "no node is reachable ({tried}); check that the nodes are running and that these are their client addresses"
    )]
    Unreachable {
        /// Each endpoint with the error of its last attempt.
        tried: String,
    },
    /// The connection broke between the request and its response.
    #[error("the connection to {endpoint} broke before the response arrived: {message}")]
    Broken {
        /// The node.
        endpoint: Endpoint,
        /// The error of the connection.
        message: String,
    },
    /// The cluster has no leader (503).
    #[error("the cluster has no leader: {message}")]
    NoLeader {
        /// The node's message and hint.
        message: String,
    },
    /// Too many requests are in flight (429), or the disk is full (507).
    #[error("the cluster is overloaded: {message}")]
    Overloaded {
        /// The node's message and hint.
        message: String,
    },
    /// No response arrived in time, or the node timed out itself (504).
    #[error("timed out after {} ms: {message}", waited.as_millis())]
    TimedOut {
        /// Timeout of the request.
        waited: Duration,
        /// The node's message, or the endpoint that did not respond.
        message: String,
    },
    /// The request exceeds a limit of the node (413).
    #[error("the request is too large: {message}")]
    TooLarge {
        /// The node's message, with the limit.
        message: String,
    },
    /// The node refused the request.
    #[error("the node refused the request: {message} (HTTP {status}, {code})")]
    Invalid {
        /// HTTP status.
        status: u16,
        /// The error code, for example `not_caught_up`.
        code: String,
        /// The node's message and hint.
        message: String,
    },
    /// The response cannot be parsed.
    #[error(
        "{endpoint} did not respond like an Oarlock node: {message}; check that it is the client address of a node"
    )]
    Malformed {
        /// The endpoint that responded.
        endpoint: Endpoint,
        /// Why the response cannot be parsed.
        message: String,
    },
}

impl RequestError {
    /// Whether the node does not have the requested entry any more: a snapshot has replaced it.
    #[must_use]
    pub fn is_compacted(&self) -> bool {
        matches!(self, Self::Invalid { code, .. } if code == "compacted")
    }

    /// Whether the cluster is unreachable or has no leader. Otherwise it has refused the request.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::NoLeader { .. }
            | Self::TimedOut { .. } => true,
            Self::Overloaded { .. }
            | Self::TooLarge { .. }
            | Self::Invalid { .. }
            | Self::Malformed { .. } => false,
        }
    }
}

/// Why a command has no reply.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// The guest rejected the command, and nothing changed. Contains the guest's refusal.
    #[error("the state machine rejected the command: {}", String::from_utf8_lossy(.0))]
    Refused(Bytes),
    /// The guest failed: a trap or a limit. Nothing changed.
    #[error("the state machine failed, and nothing changed: {message} ({code})")]
    Failed {
        /// `trap`, `out_of_fuel`, `out_of_memory` or `state_full`.
        code: String,
        /// The node's message and hint.
        message: String,
    },
    /// The idempotency key was used for another command. Nothing changed.
    #[error("the idempotency key was used for another command: {message}; use a new key")]
    KeyReused {
        /// The node's message and hint.
        message: String,
    },
    /// The idempotency key is not valid. Nothing was sent.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The command may or may not have been applied.
    #[error("the outcome is unknown: {cause}; {}", advice(key.as_deref()))]
    OutcomeUnknown {
        /// The idempotency key of the request. It is safe to send the same command with the same key again.
        key: Option<String>,
        /// The last attempt at which a node may have accepted the command.
        #[source]
        cause: RequestError,
    },
    /// The command was not applied.
    #[error("{0} (the command was not applied)")]
    NotApplied(#[source] RequestError),
}

fn advice(key: Option<&str>) -> String {
    match key {
        Some(key) => {
            format!("send it again with the idempotency key {key}: it is then applied at most once")
        }
        None => "check the state before you send it again, or use an idempotency key".to_owned(),
    }
}

/// Why a query has no response.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QueryError {
    /// The guest rejected the query. Contains the guest's refusal.
    #[error("the state machine rejected the query: {}", String::from_utf8_lossy(.0))]
    Refused(Bytes),
    /// The guest failed: a trap or a limit.
    #[error("the state machine failed: {message} ({code})")]
    Failed {
        /// `trap`, `out_of_fuel` or `out_of_memory`.
        code: String,
        /// The node's message and hint.
        message: String,
    },
    /// No node returned a result.
    #[error(transparent)]
    Request(#[from] RequestError),
}
