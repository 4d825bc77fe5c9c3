//! A leader never overwrites or deletes entries in its log; it only appends (§5.3, Figure 3).

use std::collections::BTreeMap;

use task_queue_raft::ids::{LogId, Term};
use task_queue_raft::raft::{Core, Role};

use crate::sim::violation::{Violation, ensure};

/// Where the log of each present leader ended.
#[derive(Debug, Default)]
pub(crate) struct LeaderAppendOnly {
    ends: BTreeMap<usize, (Term, LogId)>,
}

impl LeaderAppendOnly {
    pub(crate) fn check(&mut self, node: usize, core: &Core) -> Result<(), Violation> {
        if core.role() != Role::Leader {
            self.ends.remove(&node);
            return Ok(());
        }
        let log = core.log();
        let before = self.ends.insert(node, (core.term(), log.last()));
        let Some((_, end)) = before.filter(|(term, _)| *term == core.term()) else {
            return Ok(());
        };
        ensure(
            log.holds(end) || log.purged().index > end.index,
            "leader append-only (§5.3)",
            || {
                format!(
                    "n{node} leads term {} and no longer holds its entry {end}; its log ends at {}",
                    core.term(),
                    log.last()
                )
            },
        )
    }
}
