//! Why a request has no good answer. One type for each operation; what all requests may meet is [`RequestError`].

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::endpoint::Endpoint;
use crate::options::KeyError;

/// A client can't be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientConfigError {
    /// It would have nobody to ask.
    #[error("a client needs at least one endpoint; name the client address of a node")]
    NoEndpoints,
}

/// What any request may meet.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// No node took a connection, so nothing was sent.
    #[error(
        "no node can be reached ({tried}); are the nodes running, and are these their client addresses?"
    )]
    Unreachable {
        /// Each endpoint with what became of the last attempt there.
        tried: String,
    },
    /// The connection ended between the request and its answer.
    #[error("the connection to {endpoint} broke before the answer came: {message}")]
    Broken {
        /// Who was asked.
        endpoint: Endpoint,
        /// What the connection says.
        message: String,
    },
    /// The nodes found no leader in time (503).
    #[error("the cluster has no leader: {message}")]
    NoLeader {
        /// What the node says.
        message: String,
    },
    /// Too much is under way (429).
    #[error("the cluster is overloaded: {message}")]
    Overloaded {
        /// What the node says.
        message: String,
    },
    /// No answer came in time (504, or silence).
    #[error("no answer came within {} ms: {message}", waited.as_millis())]
    TimedOut {
        /// How long this client waited in all.
        waited: Duration,
        /// What the node says, or who was silent.
        message: String,
    },
    /// The request is over a limit of the node (413).
    #[error("it is too large: {message}")]
    TooLarge {
        /// What the node says, with the limit.
        message: String,
    },
    /// The node can't do anything with the request, or can't do it now.
    #[error("the node refuses the request: {message} (HTTP {status}, {code})")]
    Invalid {
        /// Status of the answer.
        status: u16,
        /// The host's code.
        code: String,
        /// What the node says, with its hint.
        message: String,
    },
    /// The answer is none that this client knows.
    #[error(
        "{endpoint} gave an answer that is not Oarlock's: {message}; is it the client address of a node?"
    )]
    Malformed {
        /// Who answered.
        endpoint: Endpoint,
        /// What is wrong with it.
        message: String,
    },
}

impl RequestError {
    /// Whether the cluster can't be reached or has no leader, rather than having decided against the request.
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
    /// The guest refused it, and nothing changed; these are its words.
    #[error("the state machine refused the command: {}", String::from_utf8_lossy(.0))]
    Refused(Bytes),
    /// The guest failed at it, and nothing changed.
    #[error("the state machine failed at the command, and nothing changed: {message} ({code})")]
    Failed {
        /// `trap`, `out_of_fuel` or `out_of_memory`.
        code: String,
        /// What the node says, with its hint.
        message: String,
    },
    /// The idempotency key was used for another command, and nothing changed.
    #[error("the idempotency key was used for another command: {message}; take a new key")]
    KeyReused {
        /// What the node says.
        message: String,
    },
    /// The key can't be sent. Nothing was.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It may or may not have been carried out.
    #[error("the outcome is unknown: {cause}; {}", advice(key.as_deref()))]
    OutcomeUnknown {
        /// The key that it was sent with: the same command under the same key is safe to send again.
        key: Option<String>,
        /// What happened.
        #[source]
        cause: RequestError,
    },
    /// It was not carried out.
    #[error("{0} (the command was not carried out)")]
    NotApplied(#[source] RequestError),
}

fn advice(key: Option<&str>) -> String {
    match key {
        Some(key) => format!(
            "send it again with the idempotency key {key}, which carries it out once at most"
        ),
        None => "look at the state before sending it again, or use an idempotency key".to_owned(),
    }
}

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QueryError {
    /// The guest refused it; these are its words.
    #[error("the state machine refused the query: {}", String::from_utf8_lossy(.0))]
    Refused(Bytes),
    /// The guest failed at it.
    #[error("the state machine failed at the query: {message} ({code})")]
    Failed {
        /// `trap`, `out_of_fuel` or `out_of_memory`.
        code: String,
        /// What the node says, with its hint.
        message: String,
    },
    /// It could not be asked.
    #[error(transparent)]
    Request(#[from] RequestError),
}
