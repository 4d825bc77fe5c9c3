//! An entry that a node treats as committed is on the disks of a majority of the voters at that moment. It is the same entry
//! on every node that ever treats its index as committed (§5.3, §5.4).

use std::collections::BTreeMap;

use task_queue_raft::ids::{Index, LogId, NodeId, Term};
use task_queue_raft::raft::Core;
use task_queue_raft::raft::membership::Membership;

use super::DiskView;
use crate::sim::violation::{Violation, ensure};

const AGREE: &str = "committed entries are the same everywhere (§5.4.3)";

/// An entry that is committed, and the term of the node that was the first to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committed {
    pub(crate) id: LogId,
    pub(crate) in_term: Term,
}

/// The committed log of the cluster, from index 1.
#[derive(Debug, Default)]
pub(crate) struct CommittedOnQuorum {
    entries: Vec<Committed>,
    /// How far each node's commit index was seen, in which run.
    seen: BTreeMap<usize, (u32, Index)>,
    /// The members as each node knew them before.
    members: BTreeMap<usize, Membership>,
}

impl CommittedOnQuorum {
    pub(crate) fn entries(&self) -> &[Committed] {
        &self.entries
    }

    pub(crate) fn check(
        &mut self,
        node: usize,
        run: u32,
        core: &Core,
        disks: &[DiskView<'_>],
    ) -> Result<(), Violation> {
        let log = core.log();
        let seen = self.seen.insert(node, (run, log.committed()));
        let from = seen
            .filter(|seen| seen.0 == run)
            .map_or(Index::ZERO, |seen| seen.1);
        for index in from.0.max(log.purged().index.0.saturating_sub(1)) + 1..=log.committed().0 {
            let Some(term) = log.term_at(Index(index)) else {
                continue;
            };
            self.commit(node, core, LogId::new(term, Index(index)), disks)?;
        }
        self.members.insert(node, core.membership().clone());
        Ok(())
    }

    fn commit(
        &mut self,
        node: usize,
        core: &Core,
        id: LogId,
        disks: &[DiskView<'_>],
    ) -> Result<(), Violation> {
        let place = usize::try_from(id.index.0 - 1).unwrap_or(usize::MAX);
        if let Some(known) = self.entries.get(place) {
            return ensure(known.id == id, AGREE, || {
                format!(
                    "n{node} takes {id} as committed, and {} was in term {}",
                    known.id, known.in_term
                )
            });
        }
        ensure(place == self.entries.len(), AGREE, || {
            format!(
                "n{node} takes {id} as committed, and entries from {} on were never",
                self.entries.len() + 1
            )
        })?;
        let holds = |voter: &NodeId| {
            let disk = disks.iter().find(|disk| disk.id == voter);
            disk.is_some_and(|disk| disk.holds(id))
        };
        // In one turn a leader commits an entry and appends another configuration, or the other way round.
        let known = self.members.get(&node).into_iter();
        let mut known = known.chain([core.membership()]);
        let copies = disks.iter().filter(|disk| disk.holds(id)).count();
        ensure(
            known.any(|members| members.reached(holds)),
            "committed entries are durable on a majority (§5.3)",
            || {
                format!(
                    "n{node} takes {id} as committed in term {}, which is on {copies} of {} disks; members: {:?}",
                    core.term(),
                    disks.len(),
                    core.membership()
                )
            },
        )?;
        self.entries.push(Committed {
            id,
            in_term: core.term(),
        });
        Ok(())
    }
}
