//! A query of a client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::records::caller::GuestCaller;

/// What a byte of a response costs, in fuel: the guest writes it, and the host copies and sends it.
const FUEL_PER_BYTE: u64 = 8;
/// Largest cost of a short query: a third of a millisecond.
const SHORT_COST: u64 = 1_000_000;
/// Most fuel of a query that is expected to be short: about a millisecond. With more, it fails with
/// [`GuestQueryError::NotShort`](crate::GuestQueryError::NotShort).
const SHORT_FUEL: u64 = 3_000_000;

/// How long a query is expected to run. Each class has threads of its own, so that long queries do not hold up short ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueryClass {
    /// The latest queries of its connection were short.
    Short,
    /// The first query of its connection.
    New,
    /// The latest queries of its connection were not all short. Also queries whose sender does not tell.
    #[default]
    Long,
}

impl QueryClass {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Short, Self::New, Self::Long];

    /// The value of the label `class` of a metric.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::New => "new",
            Self::Long => "long",
        }
    }

    /// The class of the next query of a connection, from what its queries usually cost. `None`: it has sent none.
    #[must_use]
    pub fn after(usual_cost: Option<u64>) -> Self {
        match usual_cost {
            None => Self::New,
            Some(cost) if cost <= SHORT_COST => Self::Short,
            Some(_) => Self::Long,
        }
    }

    /// Most fuel of a query of this class, if all queries have this limit.
    pub(crate) fn fuel(self, limit: u64) -> u64 {
        match self {
            Self::Short | Self::New => limit.min(SHORT_FUEL),
            Self::Long => limit,
        }
    }
}

/// What a query has cost so far, in fuel. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct QueryCost(Arc<AtomicU64>);

impl QueryCost {
    /// The cost so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds what the query has used.
    pub fn add(&self, fuel: u64, response_bytes: u64) {
        let cost = fuel.saturating_add(response_bytes.saturating_mul(FUEL_PER_BYTE));
        // One thread at a time runs the query.
        self.0
            .store(self.get().saturating_add(cost), Ordering::Relaxed);
    }
}

/// A query: the query type of [`WasmMachine`](crate::WasmMachine). It is not in the log.
#[derive(Clone, Debug)]
pub struct MachineQuery {
    /// The bytes for the guest.
    pub request: Bytes,
    /// Who has sent it. `None` if the node does not authenticate.
    pub caller: Option<Arc<GuestCaller>>,
    /// How long it is expected to run.
    pub class: QueryClass,
    /// Counts what it costs.
    pub cost: QueryCost,
}

impl MachineQuery {
    /// A query of unknown length.
    #[must_use]
    pub fn new(request: Bytes, caller: Option<Arc<GuestCaller>>) -> Self {
        Self {
            request,
            caller,
            class: QueryClass::default(),
            cost: QueryCost::default(),
        }
    }
}

impl From<Bytes> for MachineQuery {
    /// A query without a caller.
    fn from(request: Bytes) -> Self {
        Self::new(request, None)
    }
}
