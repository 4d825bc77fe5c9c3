//! Limits of a guest's memories and tables, enforced when they grow.

use wasmtime::ResourceLimiter;

use crate::guest::limits::MachineLimits;

/// Instances, memories and tables that one guest may have, each. The runtime of another language uses about ten.
const MAX_PARTS: usize = 64;

/// Counts the memory and tables of one guest and refuses growth over the limits.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// Total size of all memories in bytes.
    pub(crate) memory_bytes: u64,
    pub(crate) max_memory_bytes: u64,
    table_elements: u64,
    max_table_elements: u64,
    denied: bool,
    node_denied: bool,
    /// The last growth was within the limit.
    node_granted: bool,
}

impl Limiter {
    pub(super) fn new(limits: &MachineLimits) -> Self {
        Self {
            memory_bytes: 0,
            max_memory_bytes: limits.memory_bytes,
            table_elements: 0,
            max_table_elements: limits.table_elements,
            denied: false,
            node_denied: false,
            node_granted: false,
        }
    }

    /// Applies other limits to further growth. `headroom` is added to the memory limit.
    pub(super) fn set_limits(&mut self, limits: &MachineLimits, headroom: u64) {
        self.max_memory_bytes = limits.memory_bytes.saturating_add(headroom);
        self.max_table_elements = limits.table_elements;
    }

    /// Resets the record of refusals, at the beginning of a call.
    pub(crate) fn begin(&mut self) {
        self.denied = false;
        self.node_denied = false;
    }

    /// Whether a growth in this call was over the limit, or over the module's own maximum.
    pub(crate) fn denied(&self) -> bool {
        self.denied
    }

    /// Whether the operating system had no memory for a growth within the limit.
    pub(crate) fn node_denied(&self) -> bool {
        self.node_denied
    }

    fn grow(&mut self, total: u64, limit: u64, desired: usize, maximum: Option<usize>) -> bool {
        let granted = total <= limit && maximum.is_none_or(|maximum| desired <= maximum);
        self.denied |= !granted;
        self.node_granted = granted;
        granted
    }

    fn grow_failed(&mut self, error: &wasmtime::Error) {
        // wasmtime also calls this after a refusal by the limit, which is not a failure of this machine.
        if self.node_granted {
            tracing::error!(
                error = format!("{error:#}"),
                "the operating system has no memory for the guest"
            );
            self.node_denied = true;
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self
            .memory_bytes
            .saturating_add(desired.saturating_sub(current) as u64);
        let granted = self.grow(total, self.max_memory_bytes, desired, maximum);
        if granted {
            self.memory_bytes = total;
        }
        Ok(granted)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.grow_failed(&error);
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self
            .table_elements
            .saturating_add(desired.saturating_sub(current) as u64);
        let granted = self.grow(total, self.max_table_elements, desired, maximum);
        if granted {
            self.table_elements = total;
        }
        Ok(granted)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.grow_failed(&error);
        Ok(())
    }

    fn instances(&self) -> usize {
        MAX_PARTS
    }

    fn tables(&self) -> usize {
        MAX_PARTS
    }

    fn memories(&self) -> usize {
        MAX_PARTS
    }
}
