//! The name of a deferred command.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names a command whose reply is deferred. [`Apply::defer`](crate::Apply::defer) returns it. A state machine stores it
/// and later completes the command with it.
///
/// Tokens are unique: no other command of the cluster ever gets the same one. A later command has a larger token, so a
/// `BTreeSet<Token>` is in the order of the log. In JSON a token is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(u64);

impl Token {
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
