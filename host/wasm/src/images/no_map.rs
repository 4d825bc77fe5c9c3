//! The counterpart of `map.rs` for systems other than Linux: there are no memory images. Its types never have a value.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use task_queue_raft::state_machine::Moment;
use wasmtime::MemoryCreator;

/// `None`: the engine creates memories by itself.
pub(crate) fn creator() -> Option<Arc<dyn MemoryCreator>> {
    None
}

/// Runs `make`. There is no mapping to return.
pub(crate) fn made_by<R>(
    _image: Option<&Arc<NoImage>>,
    make: impl FnOnce() -> R,
) -> (R, Option<Arc<NoMapping>>) {
    (make(), None)
}

/// Never exists.
pub(crate) struct NoMapping(Infallible);

/// Never exists.
pub(crate) struct NoImage(Infallible);

/// Never exists.
pub(crate) struct NoHeldClone(Infallible);

impl NoHeldClone {
    pub(crate) fn at(&self) -> Moment {
        match self.0 {}
    }
}

impl NoMapping {
    pub(crate) fn bytes(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn has_grown(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn freeze(&self, _image: &NoImage, _at: Moment) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn discard_changes(&self) -> io::Result<()> {
        match self.0 {}
    }
}

impl NoImage {
    pub(crate) fn reaches(&self, _at: Moment) {
        match self.0 {}
    }

    pub(crate) fn of(mapping: &NoMapping) -> io::Result<Arc<Self>> {
        match mapping.0 {}
    }

    pub(crate) fn hold(
        self: &Arc<Self>,
        _clone: &Arc<NoMapping>,
    ) -> io::Result<Option<NoHeldClone>> {
        match self.0 {}
    }
}
