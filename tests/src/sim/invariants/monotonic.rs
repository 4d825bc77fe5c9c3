//! Terms increase monotonically, a vote is not changed within its term, and commit and applied index never
//! decrease (§5.1, Figure 2). The positions of the log keep their order.

use std::collections::BTreeMap;

use task_queue_raft::ids::{Index, NodeId, Term};
use task_queue_raft::raft::Core;

use crate::sim::violation::{Violation, ensure};

#[derive(Clone, Debug)]
struct Marks {
    run: u32,
    term: Term,
    vote: Option<NodeId>,
    committed: Index,
    applied: Index,
    purged: Index,
}

/// What each node was at last.
#[derive(Debug, Default)]
pub(crate) struct Monotonic {
    nodes: BTreeMap<usize, Marks>,
}

impl Monotonic {
    pub(crate) fn check(&mut self, node: usize, run: u32, core: &Core) -> Result<(), Violation> {
        let log = core.log();
        let now = Marks {
            run,
            term: core.term(),
            vote: core.vote().cloned(),
            committed: log.committed(),
            applied: log.applied(),
            purged: log.purged().index,
        };
        let before = self.nodes.insert(node, now.clone());
        let Some(before) = before.filter(|before| before.run == run) else {
            return Ok(());
        };
        let forward = before.term <= now.term
            && before.committed <= now.committed
            && before.applied <= now.applied
            && before.purged <= now.purged;
        ensure(
            forward,
            "terms and indexes only grow (§5.1, Figure 2)",
            || format!("n{node}: {before:?} became {now:?}"),
        )?;
        let kept = before.term < now.term || before.vote.is_none() || before.vote == now.vote;
        ensure(
            kept,
            "a vote is not changed within its term (§5.2)",
            || format!("n{node}: {before:?} became {now:?}"),
        )
    }
}
