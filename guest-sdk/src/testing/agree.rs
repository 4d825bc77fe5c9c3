//! A node that was restored has to go on as one that never stopped.

use super::Harness;
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
/// What differs after a restore is state that is not in the snapshot (a `#[serde(skip)]` field, a static),
/// or an order that is not that of the state (a `HashMap` with a random seed).
///
/// # Panics
///
/// The two differ; the message names the entry and shows both sides.
pub fn assert_live_and_restored_agree<M: Guest>(steps: impl IntoIterator<Item = impl Into<Step>>) {
    let mut live = Harness::<M>::new();
    let mut restored = Harness::<M>::new().restored();
    for step in steps {
        let Step {
            advance_ms,
            command,
        } = step.into();
        let shown = String::from_utf8_lossy(&command).into_owned();
        let [(ours, our_events), (theirs, their_events)] =
            [&mut live, &mut restored].map(|harness| {
                let outcome = harness.advance_ms(advance_ms).send(&command);
                (outcome, harness.take_events())
            });
        let index = live.index();
        assert_eq!(
            ours, theirs,
            "live and restored answer entry {index} differently: {shown}"
        );
        assert_eq!(
            our_events, their_events,
            "live and restored emit differently at entry {index}: {shown}"
        );
        assert_eq!(
            live.wake_at(),
            restored.wake_at(),
            "wake times differ at entry {index}: {shown}"
        );
        let (ours, theirs) = (live.snapshot(), restored.snapshot());
        assert!(
            ours == theirs,
            "live and restored write different snapshots after entry {index}: {shown}"
        );
        restored = restored.restored();
        assert!(
            restored.snapshot() == ours,
            "reading a snapshot and writing it again gives other bytes after entry {index}: {shown}"
        );
    }
}
