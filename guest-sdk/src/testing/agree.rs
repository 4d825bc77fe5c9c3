//! A restored replica must behave as one that never stopped.

use super::cluster::TestCluster;
use crate::guest::Guest;

/// One entry of a test run: how far the clock advances, then the command as a client sends it.
#[derive(Debug, Clone)]
pub struct TestStep {
    /// Milliseconds by which the clock advances before the command.
    pub advance_ms: u64,
    /// The encoded command.
    pub command: Vec<u8>,
}

impl From<&str> for TestStep {
    fn from(command: &str) -> Self {
        Self::from((0, command))
    }
}

impl From<String> for TestStep {
    fn from(command: String) -> Self {
        Self::from((0, command))
    }
}

impl<T: Into<String>> From<(u64, T)> for TestStep {
    fn from((advance_ms, command): (u64, T)) -> Self {
        Self {
            advance_ms,
            command: command.into().into_bytes(),
        }
    }
}

/// Applies the entries to two replicas: one that never stops, and one that is restored from its own snapshot after every
/// entry. Compares replies, late replies, events, wake time and snapshots byte for byte. While the clock advances, it wakes
/// both each time that something falls due.
///
/// # Panics
///
/// The two replicas differ. The message names the entry and shows both sides. [`TestCluster`] lists common causes.
pub fn assert_live_and_restored_agree<M: Guest>(
    steps: impl IntoIterator<Item = impl Into<TestStep>>,
) {
    let mut cluster = TestCluster::<M>::new();
    for step in steps {
        let TestStep {
            advance_ms,
            command,
        } = step.into();
        cluster.advance_ms(advance_ms).send(command);
    }
}
