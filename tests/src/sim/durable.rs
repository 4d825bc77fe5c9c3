//! What is durable in a log, kept apart from the log: an invariant compares it with what the log reports.

use std::collections::VecDeque;

use task_queue_raft::entry::HardState;
use task_queue_raft::ids::{Index, LogId, Term};
use task_queue_raft::storage::{StoredState, WriteBatch};

/// A change of a log.
#[derive(Clone, Debug)]
pub(super) enum LogOp {
    Write(WriteBatch),
    Purge(LogId),
}

impl LogOp {
    pub(super) fn changes_log(&self) -> bool {
        match self {
            Self::Write(batch) => batch.truncate_from.is_some() || !batch.entries.is_empty(),
            Self::Purge(_) => true,
        }
    }
}

/// Which entries, term and vote are durable. Kept apart from the store, so that invariants can check every step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Durable {
    pub(crate) hard_state: HardState,
    pub(super) purged: LogId,
    pub(super) terms: VecDeque<Term>,
    /// What its node's former disk held, as long as the node may not vote with this one. It has acknowledged that, and is
    /// taken out of the voters before anybody may do without it.
    pub(super) former: Option<(Box<Durable>, Index)>,
}

impl Durable {
    /// What a log reports to hold.
    pub(super) fn of(stored: &StoredState) -> Self {
        let mut terms = VecDeque::new();
        let mut starts = stored.terms.iter().peekable();
        let mut term = stored.purged.term;
        for index in stored.purged.index.0 + 1..=stored.last.index.0 {
            while let Some((_, starting)) = starts.next_if(|(start, _)| start.0 <= index) {
                term = *starting;
            }
            terms.push_back(term);
        }
        Self {
            hard_state: stored.hard_state.clone(),
            purged: stored.purged,
            terms,
            former: None,
        }
    }

    pub(crate) fn last(&self) -> LogId {
        let index = Index(self.purged.index.0 + self.terms.len() as u64);
        LogId::new(
            self.terms.back().copied().unwrap_or(self.purged.term),
            index,
        )
    }

    /// The entry at `index`, or the one that the log was purged up to.
    pub(crate) fn id_at(&self, index: Index) -> Option<LogId> {
        if index == self.purged.index {
            return Some(self.purged);
        }
        let place = index.0.checked_sub(self.purged.index.0 + 1)?;
        let term = self.terms.get(usize::try_from(place).ok()?)?;
        Some(LogId::new(*term, index))
    }

    /// Whether the entry is in the log or in a snapshot.
    pub(crate) fn holds(&self, id: LogId) -> bool {
        let former = self.former.as_ref();
        let held = former.is_some_and(|(log, snapshot)| *snapshot >= id.index || log.holds(id));
        id.index <= self.purged.index || self.id_at(id.index) == Some(id) || held
    }

    /// The state after a write of which only term and vote are done.
    pub(super) fn with_vote_of(&self, op: &LogOp) -> Option<Self> {
        let LogOp::Write(batch) = op else { return None };
        let hard_state = batch.hard_state.clone()?;
        Some(Self {
            hard_state,
            ..self.clone()
        })
    }

    pub(super) fn take(&mut self, op: &LogOp) {
        match op {
            LogOp::Write(batch) => {
                if let Some(hard_state) = &batch.hard_state {
                    self.hard_state = hard_state.clone();
                }
                if let Some(from) = batch.truncate_from {
                    let keep = from.0.saturating_sub(self.purged.index.0 + 1);
                    self.terms
                        .truncate(usize::try_from(keep).unwrap_or(usize::MAX));
                }
                self.terms
                    .extend(batch.entries.iter().map(|entry| entry.id.term));
            }
            LogOp::Purge(up_to) if up_to.index <= self.purged.index => {}
            LogOp::Purge(up_to) => {
                if self.id_at(up_to.index) == Some(*up_to) {
                    let gone =
                        usize::try_from(up_to.index.0 - self.purged.index.0).unwrap_or(usize::MAX);
                    self.terms.drain(..gone);
                } else {
                    self.terms.clear();
                }
                self.purged = *up_to;
            }
        }
    }
}
