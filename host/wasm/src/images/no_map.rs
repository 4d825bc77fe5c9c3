//! The counterpart of `map.rs` for systems other than Linux: there are no memory images.

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
    _image: Option<&Arc<Image>>,
    make: impl FnOnce() -> R,
) -> (R, Option<Arc<Mapping>>) {
    (make(), None)
}

/// Never exists.
pub(crate) struct Mapping(Infallible);

/// Never exists.
pub(crate) struct Image(Infallible);

/// Never exists.
pub(crate) struct HeldClone(Infallible);

impl HeldClone {
    pub(crate) fn at(&self) -> Moment {
        match self.0 {}
    }
}

impl Mapping {
    pub(crate) fn bytes(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn has_grown(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn freeze(&self, _image: &Image, _at: Moment) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn discard_changes(&self) -> io::Result<()> {
        match self.0 {}
    }
}

impl Image {
    pub(crate) fn reaches(&self, _at: Moment) {
        match self.0 {}
    }

    pub(crate) fn of(mapping: &Mapping) -> io::Result<Arc<Self>> {
        match mapping.0 {}
    }

    pub(crate) fn hold(self: &Arc<Self>, _clone: &Arc<Mapping>) -> io::Result<Option<HeldClone>> {
        match self.0 {}
    }
}
