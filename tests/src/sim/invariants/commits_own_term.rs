//! "Only log entries from the leader's current term are committed by counting replicas" (§5.4.2, Figure 8); the
//! earlier ones are with them (Figure 2, rules for leaders).

use std::collections::BTreeMap;

use task_queue_raft::ids::{Index, Term};
use task_queue_raft::raft::{Core, Role};

use crate::sim::violation::{Violation, ensure};

/// How far each present leader had committed.
#[derive(Debug, Default)]
pub(crate) struct CommitsOwnTerm {
    leaders: BTreeMap<usize, (Term, Index)>,
}

impl CommitsOwnTerm {
    pub(crate) fn check(&mut self, node: usize, core: &Core) -> Result<(), Violation> {
        if core.role() != Role::Leader {
            self.leaders.remove(&node);
            return Ok(());
        }
        let (term, committed) = (core.term(), core.log().committed());
        let before = self.leaders.insert(node, (term, committed));
        if before.is_none_or(|before| before.0 != term || before.1 == committed) {
            return Ok(());
        }
        let last = core.log().term_at(committed);
        ensure(
            last == Some(term),
            "a leader commits by its own entries (§5.4.2)",
            || {
                format!(
                    "n{node} leads term {term} and commits up to {committed}, an entry of term {last:?}"
                )
            },
        )
    }
}
