//! A query of a client.

use std::sync::Arc;

use bytes::Bytes;

use crate::records::caller::GuestCaller;

/// A query: the query type of [`WasmMachine`](crate::WasmMachine). It is not in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineQuery {
    /// The bytes for the guest.
    pub request: Bytes,
    /// Who has sent it. `None` if the node does not authenticate.
    pub caller: Option<Arc<GuestCaller>>,
}

impl From<Bytes> for MachineQuery {
    /// A query without a caller.
    fn from(request: Bytes) -> Self {
        Self {
            request,
            caller: None,
        }
    }
}
