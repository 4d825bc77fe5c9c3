//! A node that was restored has to go on as one that never stopped.

use super::TestCluster;
use crate::machine::Guest;

/// One entry of a run: what the clock does before it, and the command as a client sends it.
#[derive(Debug, Clone)]
pub struct Step {
    /// How far the clock moves before the command, in milliseconds.
    pub advance_ms: u64,
    /// The command.
    pub command: Vec<u8>,
}

impl From<&str> for Step {
    fn from(command: &str) -> Self {
        Self::from((0, command))
    }
}

impl From<String> for Step {
    fn from(command: String) -> Self {
        Self::from((0, command))
    }
}

impl<T: Into<String>> From<(u64, T)> for Step {
    fn from((advance_ms, command): (u64, T)) -> Self {
        Self {
            advance_ms,
            command: command.into().into_bytes(),
        }
    }
}

/// Runs the same entries through a machine that lives on and through one that is written and read again
/// after every entry, and compares replies, events, wake time and snapshots byte for byte.
///
/// # Panics
///
/// The two differ; the message names the entry and shows both sides. See [`TestCluster`] for what may be the cause.
pub fn assert_live_and_restored_agree<M: Guest>(steps: impl IntoIterator<Item = impl Into<Step>>) {
    let mut cluster = TestCluster::<M>::new();
    for step in steps {
        let Step {
            advance_ms,
            command,
        } = step.into();
        cluster.advance_ms(advance_ms).send(command);
    }
}
