//! Memory images are for Linux, whose table of pages tells what was written. Elsewhere there are none.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use task_queue_raft::state_machine::Moment;
use wasmtime::MemoryCreator;

/// None: the engine makes memories as it likes.
pub(crate) fn creator() -> Option<Arc<dyn MemoryCreator>> {
    None
}

/// Without an image there is no mapping to tell of.
pub(crate) fn made_by<R>(
    _image: Option<&Arc<Image>>,
    make: impl FnOnce() -> R,
) -> (R, Option<Arc<Mapping>>) {
    (make(), None)
}

/// There is none.
pub(crate) struct Mapping(Infallible);

/// There is none.
pub(crate) struct Image(Infallible);

/// There is none.
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

    pub(crate) fn throw_back(&self) -> io::Result<()> {
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
