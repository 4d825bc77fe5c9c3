//! The switch of a running guest to other rules of execution, at one entry.
//!
//! The code of a guest depends on the rules, so the guest writes its state and another instance restores it, as in an
//! upgrade. Every node does that at the same entry.

use task_queue_raft::state_machine::Moment;

use crate::failure::MachineFailure;
use crate::guest::limits::MachineLimits;
use crate::rollback::recoverable::RecoverableGuest;

impl RecoverableGuest {
    /// Applies other limits from the next call on, and the rules of execution in them. `is_first`: no entry was applied
    /// before, so the state is the initial one.
    ///
    /// The inner error is the reason why the guest can't switch to the rules. It is the same on every node; the limits
    /// and the rules are unchanged then.
    ///
    /// # Errors
    /// This node can't continue.
    pub(crate) fn adopt_limits(
        &mut self,
        limits: &MachineLimits,
        at: Moment,
        is_first: bool,
    ) -> Result<Result<(), String>, MachineFailure> {
        let module = match self.module().under(limits) {
            Ok(module) => module,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if module.rules() == self.module().rules() {
            self.set_limits(limits);
            return Ok(Ok(()));
        }
        let mut new = Self::start(module, limits)?;
        if !is_first {
            let written_by = self.module().description().version;
            let restored = self
                .snapshot(at)
                .and_then(|chunks| new.restore(written_by, chunks));
            match restored {
                Ok(()) => {}
                Err(
                    failure @ (MachineFailure::GuestSnapshot { .. }
                    | MachineFailure::GuestRestore { .. }),
                ) => return Ok(Err(failure.to_string())),
                Err(failure) => return Err(failure),
            }
        }
        new.take_kept_calls_of(self);
        *self = new.in_place_of(self);
        Ok(Ok(()))
    }
}
