//! An upgrade ends at one entry, in one way, on every node.

use std::collections::BTreeMap;

use oarlock_wasm::{PastUpgrade, UpgradeEnd};
use task_queue_raft::ids::Index;

use crate::sim::coverage::Coverage;
use crate::sim::violation::{Violation, ensure};

/// How each upgrade ended on the first node that ended it.
#[derive(Debug, Default)]
pub(crate) struct Upgrades {
    ended: BTreeMap<Index, PastUpgrade>,
}

impl Upgrades {
    /// Counts them.
    pub(crate) fn count(&self, coverage: &mut Coverage) {
        for one in self.ended.values() {
            if one.end == UpgradeEnd::Activated {
                coverage.upgrades += 1;
            } else {
                coverage.aborts += 1;
            }
        }
    }

    /// A node knows these ends.
    pub(crate) fn see(&mut self, node: usize, past: &[PastUpgrade]) -> Result<(), Violation> {
        for one in past {
            let first = self.ended.entry(one.upgrade).or_insert_with(|| one.clone());
            ensure(
                first == one,
                "an upgrade ends at one entry and in one way on every node",
                || format!("on n{node} {one:?}, and elsewhere {first:?}"),
            )?;
        }
        Ok(())
    }
}
