//! A state machine and what the SDK keeps for it: together they are the replicated state of a guest.

use crate::guest::Guest;
use crate::runtime::RuntimeState;
use crate::snapshot::{self, RestoreError, SnapshotError};

/// The state of a guest. Both parts are in its snapshots.
#[derive(Debug, Default)]
#[allow(unreachable_pub, reason = "only a module exports it")]
pub struct LiveGuest<M> {
    pub(crate) machine: M,
    pub(crate) runtime: RuntimeState,
    /// The state came with format 1, and not by `migrate`. While the SDK has no state of its own, it is written in that
    /// format again, so that the cluster can go back to the module before.
    pub(crate) may_go_back: bool,
}

impl<M: Guest> LiveGuest<M> {
    /// Writes a snapshot in chunks.
    ///
    /// # Errors
    ///
    /// See [`SnapshotError`].
    pub(crate) fn write(&self, to: &mut dyn FnMut(&[u8])) -> Result<(), SnapshotError> {
        if self.may_go_back && self.runtime == RuntimeState::of_earlier_sdk() {
            return snapshot::write(&self.machine, None, to);
        }
        let runtime = self.runtime.to_section();
        let runtime = runtime.map_err(|source| SnapshotError::Encode { source })?;
        snapshot::write(&self.machine, Some(&runtime), to)
    }

    /// Reads a snapshot of this version or an older one. The parameters are those of [`snapshot::read`].
    ///
    /// # Errors
    ///
    /// See [`RestoreError`].
    pub(crate) fn read(
        written_by: u32,
        from: &mut dyn FnMut(u32) -> Vec<u8>,
    ) -> Result<Self, RestoreError> {
        let restored = snapshot::read(written_by, from)?;
        let runtime = match restored.runtime {
            Some(section) => {
                RuntimeState::from_section(&section).map_err(|error| RestoreError::Runtime {
                    reason: error.to_string(),
                })?
            }
            None => RuntimeState::of_earlier_sdk(),
        };
        Ok(Self {
            machine: restored.state,
            runtime,
            may_go_back: restored.may_go_back,
        })
    }
}

#[cfg(test)]
mod tests;
