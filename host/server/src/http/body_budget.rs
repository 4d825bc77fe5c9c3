//! Limits the memory for request bodies, over all connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::error::ApiError;

/// A number of bytes that request bodies may occupy together. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct BodyBudget {
    used: Arc<AtomicU64>,
    limit: u64,
}

/// Reserved bytes of the budget; released when dropped.
#[derive(Debug)]
pub(crate) struct BodyShare {
    budget: BodyBudget,
    bytes: u64,
}

impl BodyBudget {
    /// A budget of `limit` bytes (`HttpSettings::body_budget_bytes`).
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            used: Arc::default(),
            limit,
        }
    }

    /// Reserves memory for one body.
    ///
    /// # Errors
    /// 429 `overloaded` if fewer than `bytes` bytes are free.
    pub(super) fn take(&self, bytes: u64) -> Result<BodyShare, ApiError> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let share = BodyShare {
            budget: self.clone(),
            bytes,
        };
        if before.saturating_add(bytes) > self.limit {
            return Err(ApiError::overloaded("request bodies in memory"));
        }
        Ok(share)
    }

    /// Bytes that are reserved now.
    #[cfg(test)]
    fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl BodyShare {
    /// The same bytes, which release the share with their last copy: a query may outlive its request.
    pub(super) fn hold(self, body: Bytes) -> Bytes {
        Bytes::from_owner(HeldBody { body, _share: self })
    }
}

/// A body and its share.
struct HeldBody {
    body: Bytes,
    _share: BodyShare,
}

impl AsRef<[u8]> for HeldBody {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_share_releases_its_bytes_and_so_does_a_failed_reservation() {
        let budget = BodyBudget::new(10);
        let first = budget.take(6).expect("6 of 10 bytes");
        let error = budget.take(5).expect_err("4 bytes are free");
        assert_eq!(error.code(), "overloaded");
        let second = budget.take(4).expect("the remaining 4 bytes");
        let body = second.hold(Bytes::from_static(b"body"));
        let copy = body.clone();
        drop((first, body));
        assert_eq!(budget.used(), 4);
        drop(copy);
        assert_eq!(budget.used(), 0);
    }
}
