//! What a step did on one copy.

use std::fmt;

use bytes::Bytes;
use oarlock_wasm::{Effects, Sha256};

/// The reply to a command or query.
#[derive(Clone, Debug)]
pub(crate) enum StepReply {
    Accepted(Bytes),
    Refused(Bytes),
    Deferred(u64),
    Failed { code: &'static str, message: String },
}

impl PartialEq for StepReply {
    /// Messages of failures are for people: copies may have different ones.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Accepted(own), Self::Accepted(others))
            | (Self::Refused(own), Self::Refused(others)) => own == others,
            (Self::Deferred(own), Self::Deferred(others)) => own == others,
            (Self::Failed { code: own, .. }, Self::Failed { code: others, .. }) => own == others,
            _ => false,
        }
    }
}

impl fmt::Display for StepReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(bytes) => write!(f, "reply {}", String::from_utf8_lossy(bytes)),
            Self::Refused(bytes) => write!(f, "refusal {}", String::from_utf8_lossy(bytes)),
            Self::Deferred(token) => write!(f, "deferred with token {token}"),
            Self::Failed { code, message } => write!(f, "failure {code}: {message}"),
        }
    }
}

/// What a step did on one copy.
#[derive(Clone, Debug)]
pub(crate) struct StepResult {
    /// `None` for a step that only advances the time.
    pub(crate) reply: Option<StepReply>,
    /// Events and completions of the command and of the wake-ups that followed.
    pub(crate) effects: Effects,
    /// When the guest asks to be woken, in milliseconds of replicated time; 0: never.
    pub(crate) wake_at_ms: u64,
    /// Digest of the state as the guest writes it.
    pub(crate) state: Sha256,
}
