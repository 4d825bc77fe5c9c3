//! If an entry is committed in a given term, it is present in the logs of the leaders of all higher terms (§5.4,
//! Figure 3).

use task_queue_raft::ids::Term;
use task_queue_raft::raft::{Core, Role};

use super::committed_on_quorum::Committed;
use crate::sim::violation::{Violation, ensure};

/// Records which logs were checked.
#[derive(Debug, Default)]
pub(crate) struct LeaderCompleteness {
    checked: std::collections::BTreeSet<Term>,
}

impl LeaderCompleteness {
    /// Checks each leader once, when it is new: its log must contain the entries that were committed in earlier terms.
    /// (It must also contain what is committed later in an earlier term, or the committed logs of both would differ.)
    pub(crate) fn check(&mut self, core: &Core, committed: &[Committed]) -> Result<(), Violation> {
        if core.role() != Role::Leader || !self.checked.insert(core.term()) {
            return Ok(());
        }
        let log = core.log();
        for entry in committed.iter().filter(|entry| entry.in_term < core.term()) {
            ensure(
                log.holds(entry.id) || entry.id.index < log.purged().index,
                "leader completeness (§5.4)",
                || {
                    format!(
                        "{} leads term {} without entry {}, which was committed in term {}; its log is {} to {}",
                        core.id(),
                        core.term(),
                        entry.id,
                        entry.in_term,
                        log.purged(),
                        log.last()
                    )
                },
            )?;
        }
        Ok(())
    }
}
