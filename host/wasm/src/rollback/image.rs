//! Rollback by memory image: a frozen copy of the guest's memory, taken every few calls.

use std::sync::Arc;
use std::time::Duration;

use task_queue_raft::state_machine::Moment;

use crate::guest::instance::Instance;
use crate::images::RollbackMethod;
use crate::rollback::factory::InstanceFactory;
use crate::rollback::replica::FrozenGuest;
use crate::rollback::schedule::FreezeSchedule;
use crate::rollback::stopwatch::Stopwatch;

/// The memory after some calls of the journal.
struct FrozenState {
    guest: Arc<FrozenGuest>,
    /// Number of calls of the journal that it contains.
    calls: usize,
}

/// The image of a guest's memory, if the guest allows one.
pub(super) struct MemoryImage {
    /// `None`: images are off, or the last freeze failed.
    frozen: Option<FrozenState>,
    /// Switched off for good when a freeze or a start over the image fails.
    is_enabled: bool,
    schedule: FreezeSchedule,
    /// The last entry that the guest has finished, as far as the machine has reported.
    last_applied: Moment,
}

impl MemoryImage {
    pub(super) fn new(method: &RollbackMethod) -> Self {
        Self {
            frozen: None,
            is_enabled: *method == RollbackMethod::Images,
            schedule: FreezeSchedule::default(),
            last_applied: Moment::default(),
        }
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    pub(super) fn exists(&self) -> bool {
        self.frozen.is_some()
    }

    /// The frozen guest, without regard to later calls.
    pub(super) fn guest(&self) -> Option<Arc<FrozenGuest>> {
        self.frozen.as_ref().map(|frozen| Arc::clone(&frozen.guest))
    }

    /// Whether the image contains all `calls` calls of the journal.
    pub(super) fn is_current(&self, calls: usize) -> bool {
        self.frozen
            .as_ref()
            .is_some_and(|frozen| frozen.calls == calls)
    }

    /// Records that the image is the state after the entry `at`.
    pub(super) fn reaches(&self, at: Moment) {
        if let Some(frozen) = &self.frozen {
            frozen.guest.image.reaches(at);
        }
    }

    pub(super) fn set_last_applied(&mut self, at: Moment) {
        self.last_applied = at;
    }

    /// Records a successful call, and the size of the memory after it. Returns whether a freeze is due.
    pub(super) fn is_due_after(&mut self, took: Duration, bytes: u64) -> bool {
        self.is_enabled && self.schedule.is_due_after(took, bytes)
    }

    pub(super) fn note_failure(&mut self) {
        self.schedule.failed();
    }

    /// Whether a freeze is worth it for waiting queries.
    pub(super) fn is_freeze_worth_it(&self) -> bool {
        self.schedule.is_worth_it()
    }

    /// Whether a freeze is worth it after a rollback.
    pub(super) fn is_behind(&self) -> bool {
        self.schedule.is_behind()
    }

    /// Drops the image, because the state was replaced.
    pub(super) fn clear(&mut self) {
        self.frozen = None;
    }

    /// Starts further copies and replicas from this factory: its limits have changed.
    pub(super) fn set_factory(&mut self, factory: &InstanceFactory) {
        if let Some(frozen) = &mut self.frozen {
            frozen.guest = Arc::new(FrozenGuest {
                factory: factory.clone(),
                image: Arc::clone(&frozen.guest.image),
            });
        }
    }

    /// Adapts to a journal that drops its first `calls` calls. `false`: the image does not contain them, so the journal
    /// must keep them.
    pub(super) fn forget_first(&mut self, calls: usize) -> bool {
        match self.frozen.as_mut().filter(|frozen| frozen.calls >= calls) {
            Some(frozen) => {
                frozen.calls -= calls;
                true
            }
            None => false,
        }
    }

    /// Freezes the memory of the serving instance, which has made `calls` calls of the journal. If that fails, the
    /// instance is dropped, and from then on failed calls are rolled back by replay alone.
    pub(super) fn freeze(
        &mut self,
        serving: &mut Option<Instance>,
        calls: usize,
        factory: &InstanceFactory,
    ) {
        let Some(instance) = serving.as_mut().filter(|_| self.is_enabled) else {
            self.frozen = None;
            return;
        };
        let start = Stopwatch::start();
        let before = self.frozen.take().map(|frozen| frozen.guest);
        let image = before.as_ref().map(|guest| Arc::clone(&guest.image));
        let bytes = instance.memory_bytes();
        match instance.freeze(image, self.last_applied) {
            Ok(image) => {
                let guest = before.unwrap_or_else(|| {
                    Arc::new(FrozenGuest {
                        factory: factory.clone(),
                        image,
                    })
                });
                self.frozen = Some(FrozenState { guest, calls });
                self.schedule.frozen(start.elapsed(), bytes);
            }
            Err(error) => {
                tracing::warn!(%error, "the guest's memory can't be frozen; from now on failed calls are rolled back by replay alone");
                self.is_enabled = false;
                // A part of its memory may be lost.
                *serving = None;
            }
        }
    }

    /// Starts an instance over the image. Returns it with the number of calls of the journal that it contains. If that
    /// fails, images are switched off.
    pub(super) fn start(&mut self, factory: &InstanceFactory) -> Option<(Instance, usize)> {
        let frozen = self.frozen.as_ref()?;
        match factory.start_at(&frozen.guest.image) {
            Ok(instance) => Some((instance, frozen.calls)),
            Err(error) => {
                tracing::warn!(%error, "the guest can't be started over its memory image; from now on failed calls are rolled back by replay alone");
                self.frozen = None;
                self.is_enabled = false;
                None
            }
        }
    }

    #[cfg(test)]
    pub(super) fn switch_off(&mut self) {
        self.is_enabled = false;
        self.frozen = None;
    }

    #[cfg(test)]
    pub(super) fn calls(&self) -> Option<usize> {
        self.frozen.as_ref().map(|frozen| frozen.calls)
    }
}
