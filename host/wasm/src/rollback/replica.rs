//! Replicas of a guest for queries: instances over the image of the serving guest's memory.
//!
//! A replica is cheap to create, and other instances do not see what a query writes to it. Before each query it is
//! updated to the image's current state. A query that fails costs the replica.

use std::error::Error;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use task_queue_raft::state_machine::{ClientWatch, Moment};

use crate::guest::failure::GuestCallError;
use crate::guest::instance::{Instance, InstantiateError, QueryOutcome, ShortQuery};
use crate::images::map::{HeldClone, Image};
use crate::records::outcome::GuestQueryError;
use crate::records::query::MachineQuery;
use crate::rollback::factory::InstanceFactory;

/// How often a replica is created again because the guest's memory has grown meanwhile.
const MAX_STARTS: u32 = 8;

/// A guest in the state of its last freeze.
pub(crate) struct FrozenGuest {
    pub(crate) factory: InstanceFactory,
    pub(crate) image: Arc<Image>,
}

impl FrozenGuest {
    /// An instance in the state of the image, which it keeps while the second value exists.
    pub(super) fn copy(&self) -> Result<(Instance, HeldClone), InstantiateError> {
        for _ in 0..MAX_STARTS {
            let mut copy = self.start()?;
            if let Some(held) = copy.hold(&self.image).map_err(InstantiateError::Image)? {
                return Ok((copy, held));
            }
        }
        Err(too_many_starts())
    }

    /// An instance for a query in the current state of the image: `instance`, or a new one.
    fn current(
        &self,
        mut instance: Option<Instance>,
    ) -> Result<(Instance, HeldClone), InstantiateError> {
        for _ in 0..MAX_STARTS {
            let mut current = match instance.take() {
                Some(instance) => instance,
                None => self.start()?,
            };
            let held = current.hold(&self.image).map_err(InstantiateError::Image)?;
            if let Some(held) = held {
                current.limit_growth(self.factory.limits.memory_per_query);
                return Ok((current, held));
            }
        }
        Err(too_many_starts())
    }

    /// Runs a query of any length on an instance of its own.
    fn query_long(
        &self,
        query: &MachineQuery,
        client: &ClientWatch,
    ) -> Result<(Moment, Result<Bytes, GuestQueryError>), InstantiateError> {
        let (instance, held) = self.current(None)?;
        let result = instance.query_long(held.at(), query, client);
        Ok((held.at(), response(result)))
    }

    fn start(&self) -> Result<Instance, InstantiateError> {
        self.factory.start_at(&self.image)
    }
}

fn too_many_starts() -> InstantiateError {
    InstantiateError::Image(io::Error::other("the guest's memory keeps growing"))
}

/// A replica of a guest, for one query after the other.
#[derive(Default)]
pub(crate) struct QueryReplica {
    of: Option<Arc<FrozenGuest>>,
    instance: Option<Instance>,
}

impl QueryReplica {
    /// Runs a query. Also returns the last entry in the state that the query observed.
    pub(crate) fn query(
        &mut self,
        guest: &Arc<FrozenGuest>,
        query: &MachineQuery,
        client: &ClientWatch,
    ) -> Result<(Moment, Result<Bytes, GuestQueryError>), InstantiateError> {
        if self.is_of_another(Some(guest)) {
            *self = Self {
                of: Some(Arc::clone(guest)),
                instance: None,
            };
        }
        let (mut instance, held) = guest.current(self.instance.take())?;
        let at = held.at();
        let result = match instance.query(at, query) {
            Ok(ShortQuery::Ended(outcome)) => {
                // Its writes are discarded at the next `hold`, if the image has changed by then.
                self.instance = Some(instance);
                Ok(outcome)
            }
            Ok(ShortQuery::IsLong) => {
                drop((instance, held));
                return guest.query_long(query, client);
            }
            Err(error) => Err(error),
        };
        Ok((at, response(result)))
    }

    /// Whether there is an instance, or could be one, of any guest.
    pub(super) fn is_in_use(&self) -> bool {
        self.of.is_some()
    }

    /// Whether this is not a replica of `guest`.
    pub(super) fn is_of_another(&self, guest: Option<&Arc<FrozenGuest>>) -> bool {
        match (&self.of, guest) {
            (Some(own), Some(guest)) => !Arc::ptr_eq(own, guest),
            (own, guest) => own.is_some() != guest.is_some(),
        }
    }
}

/// The result of a query, as the client receives it.
pub(super) fn response(
    result: Result<QueryOutcome, GuestCallError>,
) -> Result<Bytes, GuestQueryError> {
    match result {
        Ok(Some(response)) => response.map_err(GuestQueryError::Refused),
        Ok(None) => Err(GuestQueryError::NotSupported),
        Err(GuestCallError::Guest(failure)) => Err(GuestQueryError::Failed(failure)),
        Err(GuestCallError::ClientGone) => Err(GuestQueryError::Abandoned),
        Err(error @ GuestCallError::NodeOutOfMemory) => Err(unavailable(&error)),
    }
}

/// A query could not run because of this node. The error is logged.
pub(crate) fn unavailable(error: &dyn Error) -> GuestQueryError {
    tracing::error!(%error, "a query could not run");
    GuestQueryError::Unavailable {
        reason: error.to_string(),
    }
}
