//! Instances for queries that run on the applying thread.
//!
//! A query never runs on the serving instance. It runs on a replica over the memory image, or, if the guest has none,
//! on the *shadow*: a second instance that makes the same calls. A query must not change the state;
//! if it does, the serving instance is not affected.

use std::sync::Arc;

use bytes::Bytes;
use task_queue_raft::state_machine::ClientWatch;

use crate::guest::instance::Instance;
use crate::records::outcome::GuestQueryError;
use crate::records::query::MachineQuery;
use crate::rollback::replica::{FrozenGuest, QueryReplica, unavailable};

/// A second instance of a guest without an image. It makes the calls of the journal before a query.
pub(super) struct ShadowInstance {
    pub(super) instance: Instance,
    /// Number of calls of the journal that it has made.
    pub(super) calls: usize,
    /// Whether it ran a query since the last checkpoint.
    was_queried: bool,
}

/// The replica and the shadow of a guest. At most one of them is in use.
#[derive(Default)]
pub(super) struct QueryReplicas {
    replica: QueryReplica,
    shadow: Option<ShadowInstance>,
}

impl QueryReplicas {
    /// Runs a query on the replica.
    pub(super) fn query(
        &mut self,
        guest: &Arc<FrozenGuest>,
        query: &MachineQuery,
        client: &ClientWatch,
    ) -> Result<Bytes, GuestQueryError> {
        match self.replica.query(guest, query, client) {
            Ok((_, response)) => response,
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Keeps an instance as the shadow that has made `calls` calls of the journal, and has run a query.
    pub(super) fn keep_queried(&mut self, instance: Instance, calls: usize) {
        self.shadow = Some(ShadowInstance {
            instance,
            calls,
            was_queried: true,
        });
    }

    pub(super) fn take_shadow(&mut self) -> Option<ShadowInstance> {
        self.shadow.take()
    }

    /// Takes the shadow if it ran a query since the last checkpoint, and drops it otherwise.
    pub(super) fn take_queried_shadow(&mut self) -> Option<ShadowInstance> {
        self.shadow.take().filter(|shadow| shadow.was_queried)
    }

    /// Keeps an instance as the shadow at the beginning of an empty journal.
    pub(super) fn set_shadow(&mut self, instance: Option<Instance>) {
        self.shadow = instance.map(|instance| ShadowInstance {
            instance,
            calls: 0,
            was_queried: false,
        });
    }
}
