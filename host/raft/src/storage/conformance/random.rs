//! A log store against a plain list: the same random steps, from a fixed seed, must give the same log.

use super::log::{entry, load, read_all, term_runs};
use crate::entry::{Entry, HardState};
use crate::ids::{Index, LogId, NodeId, Term};
use crate::storage::{LogStore, WriteBatch};

const STEPS: u64 = 150;

/// The expected content of the store.
struct LogModel {
    hard_state: HardState,
    purged: LogId,
    entries: Vec<Entry>,
}

/// A linear congruential generator with a fixed seed.
struct SeededRandom(u64);

impl SeededRandom {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

pub(super) fn check(open: &mut dyn FnMut() -> Box<dyn LogStore>) {
    let mut random = SeededRandom(20);
    let mut store = open();
    let state = load(&mut *store);
    let mut model = LogModel {
        hard_state: state.hard_state.clone(),
        purged: state.purged,
        entries: read_all(&*store, &state),
    };
    for step in 0..STEPS {
        match random.below(8) {
            0 => {
                drop(store);
                store = open();
            }
            1 => {
                let up_to = model.some_id(&mut random);
                store.purge(up_to).expect("a purge");
                model.purge(up_to);
            }
            _ => {
                let batch = model.some_batch(&mut random);
                store.write(&batch).expect("a batch that fits");
                model.write(&batch);
            }
        }
        model.compare(&mut *store, step);
    }
}

impl LogModel {
    fn last(&self) -> LogId {
        self.entries.last().map_or(self.purged, |entry| entry.id)
    }

    fn some_batch(&self, random: &mut SeededRandom) -> WriteBatch {
        let kept = self.entries.len() as u64;
        let mut batch = WriteBatch::default();
        let mut last = self.last();
        if random.below(4) == 0 {
            let keep = kept - random.below(kept + 1);
            let from = Index(self.purged.index.0 + keep + 1);
            last = self.entry_before(from);
            batch.truncate_from = Some(from);
        }
        for _ in 0..random.below(12) {
            let term = last.term.0 + u64::from(random.below(6) == 0);
            let next = entry(term, last.index.0 + 1);
            last = next.id;
            batch.entries.push(next);
        }
        if random.below(3) == 0 {
            let vote =
                (random.below(2) == 0).then(|| NodeId::from(format!("node-{}", random.below(5))));
            batch.hard_state = Some(HardState {
                term: Term(random.below(1000)),
                vote,
            });
        }
        batch
    }

    fn entry_before(&self, index: Index) -> LogId {
        let found = self
            .entries
            .iter()
            .rev()
            .find(|entry| entry.id.index < index);
        found.map_or(self.purged, |entry| entry.id)
    }

    /// Mostly an entry in the log; sometimes one beyond the end, one that conflicts, or one that was purged.
    fn some_id(&self, random: &mut SeededRandom) -> LogId {
        let beyond = LogId::new(self.last().term, Index(self.last().index.0 + 5));
        let mut id = match self.entries.len() as u64 {
            0 => beyond,
            kept => self.entry_before(Index(self.purged.index.0 + 2 + random.below(kept))),
        };
        match random.below(10) {
            0 => id = beyond,
            1 => id.term = self.last().term.next(),
            2 => id = LogId::new(self.purged.term, self.purged.index.previous()),
            _ => {}
        }
        id
    }

    fn write(&mut self, batch: &WriteBatch) {
        if let Some(from) = batch.truncate_from {
            self.entries.retain(|entry| entry.id.index < from);
        }
        self.entries.extend(batch.entries.iter().cloned());
        if let Some(hard_state) = &batch.hard_state {
            self.hard_state = hard_state.clone();
        }
    }

    fn purge(&mut self, up_to: LogId) {
        if up_to == self.purged || up_to.index < self.purged.index {
            return;
        }
        if self.entries.iter().any(|entry| entry.id == up_to) {
            self.entries.retain(|entry| entry.id.index > up_to.index);
        } else {
            self.entries.clear();
        }
        self.purged = up_to;
    }

    fn compare(&self, store: &mut dyn LogStore, step: u64) {
        let state = load(store);
        assert_eq!(
            state.hard_state, self.hard_state,
            "term and vote after step {step}"
        );
        assert_eq!(
            state.purged, self.purged,
            "the purged entry after step {step}"
        );
        assert_eq!(state.last, self.last(), "the last entry after step {step}");
        assert_eq!(
            state.terms,
            term_runs(&self.entries),
            "where terms start after step {step}"
        );
        assert_eq!(
            read_all(store, &state),
            self.entries,
            "the entries after step {step}"
        );
    }
}
