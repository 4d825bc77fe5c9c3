//! Creates instances of one guest.

use std::sync::Arc;

use crate::failure::MachineFailure;
use crate::guest::failure::GuestCallError;
use crate::guest::guest_log::GuestLog;
use crate::guest::instance::{Instance, InstantiateError};
use crate::guest::limits::MachineLimits;
use crate::guest::module::GuestModule;
use crate::images::map::Image;

/// All that an instance of a guest is created from. Cheap to clone.
#[derive(Clone)]
pub(crate) struct InstanceFactory {
    pub(crate) module: GuestModule,
    pub(crate) limits: Arc<MachineLimits>,
    pub(crate) log: Arc<GuestLog>,
}

impl InstanceFactory {
    pub(super) fn new(module: GuestModule, limits: &MachineLimits) -> Self {
        Self {
            module,
            limits: Arc::new(*limits),
            log: Arc::new(GuestLog::new()),
        }
    }

    /// The guest's own version number, which a snapshot contains.
    pub(super) fn version(&self) -> u32 {
        self.module.description().version
    }

    /// An instance in the initial state.
    pub(super) fn start(&self) -> Result<Instance, MachineFailure> {
        Instance::start(&self.module, &self.limits, &self.log).map_err(|error| match error {
            InstantiateError::Call(GuestCallError::NodeOutOfMemory) => {
                MachineFailure::NodeOutOfMemory
            }
            error => MachineFailure::Rebuild {
                message: error.to_string(),
            },
        })
    }

    /// An instance in the state of a memory image.
    pub(super) fn start_at(&self, image: &Arc<Image>) -> Result<Instance, InstantiateError> {
        Instance::start_at(&self.module, &self.limits, &self.log, image)
    }
}
